"""What people ask of an installation: status, stories of encounters, simulations, comparisons, reports."""
