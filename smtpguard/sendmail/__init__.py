"""What sendmail's own files say, as a policy, and a policy as rule sets of sendmail's."""
