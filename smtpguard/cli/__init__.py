"""The command line: one file a command, answers on stdout, everything else on stderr."""
