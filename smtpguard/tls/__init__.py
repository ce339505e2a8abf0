"""TLS with the standard library: connections over octets, contexts, and the certificates they are made of."""
