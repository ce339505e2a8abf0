"""What is counted, and who reads it."""
