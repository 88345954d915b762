"""Dagster declarations: assets, checks, jobs, schedules. Each body reads its partition and calls one service."""
