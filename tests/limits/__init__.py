"""Limits: what is counted, what follows, and who is told."""
