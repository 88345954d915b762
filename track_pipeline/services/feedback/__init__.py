"""What comes back from Track.co: answers, statuses, opt-outs, and the comparison with the ledger."""
