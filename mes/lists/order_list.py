"""Reads the order list page by page, by key, so that no page costs more than the first however long the list is."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from enum import StrEnum
from typing import Any, NamedTuple
from uuid import UUID

from sqlalchemy import Connection, text

from mes.db import direct, query
from mes.lists import open_search, order_search
from mes.orders.life import FINISHED_STATUSES, OPEN_STATUSES, Status

PAGE_ROWS = 25


class Scope(StrEnum):
    """Which part of the list to read, when it is not one status."""

    OPEN = "open"
    ALL = "all"


@dataclass(frozen=True)
class Filter:
    """What to read: a scope or a status, and what its orders must also be.

    `assigned_to` is an operator's work queue, and `unassigned` what stands in nobody's: open orders alone, since
    finished ones stand in no queue, are not late and not on hold. Open orders are searched for `words` in all that they
    say; among finished ones, `words` find the beginning of an order's number and its customer (see `order_search`).
    """

    scope: Scope | Status = Scope.OPEN
    late: bool = False
    held: bool = False
    words: tuple[str, ...] = ()
    assigned_to: str | None = None
    unassigned: bool = False
    customer_id: UUID | None = None

    @property
    def narrowed(self) -> bool:
        """Whether it leaves out orders of its scope or queue."""
        return self.late or self.held or bool(self.words)

    @property
    def open_only(self) -> bool:
        """Whether nothing but open orders can match."""
        flagged = self.late or self.held or self.unassigned or self.assigned_to is not None
        return flagged or self.scope is Scope.OPEN or self.scope in OPEN_STATUSES


class ListedOrder(NamedTuple):
    """What is shown of an order in the list; `total` is None while an item has no price.

    A named tuple, since to fill dataclasses took as long as the database. Each column costs some 0.5 us a row.
    """

    order_id: UUID
    external_id: str
    status: Status
    status_since: datetime
    hold_reason: str | None
    assigned_to: str | None
    claimed_by: str | None
    rush: bool
    note: str | None
    placed_at: datetime
    due_at: datetime | None
    tier: str
    customer_external_id: str
    customer_name: str | None
    pieces: int | None
    materials: str | None
    total: Decimal | None
    remaining_h: Decimal
    latest_start_at: datetime

    @property
    def is_open(self) -> bool:
        """Whether work on it, or its parcel, is still to be done."""
        return self.status in OPEN_STATUSES


# pages come in binary, as which psycopg reads times faster, but decimals slower than from text: a fifth of a page
_AS_TEXT = ("total", "remaining_h")
_COLUMNS = ", ".join(f"cast({name} as text) as {name}" if name in _AS_TEXT else name for name in ListedOrder._fields)
_STATUS, _TOTAL, _REMAINING = (ListedOrder._fields.index(name) for name in ("status", *_AS_TEXT))
_STATUSES = {status.value: status for status in Status}


@dataclass(frozen=True)
class Key:
    """Where a row stands in its order: the time that it is sorted by, and its id."""

    at: datetime
    order_id: UUID


@dataclass(frozen=True)
class Page:
    """Rows in list order, and whether there are more on either side.

    `too_many`: the words match more customers or numbers than were looked at, so that orders may be missing.
    """

    rows: Sequence[ListedOrder]
    has_previous: bool
    has_next: bool
    too_many: bool = False


@dataclass(frozen=True)
class Found:
    """An order that has the number that was asked for."""

    order_id: UUID
    source: str


@dataclass(frozen=True)
class _Sort:
    """An order that an index holds, and how to go on from a key both ways."""

    column: str
    order: str
    reverse: str
    after: str
    before: str

    @property
    def start(self) -> str:
        """As `after`, the key's own row included."""
        return self.after.replace("< ", "<= ").replace("> ", ">= ")


_LEAST_SLACK = _Sort(
    column="latest_start_at",
    order="latest_start_at, order_id",
    reverse="latest_start_at desc, order_id desc",
    after="(latest_start_at, order_id) > (:at, :order_id)",
    before="(latest_start_at, order_id) < (:at, :order_id)",
)
_LAST_ENDED = _Sort(
    column="status_since",
    order="status_since desc, order_id desc",
    reverse="status_since, order_id",
    after="(status_since, order_id) < (:at, :order_id)",
    before="(status_since, order_id) > (:at, :order_id)",
)
# an id begins with its time of creation
_NEWEST = _Sort(
    column="placed_at",
    order="order_id desc",
    reverse="order_id",
    after="order_id < :order_id",
    before="order_id > :order_id",
)
MOST_NEWER = 100


def page(
    conn: Connection,
    chosen: Filter,
    *,
    start: Key | None = None,
    after: Key | None = None,
    before: Key | None = None,
    rows: int = PAGE_ROWS,
) -> Page:
    """The rows from `start` on, those that follow `after`, those just ahead of `before`, or the first ones.

    Open orders come with the least slack first, finished ones with the last ended first, all together with the newest
    first.
    """
    read = _reading(conn, chosen, start=start, after=after, before=before)
    found = [_listed(row) for row in read.rows(conn, _COLUMNS, rows + 1)]
    more = len(found) > rows
    if before is not None:
        return Page(found[:rows][::-1], has_previous=more, has_next=True, too_many=read.too_many)
    return Page(found[:rows], has_previous=(start or after) is not None, has_next=more, too_many=read.too_many)


def newer(conn: Connection, chosen: Filter, top: Key) -> int:
    """How many orders come ahead of `top` by now; MOST_NEWER stands for that or more."""
    read = _reading(conn, chosen, before=top)
    return len(read.rows(conn, "order_id", MOST_NEWER))


def key_of(row: ListedOrder, chosen: Filter) -> Key:
    """Where a row stands in the order of this filter."""
    return Key(getattr(row, _sort(chosen).column), row.order_id)


def find(conn: Connection, number: str) -> Sequence[Found]:
    """The orders with this number, in capitals or not: one for each source that uses it, so seldom more than one."""
    rows = conn.execute(
        text("""
            select order_id, source from marts.order_list
            where lower(external_id) = lower(:number) order by source, external_id limit 10
        """),
        {"number": number},
    )
    return [Found(**row) for row in rows.mappings()]


def is_empty(conn: Connection) -> bool:
    """Whether there is no order at all."""
    return not conn.execute(text("select exists (select from marts.order_list)")).scalar_one()


@dataclass(frozen=True)
class _Reading:
    """A statement's `from` and `where`, its order, and its values.

    The limit stands in it as a number: of a value, the planner would know only that it is a tenth of all rows.
    """

    source: str
    order: str
    values: dict[str, object]
    too_many: bool = False
    by_words: bool = False

    def rows(self, conn: Connection, columns: str, limit: int) -> Sequence[tuple[Any, ...]]:
        """The first rows."""
        if not self.by_words:
            query.plan_once(conn)
        statement = f"select {columns} from {self.source} order by {self.order} limit :limit"
        return direct.rows(conn, statement.replace(":limit", str(limit)), self.values)


@dataclass(frozen=True)
class _OpenReading:
    """A part of the open orders, of which those are read that say all words."""

    part: open_search.Part
    words: tuple[str, ...]
    too_many: bool = False

    def rows(self, conn: Connection, columns: str, limit: int) -> Sequence[tuple[Any, ...]]:
        """The first rows."""
        query.plan_once(conn)
        return open_search.rows(conn, self.part, self.words, columns, limit)


def _reading(
    conn: Connection,
    chosen: Filter,
    *,
    start: Key | None = None,
    after: Key | None = None,
    before: Key | None = None,
) -> _Reading | _OpenReading:
    sort = _sort(chosen)
    conditions, values = _conditions(chosen)
    for key, condition in ((before, sort.before), (after, sort.after), (start, sort.start)):
        if key is not None:
            conditions.append(condition)
            values |= {"at": key.at, "order_id": key.order_id}
    order = sort.reverse if before else sort.order
    condition = " and ".join(conditions) or "true"
    if not chosen.words:
        return _Reading(f"marts.order_list where {condition}", order, values)
    if chosen.open_only:
        return _OpenReading(open_search.Part(condition, order, values), chosen.words)
    matches = order_search.find(conn, chosen.words, chosen.customer_id)
    values |= {"customers": list(matches.customers), "numbered": list(matches.orders)}
    return _Reading(_matching(conditions, order), order, values, matches.too_many, by_words=True)


def _sort(chosen: Filter) -> _Sort:
    if chosen.open_only:
        return _LEAST_SLACK
    return _NEWEST if chosen.scope is Scope.ALL else _LAST_ENDED


def _conditions(chosen: Filter) -> tuple[list[str], dict[str, object]]:
    """Conditions in the words of the list's partial indexes, and their values."""
    conditions: list[str] = []
    values: dict[str, object] = {}
    if chosen.open_only:
        conditions += [name for name in ("late", "held") if getattr(chosen, name)] or ["is_open"]
    elif chosen.scope in FINISHED_STATUSES:
        conditions.append("not is_open")
    if chosen.unassigned:
        conditions.append("assigned_to is null")
    status = chosen.scope.value if isinstance(chosen.scope, Status) else None
    equal = {"status": status, "assigned_to": chosen.assigned_to, "customer_id": chosen.customer_id}
    for column, wanted in equal.items():
        if wanted is not None:
            conditions.append(f"{column} = :{column}")
            values[column] = wanted
    return conditions, values


def _matching(conditions: Sequence[str], order: str) -> str:
    """The list's rows whose customer or number was found by words: of each customer only the first of the page."""
    narrowed = "".join(f" and {condition}" for condition in conditions)
    return f"""(
        select listed.* from unnest(cast(:customers as uuid[])) as wanted (id)
        cross join lateral (
            select * from marts.order_list where customer_id = wanted.id{narrowed} order by {order} limit :limit
        ) as listed
        union all
        select * from marts.order_list
        where order_id = any(cast(:numbered as uuid[])) and customer_id <> all(cast(:customers as uuid[])){narrowed}
    ) as matching"""


def _listed(row: tuple[Any, ...]) -> ListedOrder:
    """By place, in the order of `_COLUMNS`."""
    values = list(row)
    values[_STATUS], values[_REMAINING] = _STATUSES[values[_STATUS]], Decimal(values[_REMAINING])
    if values[_TOTAL] is not None:
        values[_TOTAL] = Decimal(values[_TOTAL])
    return ListedOrder._make(values)
