"""A seeded fuzzer that knows the grammar, and the oracle that judges the guard by what it let through."""
