"""The months that feeds are cut into, by each row's own time in UTC."""

from collections.abc import Sequence
from datetime import date

import dagster as dg

from mes import config

# the running month is a partition too
MONTHS = dg.MonthlyPartitionsDefinition(start_date=config.load().feeds_since.isoformat(), end_offset=1)


def months(keys: Sequence[str]) -> list[date]:
    """Partition keys as dates, first days of the months."""
    return [date.fromisoformat(key) for key in keys]
