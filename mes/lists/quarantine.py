"""Lists what the feeds brought that cannot be trusted: rows that could not be used, and histories that contradict."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from enum import Enum
from typing import Any, Generic, TypeVar
from uuid import UUID

from sqlalchemy import Connection, text

PAGE_ROWS = 50
_EXPORT_BATCH = 5_000


@dataclass(frozen=True)
class BadRow:
    """A row of a feed that could not be used, why, and what to do about it."""

    key: int
    kind: str
    feed: str
    file: str
    line: int
    reason: str
    advice: str
    content: str
    first_seen_at: datetime
    last_seen_at: datetime


@dataclass(frozen=True)
class OrderAnomaly:
    """What the sources say about one order that cannot be true together."""

    key: int
    kind: str
    feed: str
    file: str
    line: int
    reason: str
    advice: str
    order_id: UUID
    external_id: str
    status: str
    found_at: datetime


Row = TypeVar("Row", BadRow, OrderAnomaly)


@dataclass(frozen=True)
class Findings(Generic[Row]):
    """Where findings of one sort are kept: `columns` make a `row`, `key` numbers them as they were found."""

    row: type[Row]
    columns: str
    source: str
    key: str
    open: str


BAD_ROWS = Findings(
    row=BadRow,
    columns="quarantine_id as key, kind, feed, file, line, reason, advice, content, first_seen_at, last_seen_at",
    source="ops.quarantine",
    key="quarantine_id",
    open="resolved_at is null",
)
ANOMALIES = Findings(
    row=OrderAnomaly,
    columns="anomaly_id as key, kind, feed, file, line, reason, advice, order_id, external_id, "
    "orders.status::text as status, found_at",
    source="ops.anomalies join ops.orders using (order_id)",
    key="anomaly_id",
    open="true",
)


@dataclass(frozen=True)
class Group:
    """How many open findings one feed has of one kind."""

    feed: str
    kind: str
    rows: int


@dataclass(frozen=True)
class Page(Generic[Row]):
    """Rows, the newest first, and whether there are more on either side."""

    rows: Sequence[Row]
    has_previous: bool
    has_next: bool


class Turn(Enum):
    """Which way a page lies from a key."""

    AFTER = ("<", "desc")
    BEFORE = (">", "asc")


def page(
    conn: Connection,
    findings: Findings[Row],
    *,
    feed: str | None = None,
    kind: str | None = None,
    turn: Turn = Turn.AFTER,
    key: int | None = None,
    rows: int = PAGE_ROWS,
) -> Page[Row]:
    """Open findings of a feed and a kind (None for all), the newest first, from a key on or just ahead of it."""
    comparison, direction = turn.value
    conditions = [findings.open]
    conditions += [f"{name} = :{name}" for name, value in (("feed", feed), ("kind", kind)) if value is not None]
    if key is not None:
        conditions.append(f"{findings.key} {comparison} :key")
    statement = text(f"""
        select {findings.columns} from {findings.source} where {" and ".join(conditions)}
        order by {findings.key} {direction} limit :limit
    """)
    values: dict[str, Any] = {"feed": feed, "kind": kind, "key": key, "limit": rows + 1}
    bound = {name: value for name, value in values.items() if value is not None}
    found = [findings.row(**row) for row in conn.execute(statement, bound).mappings()]
    more = len(found) > rows
    if turn is Turn.BEFORE:
        return Page(found[:rows][::-1], has_previous=more, has_next=True)
    return Page(found[:rows], has_previous=key is not None, has_next=more)


def groups(conn: Connection, findings: Findings[Row]) -> Sequence[Group]:
    """The open findings counted by feed and kind, the most first."""
    rows = conn.execute(
        text(f"""
            select feed, kind, count(*) as rows from {findings.source} where {findings.open}
            group by feed, kind order by count(*) desc, feed, kind
        """)
    )
    return [Group(**row) for row in rows.mappings()]


def export(
    conn: Connection, findings: Findings[Row], *, feed: str | None = None, kind: str | None = None
) -> Iterator[Row]:
    """All open findings of a feed and a kind, the newest first, read in batches."""
    key: int | None = None
    while True:
        batch = page(conn, findings, feed=feed, kind=kind, key=key, rows=_EXPORT_BATCH)
        yield from batch.rows
        if not batch.has_next:
            return
        key = batch.rows[-1].key
