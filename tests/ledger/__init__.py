"""The ledger: incidents, bans, the file that keeps them, and who is told."""
