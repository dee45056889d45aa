"""Dagster's assets: what is made from what; thin edges on `mes`."""

import warnings

from dagster import BetaWarning

# single-run backfills are beta: the lock pins the version that we tested, and each process would say it four times
warnings.filterwarnings("ignore", category=BetaWarning, message=".*backfill_policy")
