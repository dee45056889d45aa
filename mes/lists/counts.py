"""Counts the work in progress; only open orders are read, so that it costs the same however many are finished."""

from collections.abc import Sequence
from dataclasses import dataclass

from sqlalchemy import Connection, text

from mes.orders.life import OPEN_STATUSES, Status


@dataclass(frozen=True)
class OpenCounts:
    """Open orders by status (every open status is a key), and how many of them all are late, on hold or in a queue.

    `mine` are those in the work queue of the operator for whom they were counted.
    """

    by_status: dict[Status, int]
    late: int
    held: int
    mine: int
    unassigned: int

    @property
    def open(self) -> int:
        """All open orders."""
        return sum(self.by_status.values())


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


def open_orders(conn: Connection, operator: str | None = None) -> OpenCounts:
    """Count the open orders of the list."""
    rows = conn.execute(
        text("""
            select status, count(*) as orders,
                count(*) filter (where late) as late, count(*) filter (where held) as held,
                count(*) filter (where assigned_to = :operator) as mine,
                count(*) filter (where assigned_to is null) as unassigned
            from marts.order_list where is_open group by status
        """),
        {"operator": operator},
    ).all()
    found = {Status(row.status): row.orders for row in rows}
    return OpenCounts(
        by_status={status: found.get(status, 0) for status in OPEN_STATUSES},
        late=sum(row.late for row in rows),
        held=sum(row.held for row in rows),
        mine=sum(row.mine for row in rows),
        unassigned=sum(row.unassigned for row in rows),
    )


def queues(conn: Connection, operators: Sequence[str]) -> Sequence[Queue]:
    """The work queues of these operators, as they are listed; an empty one has zeros."""
    rows = conn.execute(
        text("""
            select operators.name as operator, count(order_id) as orders,
                cast(coalesce(sum(remaining_h), 0) as float8) as remaining_h
            from unnest(cast(:operators as text[])) with ordinality as operators (name, position)
            left join marts.order_list on is_open and assigned_to = operators.name
            group by operators.name, operators.position order by operators.position
        """),
        {"operators": list(operators)},
    )
    return [Queue(**row) for row in rows.mappings()]


def waiting(conn: Connection, operator: str) -> Waiting:
    """Count what keeps an operator's orders, and those in his colleagues' queues, from being his next job."""
    row = conn.execute(
        text("""
            select
                count(*) filter (where assigned_to = :operator and claimed_by = :operator and not held) as begun,
                count(*) filter (where assigned_to = :operator and status = 'PRICE_CALCULATED' and not held)
                    as approval,
                count(*) filter (where assigned_to = :operator and held) as held,
                count(*) filter (where assigned_to <> :operator) as colleagues
            from marts.order_list where is_open
        """),
        {"operator": operator},
    )
    return Waiting(**row.mappings().one())
