"""What clients have done, gathered over sessions and processes: limits, bans, incidents."""
