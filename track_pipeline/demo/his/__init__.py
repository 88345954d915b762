"""The demo's side of the hospital information systems: one module per system with its tables, and the list of them."""
