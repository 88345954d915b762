"""Asks each hospital patient once how the visit went, and can say of every row what became of it.

The rooms: `domain` (pure rules), `adapters` (the outside world), `services` (one use case each),
`defs` (Dagster declarations), `demo` (synthetic hospitals and a Track.co simulator).
"""
