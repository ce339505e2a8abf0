"""Policies from sendmail's files, and rule sets from policies."""
