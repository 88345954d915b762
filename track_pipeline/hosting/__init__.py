"""Starts Dagster itself: its instance, web interface and daemon."""
