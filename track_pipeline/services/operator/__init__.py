"""What an operator does by hand: opt-outs, resolving, imports, links, erasure, retention, `track doctor`."""
