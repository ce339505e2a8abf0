"""What an outsider sees of a mail server: questions, verdicts on the answers, and a report.

Contract: only the one address that was named is ever contacted, no mail is delivered, and everything
that is read is bounded.  No Twisted: an audit is one conversation after another.
"""
