"""Hospital information systems in the demo: a module per system with its tables, and the list of systems."""
