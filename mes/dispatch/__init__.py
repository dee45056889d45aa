"""Shares work out among operators, and keeps two of them off one order."""
