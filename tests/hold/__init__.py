"""What the guard does when something else fails: descriptors, memory, time, names, the mail server, its own workers.

Each test has a short form, which CI runs, and a long one (marker `long`) of the same code with larger numbers.  Each
looks at four things: what clients are told, what the log says and how often, what is left of it all in memory,
and whether a new client is served as if nothing had been.
"""
