"""Read-only analyses: status, histories of encounters, simulations, comparisons, contact quality, reports."""
