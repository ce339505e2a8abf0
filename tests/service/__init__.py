"""The service over time: reloads, hand-overs, and what systemd is told."""
