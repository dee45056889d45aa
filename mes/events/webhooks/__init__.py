"""Tells callers of events by HTTP calls to addresses that they name: signed, retried, in order, and safe for us."""
