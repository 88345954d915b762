"""The hosting of Dagster itself: its instance, web interface and daemon."""
