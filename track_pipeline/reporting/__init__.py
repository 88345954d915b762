"""Draw the day's report: charts, and one HTML file that contains them.

`services/insight/report` counts; this package only draws. Labels are Portuguese, for the analysts of the hospitals.
"""
