"""The command line, `track`: a module per group of commands."""
