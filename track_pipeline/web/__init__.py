"""The status page, the health check and the metrics, served by `track serve`. They only read."""
