"""The sync HTTP API: authenticates, reads requests strictly, calls the core in one transaction, answers in JSON."""
