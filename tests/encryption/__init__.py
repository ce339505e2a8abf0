"""TLS with real clients and real mail servers on both sides of the guard."""
