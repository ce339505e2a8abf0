"""python -m smtpguard"""

from .cli.main import run

run()
