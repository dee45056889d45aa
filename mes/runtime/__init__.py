"""Runs the system on one machine: the embedded database, the supervisor, the command line."""
