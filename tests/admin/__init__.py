"""The admin endpoint, on the wire and by its commands."""
