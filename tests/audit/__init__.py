"""Tests of `smtpguard audit`: against servers that are real, and against some that no one should run."""
