"""What reads the guard's log: fail2ban, logrotate, syslog daemons; and what clients notice when nothing does."""
