"""Reads the order list page by page, by key, so that no page costs more than the first however long the list is."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from enum import StrEnum
from uuid import UUID

from sqlalchemy import Connection, RowMapping, text

from mes.orders.life import FINISHED_STATUSES, Status

PAGE_ROWS = 25

_COLUMNS = (
    "order_id, source, external_id, version, status, status_since, is_open, held, hold_reason, assigned_to, "
    "claimed_by, rush, note, placed_at, due_at, tier, customer_external_id, customer_name, lines, pieces, materials, "
    "total, currency, remaining_h, late, latest_start_at"
)


class Scope(StrEnum):
    """Which part of the list to read, when it is not one status."""

    OPEN = "open"
    ALL = "all"


@dataclass(frozen=True)
class Filter:
    """What to read: a scope or a status, and what its orders must also be; `words` all occur in `search_text`.

    `assigned_to` is an operator's work queue, and `unassigned` what stands in nobody's: open orders alone, since
    finished ones stand in no queue.
    """

    scope: Scope | Status = Scope.OPEN
    late: bool = False
    held: bool = False
    words: tuple[str, ...] = ()
    assigned_to: str | None = None
    unassigned: bool = False

    @property
    def narrowed(self) -> bool:
        """Whether it leaves out orders of its scope or queue."""
        return self.late or self.held or bool(self.words)


@dataclass(frozen=True)
class ListedOrder:
    """One row of the list; `total` is None while an item has no price, `late` was decided at the last refresh."""

    order_id: UUID
    source: str
    external_id: str
    version: int
    status: Status
    status_since: datetime
    is_open: bool
    held: bool
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
    lines: int | None
    pieces: int | None
    materials: str | None
    total: Decimal | None
    currency: str
    remaining_h: Decimal
    late: bool
    latest_start_at: datetime


@dataclass(frozen=True)
class Key:
    """Where a row stands in its order: the time that it is sorted by, and its id."""

    at: datetime
    order_id: UUID


@dataclass(frozen=True)
class Page:
    """Rows in list order, and whether there are more on either side."""

    rows: Sequence[ListedOrder]
    has_previous: bool
    has_next: bool


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


_LEAST_SLACK = _Sort(
    column="latest_start_at",
    order="latest_start_at, order_id",
    reverse="latest_start_at desc, order_id desc",
    after="(latest_start_at, order_id) > (:at, :order_id)",
    before="(latest_start_at, order_id) < (:at, :order_id)",
)
# no row comparison: the two columns run in opposite directions, and the first condition is the one that an index uses
_LAST_ENDED = _Sort(
    column="status_since",
    order="status_since desc, order_id",
    reverse="status_since, order_id desc",
    after="status_since <= :at and (status_since < :at or order_id > :order_id)",
    before="status_since >= :at and (status_since > :at or order_id < :order_id)",
)
# an id begins with its time of creation
_NEWEST = _Sort(
    column="placed_at",
    order="order_id desc",
    reverse="order_id",
    after="order_id < :order_id",
    before="order_id > :order_id",
)


def page(
    conn: Connection,
    chosen: Filter,
    *,
    after: Key | None = None,
    before: Key | None = None,
    rows: int = PAGE_ROWS,
) -> Page:
    """The rows that follow `after`, or those just ahead of `before`, or the first ones.

    Open orders come with the least slack first, finished ones with the last ended first, all together with the newest
    first.
    """
    sort = _sort(chosen.scope)
    conditions, values = _conditions(chosen)
    key = before or after
    if key is not None:
        conditions.append(sort.before if before else sort.after)
        values |= {"at": key.at, "order_id": key.order_id}
    statement = text(f"""
        select {_COLUMNS} from marts.order_list
        where {" and ".join(conditions) or "true"}
        order by {sort.reverse if before else sort.order}
        limit :limit
    """)
    found = [_listed(row) for row in conn.execute(statement, values | {"limit": rows + 1}).mappings()]
    more = len(found) > rows
    if before is not None:
        return Page(found[:rows][::-1], has_previous=more, has_next=True)
    return Page(found[:rows], has_previous=after is not None, has_next=more)


def key_of(row: ListedOrder, chosen: Filter) -> Key:
    """Where a row stands in the order of this filter."""
    return Key(getattr(row, _sort(chosen.scope).column), row.order_id)


def find(conn: Connection, number: str) -> Sequence[Found]:
    """The orders with this number: one for each source that uses it, so seldom more than one."""
    rows = conn.execute(
        text("select order_id, source from marts.order_list where external_id = :number order by source limit 10"),
        {"number": number},
    )
    return [Found(**row) for row in rows.mappings()]


def is_empty(conn: Connection) -> bool:
    """Whether there is no order at all."""
    return not conn.execute(text("select exists (select from marts.order_list)")).scalar_one()


def _sort(scope: Scope | Status) -> _Sort:
    if scope is Scope.ALL:
        return _NEWEST
    return _LAST_ENDED if scope in FINISHED_STATUSES else _LEAST_SLACK


def _conditions(chosen: Filter) -> tuple[list[str], dict[str, object]]:
    """Conditions in the words of the list's partial indexes, and their values."""
    conditions: list[str] = []
    values: dict[str, object] = {}
    if chosen.scope is not Scope.ALL:
        conditions.append("not is_open" if chosen.scope in FINISHED_STATUSES else "is_open")
    if isinstance(chosen.scope, Status):
        conditions.append("status = :status")
        values["status"] = chosen.scope.value
    if chosen.assigned_to is not None:
        conditions += ["is_open", "assigned_to = :assigned_to"]
        values["assigned_to"] = chosen.assigned_to
    if chosen.unassigned:
        conditions += ["is_open", "assigned_to is null"]
    if chosen.late:
        conditions.append("late")
    if chosen.held:
        conditions.append("held")
    for number, word in enumerate(chosen.words):
        conditions.append(f"search_text like :word_{number}")
        values[f"word_{number}"] = _pattern(word)
    return conditions, values


def _pattern(word: str) -> str:
    for special in ("\\", "%", "_"):
        word = word.replace(special, "\\" + special)
    return f"%{word.lower()}%"


def _listed(row: RowMapping) -> ListedOrder:
    return ListedOrder(**{**row, "status": Status(row["status"])})
