"""`track serve`: a page, a health check and metrics, read-only and without anything of a patient."""

from track_pipeline.serve.app import serve

__all__ = ["serve"]
