"""Dagster's assets: what is made from what; thin edges on `mes`."""
