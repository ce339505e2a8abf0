"""Who the client is, as real servers on hosts of their own see it."""
