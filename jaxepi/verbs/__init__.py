"""One file a command: its options, its help, what it calls."""
