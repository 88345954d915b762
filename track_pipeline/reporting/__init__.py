"""The day's report as people look at it: charts, and one page that needs nothing else to be read.

What is counted is `services/report`'s; here it is only drawn. Labels are Portuguese, for the analysts of the hospitals.
"""
