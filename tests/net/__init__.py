"""The shell: transports of Twisted's own testing kit, and a clock that the test moves."""
