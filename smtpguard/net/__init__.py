"""The only package that touches transports: listening, connecting, and performing the core's effects."""
