"""Access to external systems: hospital databases, Track.co, the ledger, the lake, alerts, the clock."""
