"""Who may say what: networks, rule sets and the replies they give.

Everything here is as pure as smtpguard.smtp: a policy is a value, made once from a file and asked
for a judge once per connection.  Files, lines and YAML are in smtpguard.config.
"""
