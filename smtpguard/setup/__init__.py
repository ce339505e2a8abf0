"""Putting the guard in front of the mail server of this host, and taking it away again."""
