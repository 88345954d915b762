"""Pure rules on polars frames: no Dagster, no HTTP, no database, no file, no clock of its own."""
