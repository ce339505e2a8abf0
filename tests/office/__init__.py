"""What the office knows of a service, and what it is told."""
