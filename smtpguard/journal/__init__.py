"""What the operator reads: session ids, the form of the lines, and where they are written."""
