"""Clients and what becomes of them: who is received, the session on the wire, and who is told of it."""
