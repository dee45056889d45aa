"""Applies landed rows to the orders; sets aside orders without a usable model, facts without an order."""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import polars as pl
from sqlalchemy import Connection, Engine, Row, text

from mes.feeds import quarantine
from mes.feeds.catalogue import FEEDS, Feed, Kind
from mes.feeds.read import FAULT_COLUMNS
from mes.orders import history

_WAITS = "Nothing, if the order's export is on its way: it is applied then. Otherwise ask the sender for that export."


@dataclass(frozen=True)
class Report:
    """What one pass changed, and what is left over."""

    applied: history.Applied
    quarantined: int
    waiting: int


def apply(database: Engine, *, now: datetime) -> Report:
    """Apply all landed rows that were not applied yet, some thousand orders in each transaction."""
    applied = history.apply(database, now=now)
    with database.begin() as conn:
        quarantined = sum(_set_aside(conn, feed) for feed in FEEDS if feed.kind is Kind.ORDER)
        waiting = sum(_let_wait(conn, feed) for feed in FEEDS if feed.kind is Kind.EVENT)
    return Report(applied, quarantined, waiting)


def _set_aside(conn: Connection, feed: Feed) -> int:
    rows = conn.execute(
        text(f"""
            select landed.line, to_jsonb(landed)::text as raw, fault.kind,
                format('item %s: %s', fault.line, fault.reason) as reason, fault.advice, landed.file
            from {feed.table} as landed
            cross join lateral (
                select item ->> 'line' as line, coalesce(model_files.kind, 'missing_model') as kind,
                    coalesce(model_files.reason, 'the model was not looked up yet') as reason,
                    coalesce(model_files.advice, 'Load the feed again.') as advice
                from jsonb_array_elements(landed.items) as item
                left join raw.model_files on model_files.model = item ->> 'model'
                where model_files.model_id is null
                order by (item ->> 'line')::integer
                limit 1
            ) as fault
            where landed.applied_at is null
        """)
    ).all()
    return quarantine.replace(conn, feed, quarantine.Stage.APPLY, _faults(rows))


def _let_wait(conn: Connection, feed: Feed) -> int:
    rows = conn.execute(
        text(f"""
            select line, to_jsonb(landed)::text as raw, 'order_unknown' as kind,
                format('the order %s of the %s is not known here', external_id, source) as reason,
                :advice as advice, file
            from {feed.table} as landed
            where applied_at is null
        """),
        {"advice": _WAITS},
    ).all()
    return quarantine.replace(conn, feed, quarantine.Stage.WAIT, _faults(rows))


def _faults(rows: Iterable[Row[Any]]) -> pl.DataFrame:
    return pl.DataFrame([tuple(row) for row in rows], schema={**FAULT_COLUMNS, "file": pl.String}, orient="row")
