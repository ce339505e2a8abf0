"""What SMTP is: command lines, replies, message content and the dialogue between two peers.

Everything in this package is sans-IO: octets and events in, effects out.  It imports no
transport, clock, socket, log or file, and nothing from the rest of smtpguard
(tests/test_imports.py holds it to that).
"""
