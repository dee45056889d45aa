"""Shows callers their orders, one or page by page, reading no more rows however many orders there are."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from typing import Any
from uuid import UUID

from sqlalchemy import Connection, Row, text

from mes.callers.model import Caller
from mes.orders.life import Status
from mes.orders.model import NoSuchOrder


@dataclass(frozen=True, slots=True)
class OrderedItem:
    """One line of an order; `total` is its price for all pieces, None while it has none."""

    line: int
    model_id: str
    material: str
    finish: str
    quantity: int
    longest_side_mm: float | None
    stones: Sequence[dict[str, Any]]
    engraving: dict[str, Any] | None
    quote_id: UUID | None
    total: Decimal | None


@dataclass(frozen=True, slots=True)
class CallerOrder:
    """An order as its caller sees it; `total` is None while an item has no price."""

    order_id: UUID
    source: str
    external_id: str
    status: Status
    status_since: datetime
    version: int
    hold_reason: str | None
    held_since: datetime | None
    placed_at: datetime
    due_at: datetime | None
    rush: bool
    currency: str
    customer_external_id: str
    customer_name: str | None
    tier: str
    created_at: datetime
    changed_at: datetime
    items: Sequence[OrderedItem]

    @property
    def total(self) -> Decimal | None:
        """Sum of the items' prices; None while one is missing."""
        prices = [item.total for item in self.items if item.total is not None]
        return sum(prices, Decimal(0)) if prices and len(prices) == len(self.items) else None


@dataclass(frozen=True, slots=True)
class Filter:
    """Which orders to list; what is not given lets all through, and several statuses mean any of them."""

    source: str | None = None
    statuses: tuple[Status, ...] = ()
    external_id: str | None = None
    updated_since: datetime | None = None


@dataclass(frozen=True, slots=True)
class Key:
    """Where an order stands in the list: its last change, and its id."""

    changed_at: datetime
    order_id: UUID


@dataclass(frozen=True, slots=True)
class Page:
    """Orders by their last change, oldest first; `after` is the last one's key when more follow."""

    orders: Sequence[CallerOrder]
    after: Key | None


@dataclass(frozen=True, slots=True)
class _Window:
    """Changes after a key, and before a time."""

    after: Key | None
    until: datetime | None


# one statement, so that an order and its items are of one moment
_READ = """
    select orders.order_id, orders.source, orders.external_id, status, status_since, version, hold_reason, held_since,
        placed_at, due_at, rush, orders.currency, customers.external_id as customer_external_id,
        customers.name as customer_name, tier, orders.created_at, changed_at, items.items
    from ops.orders join ops.customers using (customer_id)
    cross join lateral (
        select coalesce(json_agg(json_build_object(
            'line', items.line, 'model_id', items.model_id, 'material', items.material, 'finish', items.finish,
            'quantity', items.quantity, 'longest_side_mm', items.longest_side_mm, 'stones', items.stones,
            'engraving', items.engraving, 'quote_id', items.quote_id, 'total', quotes.total::text
        ) order by items.line), '[]') as items
        from ops.order_items as items left join ops.quotes on quotes.quote_id = items.quote_id
        where items.order_id = orders.order_id
    ) as items
"""
_ONE = text(f"{_READ} where orders.order_id = :order_id and (:sees_all or orders.source = :caller)")
_MANY = text(f"{_READ} where orders.order_id = any(cast(:order_ids as uuid[])) order by changed_at, order_id")

# Sources are few; each is found by one step in the index on (source, status, changed_at, order_id), whose first key it
# is. So are statuses, and the list of all is read from there as well: another index would cost each change of an order
# more than it costs a page to merge ten beginnings (0.3 ms).
_SOURCES = """
    recursive known(source) as (
        (select source from ops.orders order by source limit 1)
        union all
        select (select source from ops.orders where orders.source > known.source order by source limit 1)
        from known where known.source is not null
    ), sources as materialized (select source from known where source is not null)
"""
_ONE_SOURCE = "sources as materialized (select cast(:source as text) as source)"


def get(conn: Connection, caller: Caller, order_id: UUID) -> CallerOrder:
    """One order that the caller may see.

    Raises:
        NoSuchOrder: there is none, or it is another's.
    """
    values = {"order_id": order_id, "caller": caller.name, "sees_all": caller.sees_all}
    row = conn.execute(_ONE, values).one_or_none()
    if row is None:
        raise NoSuchOrder(order_id=order_id)
    return _order(row)


def require_visible(conn: Connection, caller: Caller, order_id: UUID) -> None:
    """Make sure that the caller may see the order; its source never changes.

    Raises:
        NoSuchOrder: there is none, or it is another's.
    """
    found = conn.execute(
        text("select from ops.orders where order_id = :order_id and (:sees_all or source = :caller)"),
        {"order_id": order_id, "caller": caller.name, "sees_all": caller.sees_all},
    )
    if found.first() is None:
        raise NoSuchOrder(order_id=order_id)


def page(conn: Connection, caller: Caller, chosen: Filter, *, after: Key | None = None, limit: int = 50) -> Page:
    """The next orders that the caller may see, at most `limit`.

    With `updated_since`, only changes that nothing earlier can follow: one that is not committed yet carries a time
    that has passed, so whoever had read on from a later one would never see it.
    """
    window = _Window(after, _settled(conn) if chosen.updated_since is not None else None)
    source = chosen.source if caller.sees_all else caller.name
    if chosen.source not in (None, source):
        return Page((), None)  # others' orders are as good as none
    keys = _keys(conn, source, chosen, window, limit + 1)
    ids = [key.order_id for key in keys[:limit]]
    orders = [_order(row) for row in conn.execute(_MANY, {"order_ids": ids})] if ids else []
    return Page(orders, keys[limit - 1] if len(keys) > limit else None)


def _settled(conn: Connection) -> datetime | None:
    """When the oldest transaction began that is writing now; None when nobody writes. Must be asked before the page.

    Needs the role that writers use, or `pg_read_all_stats`: others' transactions cannot be seen.
    """
    oldest: datetime | None = conn.execute(
        text("""
            select min(xact_start) from pg_stat_activity
            where backend_xid is not null and datname = current_database() and pid <> pg_backend_pid()
        """)
    ).scalar_one()
    return oldest


def _keys(conn: Connection, source: str | None, chosen: Filter, window: _Window, limit: int) -> list[Key]:
    statement = text(_statement(source, chosen, window))
    values: dict[str, object] = {
        "source": source,
        "statuses": [status.value for status in _statuses(chosen)],
        "external_id": chosen.external_id,
        "since": chosen.updated_since,
        "until": window.until,
        "limit": limit,
    }
    if window.after is not None:
        values |= {"after_at": window.after.changed_at, "after_id": window.after.order_id}
    return [Key(row.changed_at, row.order_id) for row in conn.execute(statement, values)]


def _statement(source: str | None, chosen: Filter, window: _Window) -> str:
    """Reads `limit` keys per source and status from the index that begins with them, then merges."""
    sources = _SOURCES if source is None else _ONE_SOURCE
    conditions = ["orders.source = sources.source"]
    if chosen.updated_since is not None:
        conditions.append("changed_at >= :since")
    if window.until is not None:
        conditions.append("changed_at < :until")
    if window.after is not None:
        conditions.append("(changed_at, order_id) > (:after_at, :after_id)")
    if chosen.external_id is not None:  # unique per source; sorting first would tempt the planner off that index
        conditions.append("external_id = :external_id")
        if chosen.statuses:
            conditions.append("status = any(cast(:statuses as ops.order_status[]))")
        return f"""
            with {sources}, found as materialized (
                select changed_at, order_id from sources join ops.orders on {" and ".join(conditions)}
            )
            select changed_at, order_id from found order by changed_at, order_id limit :limit
        """
    return f"""
        with {sources}
        select found.changed_at, found.order_id from sources
        cross join unnest(cast(:statuses as ops.order_status[])) as wanted(status)
        cross join lateral (
            select changed_at, order_id from ops.orders
            where {" and ".join([*conditions, "orders.status = wanted.status"])}
            order by changed_at, order_id limit :limit
        ) as found
        order by found.changed_at, found.order_id limit :limit
    """


def _statuses(chosen: Filter) -> tuple[Status, ...]:
    return chosen.statuses or tuple(Status)


def _order(row: Row[Any]) -> CallerOrder:
    fields = dict(row._mapping)  # noqa: SLF001 - SQLAlchemy's public name for the row as a mapping
    fields["status"] = Status(row.status)
    fields["items"] = [_item(item) for item in row.items]
    return CallerOrder(**fields)


def _item(item: dict[str, Any]) -> OrderedItem:
    return OrderedItem(
        **item
        | {
            "stones": item["stones"] or (),
            "quote_id": UUID(item["quote_id"]) if item["quote_id"] is not None else None,
            "total": Decimal(item["total"]) if item["total"] is not None else None,
        }
    )
