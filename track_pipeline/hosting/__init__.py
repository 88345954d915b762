"""How Dagster itself is started and stored: its instance, its web interface and its daemon."""
