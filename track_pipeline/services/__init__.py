"""One module per use case, joining `domain` and `adapters`; the assets and the command line call these."""
