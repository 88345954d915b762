"""The day's report as people look at it: charts, and one page that needs nothing else to be read.

`services/insight/report` counts; this package only draws. Labels are Portuguese, for the analysts of the hospitals.
"""
