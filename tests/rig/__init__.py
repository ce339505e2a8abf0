"""Real-MTA test rig: sendmail, the guard, a talker and a recorder, all on loopback."""
