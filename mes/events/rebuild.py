"""Applies all events into fresh tables and proves them equal to the live ones: what happened is all that there is."""

from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import groupby
from json import dumps
from operator import itemgetter
from typing import Any
from uuid import UUID

from sqlalchemy import Connection, Engine, Row, text

from mes.db import direct, query
from mes.orders import replay
from mes.orders.replay import Fact, Made

SCHEMA = "rebuild"
NAMED = 1_000
"""Differences that are named; all of them are counted."""

# one at a time, as they share the schema's name; the number is arbitrary and ours
_REBUILD_LOCK = 7_203_398
_EVENTS_AT_ONCE = 20_000


@dataclass(frozen=True)
class Difference:
    """An order that its events make otherwise than it stands; None where there is nothing."""

    order_id: UUID
    source: str | None
    external_id: str | None
    column: str
    live: str | None
    rebuilt: str | None


@dataclass(frozen=True)
class Comparison:
    """What came of it: `different` orders, the first differences, and of how many orders events leave a column open."""

    orders: int
    events: int
    different: int
    differences: Sequence[Difference]
    untold: dict[str, int]


@contextmanager
def snapshot(database: Engine, *, keep: bool = False) -> Iterator[Connection]:
    """A transaction that sees one moment, whoever writes meanwhile; with `keep`, the fresh tables stay after it."""
    with database.connect().execution_options(isolation_level="REPEATABLE READ") as conn, conn.begin() as transaction:
        yield conn
        if not keep:
            transaction.rollback()


def differences(conn: Connection, most: int = NAMED) -> Sequence[Difference]:
    """Where live orders are not what their events make of them; none, when all is well.

    Beside live traffic, `conn` must see one moment (see `snapshot`).
    """
    found = compare(conn, most)
    conn.execute(text(f"drop schema {SCHEMA} cascade"))
    return found.differences


def compare(conn: Connection, most: int = NAMED) -> Comparison:
    """Make all orders again in the schema `rebuild`, anew, and compare them with the live ones, column by column."""
    conn.execute(text("select pg_advisory_xact_lock(:key)"), {"key": _REBUILD_LOCK})
    for statement in _TABLES:
        conn.execute(text(statement))
    orders, events = _fill(conn)
    conn.execute(text(f"analyze {SCHEMA}.orders"))
    conn.execute(text(f"analyze {SCHEMA}.order_items"))
    conn.execute(text(_FIND))
    named = conn.execute(
        text(f"select * from {SCHEMA}.differences order by order_id, name limit :most"), {"most": most}
    )
    return Comparison(
        orders=orders,
        events=events,
        different=query.number(conn, f"select count(distinct order_id) from {SCHEMA}.differences"),
        differences=[_difference(row) for row in named],
        untold={
            row.name: row.orders
            for row in conn.execute(
                text(f"select name, count(*) as orders from {SCHEMA}.orders, unnest(unsure) as name group by name")
            )
        },
    )


def _difference(row: Row[Any]) -> Difference:
    return Difference(row.order_id, row.source, row.external_id, row.name, row.live, row.rebuilt)


def _fill(conn: Connection) -> tuple[int, int]:
    """Write all orders as their events make them; gives how many orders and events."""
    orders = events = 0
    for batch in _orders(conn):
        made = [replay.replay(order_id, facts) for order_id, facts in batch]
        direct.copy_in(conn, f"copy {SCHEMA}.orders from stdin", map(_order_row, made))
        direct.copy_in(conn, f"copy {SCHEMA}.order_items from stdin", _item_rows(made))
        orders += len(made)
        events += sum(len(facts) for _, facts in batch)
    return orders, events


def _orders(conn: Connection) -> Iterator[list[tuple[UUID, list[Fact]]]]:
    """Each order's events, in sequence; some thousand orders at a time."""
    begun: list[tuple[UUID, list[Fact]]] = []
    for rows in direct.stream(conn, _EVENTS, at_once=_EVENTS_AT_ONCE):
        for order_id, of_order in groupby(rows, key=itemgetter(0)):
            facts = [Fact(*row[1:]) for row in of_order]
            if begun and begun[-1][0] == order_id:
                begun[-1][1].extend(facts)
            else:
                begun.append((order_id, facts))
        yield begun[:-1]  # the last one's events may go on
        begun = begun[-1:]
    yield begun


def _order_row(made: Made) -> tuple[object, ...]:
    order, known = made.order, made.known
    unsure = made.unsure | {name for name in (*replay.CONTENT, "total") if name not in known}
    return (
        order.order_id,
        order.status.value,
        order.status_since,
        made.version,
        made.live_from,
        order.hold_reason,
        order.held_by,
        order.held_since,
        order.assigned_to,
        order.claimed_by,
        order.lease_until,
        order.given_back_by,
        order.note,
        *(known.get(name) for name in (*replay.CONTENT, "total")),
        sorted(unsure | ({"items"} if made.items is None else set())),
        "; ".join(made.faults) or None,
    )


def _item_rows(made: Iterable[Made]) -> Iterator[tuple[object, ...]]:
    for each in made:
        for item in (each.items or {}).values():
            yield (
                each.order.order_id,
                *(item[name] for name in ("line", "model_id", "material", "finish", "quantity")),
                item.get("longest_side_mm"),
                *(dumps(item[name]) if item.get(name) else None for name in ("stones", "engraving")),
            )


# told by a bus: live, and with the sender's own id of it
_EVENTS = """
select order_id, sequence, type, occurred_at, actor, reason, live, late,
    live and source_event_id is not null and actor <> 'import' as told, data
from ops.order_events order by order_id, sequence
"""

# compared one by one; an event that told less than today's leaves some of them open
_COLUMNS = (
    *("status", "status_since", "version", "live_from", "hold_reason", "held_by", "held_since", "assigned_to"),
    *("claimed_by", "lease_until", "given_back_by", "note", "due_at", "rush", "paid", "customer", "total"),
)

_TABLES = (
    "set local client_min_messages = warning",
    "set local work_mem = '64MB'",
    "set local cursor_tuple_fraction = 1.0",  # all of it is read
    f"drop schema if exists {SCHEMA} cascade",
    f"create schema {SCHEMA}",
    f"""
    create table {SCHEMA}.orders (
        order_id uuid primary key, status ops.order_status, status_since timestamptz, version integer,
        live_from integer, hold_reason text, held_by text, held_since timestamptz, assigned_to text, claimed_by text,
        lease_until timestamptz, given_back_by text, note text, due_at timestamptz, rush boolean,
        paid numeric(14, 2), customer text, total numeric(14, 2), unsure text[] not null, fault text
    )
    """,
    f"""
    create table {SCHEMA}.order_items (
        order_id uuid, line integer, model_id text, material text, finish text, quantity integer,
        longest_side_mm numeric(12, 4), stones jsonb, engraving jsonb, primary key (order_id, line)
    )
    """,
)

_NAMED = f"select * from {SCHEMA}.differences order by order_id, name limit :most"
_ITEM = "line, model_id, material, finish, quantity, longest_side_mm, stones, engraving"
# a price that is being made, or that no event told, is no difference; nor is what older events left open
_FIND = f"""
create table {SCHEMA}.differences as
with live as (
    select orders.*, customers.external_id as customer
    from ops.orders as orders inner join ops.customers as customers using (customer_id)
), pairs as (
    select coalesce(live.order_id, made.order_id) as order_id, live.source, live.external_id,
        live.order_id is not null as lives, made.order_id is not null as rebuilt_too, made.fault, made.unsure,
        {", ".join(f"live.{name} as live_{name}" for name in _COLUMNS if name != "total")},
        coalesce(price.total, made.total) as live_total,
        {", ".join(f"made.{name} as made_{name}" for name in _COLUMNS)}
    from live full join {SCHEMA}.orders as made on made.order_id = live.order_id
    left join lateral (
        select case when bool_and(quotes.total is not null) then sum(quotes.total) end as total
        from ops.order_items as item left join ops.quotes using (quote_id)
        where item.order_id = made.order_id and made.total is not null
    ) as price on made.total is not null
), items as (
    (
        select {_ITEM}, order_id, 'live' as side from ops.order_items
        where order_id in (select order_id from {SCHEMA}.orders where not 'items' = any(unsure))
        except all select {_ITEM}, order_id, 'live' from {SCHEMA}.order_items
    )
    union all
    (
        select {_ITEM}, order_id, 'rebuilt' from {SCHEMA}.order_items
        except all select {_ITEM}, order_id, 'rebuilt' from ops.order_items
    )
)
select order_id, source, external_id, told.name, told.live, told.rebuilt
from pairs cross join lateral (
    values {", ".join(f"('{name}', live_{name}::text, made_{name}::text)" for name in _COLUMNS)}
) as told (name, live, rebuilt)
where lives and rebuilt_too and told.live is distinct from told.rebuilt and not told.name = any(unsure)
union all
select order_id, source, external_id, 'order', case when lives then 'there' end, case when rebuilt_too then 'there' end
from pairs where not (lives and rebuilt_too)
union all
select order_id, source, external_id, 'events', null, fault from pairs where fault is not null
union all
select order_id, orders.source, orders.external_id, 'item ' || line,
    max(to_jsonb(items)::text) filter (where side = 'live'),
    max(to_jsonb(items)::text) filter (where side = 'rebuilt')
from items left join ops.orders using (order_id)
group by order_id, orders.source, orders.external_id, line
"""
