"""Counts the work in progress by counts that are kept with the order list, so that none of its rows is read.

What a row of the list counts in is said by dbt (macros/list_counts.sql). Its triggers append changes of the counts to
`ops.list_count_changes` in the transaction that changes the list; a count is its row in `ops.list_counts` with the
changes that were not folded into it yet.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from sqlalchemy import Connection, text

from mes.db import query
from mes.lists.refresher import REFRESH_LOCK
from mes.orders.life import OPEN_STATUSES, Status

# one worker at a time folds; the number is arbitrary and ours
_FOLDING_LOCK = 7_203_401
_FOLD_AT_ONCE = 20_000


@dataclass(frozen=True)
class OrderCounts:
    """Orders by status; of the open ones, also how many are late, on hold and in nobody's queue.

    Every status, or open status, is a key. `mine` are those in the queue of the operator for whom they were counted.
    """

    by_status: Mapping[Status, int]
    late_by_status: Mapping[Status, int]
    held_by_status: Mapping[Status, int]
    unassigned_by_status: Mapping[Status, int]
    mine: int

    @property
    def open(self) -> int:
        """All open orders."""
        return sum(self.by_status[status] for status in OPEN_STATUSES)

    @property
    def all(self) -> int:
        """All orders."""
        return sum(self.by_status.values())

    @property
    def late(self) -> int:
        """Open orders whose due date has passed."""
        return sum(self.late_by_status.values())

    @property
    def held(self) -> int:
        """Open orders on hold."""
        return sum(self.held_by_status.values())

    @property
    def unassigned(self) -> int:
        """Open orders in nobody's queue."""
        return sum(self.unassigned_by_status.values())


@dataclass(frozen=True)
class Queue:
    """An operator's open orders, and the hours of work that they still need."""

    operator: str
    orders: int
    remaining_h: float


@dataclass(frozen=True)
class Waiting:
    """Why nothing can be worked on: how many orders wait, and for whom.

    The first three are of the operator's own queue: begun by himself, without the CRM's approval, on hold. The others
    stand in colleagues' queues.
    """

    begun: int
    approval: int
    held: int
    colleagues: int


def orders(conn: Connection, operator: str | None = None) -> OrderCounts:
    """The orders of the list, counted."""
    found = _read(conn, ("status", "late", "held", "unassigned"), ("queue",), operator)

    def by_status(counter: str, statuses: Sequence[Status]) -> Mapping[Status, int]:
        return {status: found.get((counter, status.value), 0) for status in statuses}

    return OrderCounts(
        by_status=by_status("status", tuple(Status)),
        late_by_status=by_status("late", OPEN_STATUSES),
        held_by_status=by_status("held", OPEN_STATUSES),
        unassigned_by_status=by_status("unassigned", OPEN_STATUSES),
        mine=found.get(("queue", operator or ""), 0),
    )


def queues(conn: Connection, operators: Sequence[str]) -> Sequence[Queue]:
    """The work queues of these operators, as they are listed; an empty one has zeros."""
    rows = conn.execute(
        text("""
            with kept as (
                select subject, orders, remaining_h from ops.list_counts
                where counter = 'queue' and subject = any(cast(:operators as text[]))
                union all
                select subject, orders, remaining_h from ops.list_count_changes
                where counter = 'queue' and subject = any(cast(:operators as text[]))
            )
            select operators.name as operator, cast(coalesce(sum(kept.orders), 0) as bigint) as orders,
                cast(coalesce(sum(kept.remaining_h), 0) as float8) as remaining_h
            from unnest(cast(:operators as text[])) with ordinality as operators (name, position)
            left join kept on kept.subject = operators.name
            group by operators.name, operators.position order by operators.position
        """),
        {"operators": list(operators)},
    )
    return [Queue(**row) for row in rows.mappings()]


def waiting(conn: Connection, operator: str) -> Waiting:
    """Count what keeps an operator's orders, and those in his colleagues' queues, from being his next job."""
    own = ("queue", "queue_begun", "queue_unapproved", "queue_held")
    found = _read(conn, ("queue",), own, operator)
    mine, begun, unapproved, held = (found.get((counter, operator), 0) for counter in own)
    queued = sum(orders for (counter, _), orders in found.items() if counter == "queue")
    return Waiting(begun=begun, approval=unapproved, held=held, colleagues=queued - mine)


def fold(conn: Connection, limit: int = _FOLD_AT_ONCE) -> int:
    """Fold changes into the counts, unless another worker is at it; gives how many there were.

    dbt replaces the counts while it has the list for itself, so this shares the list as refreshers do.
    """
    conn.execute(text("select pg_advisory_xact_lock_shared(:key)"), {"key": REFRESH_LOCK})
    if not query.flag(conn, "select pg_try_advisory_xact_lock(:key)", key=_FOLDING_LOCK):
        return 0
    return query.number(
        conn,
        """
        with taken as (
            delete from ops.list_count_changes where change_id in (
                select change_id from ops.list_count_changes order by change_id limit :limit
            )
            returning counter, subject, orders, remaining_h
        ), folded as (
            insert into ops.list_counts as kept (counter, subject, orders, remaining_h)
            select counter, subject, sum(orders), sum(remaining_h) from taken group by counter, subject
            on conflict (counter, subject) do update
                set orders = kept.orders + excluded.orders, remaining_h = kept.remaining_h + excluded.remaining_h
        )
        select count(*) from taken
        """,
        limit=limit,
    )


def _read(
    conn: Connection, counters: Sequence[str], of_operator: Sequence[str], operator: str | None
) -> Mapping[tuple[str, str], int]:
    """These counts, whole and the operator's, by counter and subject."""
    rows = conn.execute(
        text("""
            select counter, subject, cast(sum(orders) as bigint) as orders
            from (
                select counter, subject, orders from ops.list_counts
                union all
                select counter, subject, orders from ops.list_count_changes
            ) as kept
            where counter = any(cast(:counters as text[]))
                or counter = any(cast(:of_operator as text[])) and subject = :operator
            group by counter, subject
        """),
        {"counters": list(counters), "of_operator": list(of_operator), "operator": operator},
    )
    return {(row.counter, row.subject): row.orders for row in rows}
