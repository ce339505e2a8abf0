"""`smtpguard demo`: a mail server of its own, the guard in front of it, and two dialogues."""
