"""Who answers for an asset, and how old it may get before somebody has to look."""

from datetime import timedelta

import dagster as dg

DATA_TEAM = ["team:data-engineering"]
PRICING_TEAM = ["team:pricing"]
WORKSHOP_TEAM = ["team:workshop"]

# the nightly run makes everything once a day: warn when one was missed, fail when two were
DAILY = dg.FreshnessPolicy.time_window(warn_window=timedelta(hours=26), fail_window=timedelta(hours=50))
