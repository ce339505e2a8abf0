"""The command line, as an administrator calls it."""
