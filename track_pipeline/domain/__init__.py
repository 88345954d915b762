"""Pure rules on polars frames. Modules here use no Dagster, HTTP, database, file or system clock."""
