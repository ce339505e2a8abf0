"""Real Postfix, Exim and OpenSMTPD behind the guard."""
