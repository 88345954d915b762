"""Tasks of an operator: opt-outs, resolving sends, imports, links, erasure, retention, `track doctor`."""
