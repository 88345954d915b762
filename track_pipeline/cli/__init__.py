"""The command line, `track`: one module per group of commands, with what they share in `console` and `tables`."""
