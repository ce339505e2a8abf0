"""Tests: the core by transcripts and properties, the shell on a stage, the whole before a real sendmail."""
