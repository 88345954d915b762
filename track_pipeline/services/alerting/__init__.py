"""Which problems are open, and who is alerted of them."""
