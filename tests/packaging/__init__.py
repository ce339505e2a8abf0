"""What is shipped: the wheel, the units, the generated docs, the lock files."""
