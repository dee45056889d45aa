"""The months that feeds are cut into, by each row's own time in UTC."""

from collections.abc import Mapping, Sequence
from datetime import date

import dagster as dg

from mes import config

_RANGE_START, _RANGE_END = "dagster/asset_partition_range_start", "dagster/asset_partition_range_end"
_ONE_MONTH = "dagster/partition"

# the running month is a partition too
MONTHS = dg.MonthlyPartitionsDefinition(start_date=config.load().feeds_since.isoformat(), end_offset=1)


def months(keys: Sequence[str]) -> list[date]:
    """Partition keys as dates, first days of the months."""
    return [date.fromisoformat(key) for key in keys]


def range_tags(first: date, last: date) -> dict[str, str]:
    """What makes a run one for the months from `first` to `last` (first days), all of them in one go."""
    return {_RANGE_START: first.isoformat(), _RANGE_END: last.isoformat()}


def months_of_run(tags: Mapping[str, str]) -> tuple[date, date] | None:
    """The first and the last month that a run is for; None where it is for none in particular."""
    one = tags.get(_ONE_MONTH)
    first, last = tags.get(_RANGE_START, one), tags.get(_RANGE_END, one)
    return (date.fromisoformat(first), date.fromisoformat(last)) if first and last else None
