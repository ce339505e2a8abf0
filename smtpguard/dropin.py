"""The plugin that shows `smtpguard` to twist and twistd; the wheel has it as twisted/plugins/smtpguard_dropin.py.

Contract: cheap, since Twisted imports every plugin to list them; smtpguard.twist is imported when it is used.
"""

from twisted.application.service import ServiceMaker

smtpguard = ServiceMaker("smtpguard", "smtpguard.twist", "A policy-enforcing SMTP proxy", "smtpguard")
