"""Clients received, and sessions on the wire."""
