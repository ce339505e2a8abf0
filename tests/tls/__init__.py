"""TLS: connections over octets, contexts, certificates."""
