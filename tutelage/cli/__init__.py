"""The command line: one file per command group, joined by the explicit table `COMMANDS` in main.py."""
