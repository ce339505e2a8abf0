"""`smtpguard setup`: on Debians of our own, with a sendmail as freshly installed."""
