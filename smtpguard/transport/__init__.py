"""Twisted's protocols on libuv's own transports; knows nothing of SMTP."""
