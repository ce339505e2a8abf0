"""Coverage-guided fuzzing of everything that reads octets from outside, with atheris.

A target is a module here with a function `one(data)` that raises if a parser breaks its contract:
`python -m tests.guided TARGET --seconds N` looks for such data, test_guided.py replays what is known
and looks for a short while at every run of the tests.
"""
