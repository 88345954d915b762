"""Synthetic hospitals and a Track.co simulator. Production never imports this package."""
