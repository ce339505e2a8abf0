"""The mail servers behind the guard: connecting to one, choosing among several, and whether each may be used."""
