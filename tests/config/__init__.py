"""The strict readers: files in, settings and policies or faults out."""
