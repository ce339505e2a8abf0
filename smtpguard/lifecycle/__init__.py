"""A service from its start to its end: what it is run by, reloads, signs of life, and what the host is told."""
