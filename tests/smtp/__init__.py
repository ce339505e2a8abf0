"""The sans-IO core: transcripts, streams, properties, bounds."""
