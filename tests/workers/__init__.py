"""Several workers under one supervisor: what they share, and what becomes of it when one dies."""
