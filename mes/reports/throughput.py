"""Reads how much the workshop finished, week by week, from dbt's `throughput_weekly`."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date

from sqlalchemy import Connection, text


@dataclass(frozen=True)
class Week:
    """Flow in one week (Monday, UTC); `in_progress` is what was placed but not ended when the week was over.

    `cycle_days_median` is the median time from placed to shipped of the orders finished in the week, in days; None when
    none was.
    """

    week: date
    placed: int
    finished: int
    finished_late: int
    cancelled: int
    in_progress: int
    cycle_days_median: float | None


def weeks(conn: Connection, last: int | None = None) -> Sequence[Week]:
    """The `last` weeks up to the newest that has data (None for all), in order; quiet weeks are there, with zeros."""
    rows = conn.execute(
        text("""
            with span as (
                select min(week) as oldest, max(week) as newest from marts.throughput_weekly
            ), calendar as (
                select day::date as week from span,
                    generate_series(
                        greatest(oldest, newest - 7 * (cast(:last as integer) - 1)), newest, interval '1 week'
                    ) as day
            )
            select calendar.week,
                coalesce(weekly.placed, 0) as placed,
                coalesce(weekly.finished, 0) as finished,
                coalesce(weekly.finished_late, 0) as finished_late,
                coalesce(weekly.cancelled, 0) as cancelled,
                cast(standing.in_progress as bigint) as in_progress,
                weekly.cycle_days_median
            from calendar
            left join marts.throughput_weekly as weekly using (week)
            cross join lateral (
                select earlier.in_progress from marts.throughput_weekly as earlier
                where earlier.week <= calendar.week order by earlier.week desc limit 1
            ) as standing
            order by calendar.week
        """),
        {"last": last},
    )
    return [Week(**row) for row in rows.mappings()]
