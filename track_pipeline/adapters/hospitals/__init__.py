"""Reads the hospitals' databases: DuckDB files in the demo, Oracle in production."""
