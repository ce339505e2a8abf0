"""Sessions that were recorded: captures and transcripts, and what a policy makes of them."""
