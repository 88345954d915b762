"""Synthetic hospitals and a Track.co simulator: nothing in here is ever imported in production."""
