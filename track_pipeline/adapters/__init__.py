"""Everything that touches the world: hospital databases, Track.co, the ledger, the lake, the clock."""
