"""What is logged, and what may be shown of it."""
