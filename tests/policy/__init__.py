"""Rules, networks and replies."""
