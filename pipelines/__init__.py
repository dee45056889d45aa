"""Dagster's code location: which assets, checks and jobs there are, and what they run with."""
