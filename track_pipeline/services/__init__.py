"""Use cases, one per module, that combine `domain` and `adapters`; the assets and the command line call them."""
