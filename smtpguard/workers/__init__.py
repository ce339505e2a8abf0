"""Several processes that serve as one: a supervisor, its workers, and what they share."""
