"""What a session costs: the guard beside its peers, on one machine, in one interleaved run (docs/performance.md)."""
