"""smtpguard: a policy-enforcing SMTP proxy for mail servers that cannot be changed."""

__version__ = "0.1.0"
