"""Finds the open orders whose prices something wrong went into, by order, rate card or model."""

from collections.abc import Sequence
from uuid import UUID

from sqlalchemy import Connection, text

from mes.orders.life import FINISHED_STATUSES
from mes.orders.model import NoSuchOrder

_FINISHED = [status.value for status in FINISHED_STATUSES]


def open_among(conn: Connection, numbers: Sequence[str]) -> list[UUID]:
    """The open ones of these orders, each named by its id or as `source/number`.

    Raises:
        NoSuchOrder: there is none of this name.
    """
    rows = conn.execute(
        text("""
            select wanted.number, orders.order_id, status <> all (cast(:finished as ops.order_status[])) as is_open
            from unnest(cast(:numbers as text[])) as wanted(number)
            left join ops.orders on orders.order_id::text = lower(wanted.number)
                or (source, external_id) = (split_part(wanted.number, '/', 1),
                    substr(wanted.number, strpos(wanted.number, '/') + 1))
        """),
        {"numbers": list(numbers), "finished": _FINISHED},
    ).all()
    if unknown := [row.number for row in rows if row.order_id is None]:
        raise NoSuchOrder("There is no such order; name it by its id or as source/number.", order=unknown[0])
    return sorted({row.order_id for row in rows if row.is_open})


def open_priced_by(conn: Connection, card_id: str) -> list[UUID]:
    """The open orders with an item whose quote names this rate card."""
    return _open(conn, "quotes.rate_card_id = :value", card_id)


def open_with_model(conn: Connection, model_id: str) -> list[UUID]:
    """The open orders with an item of this model."""
    return _open(conn, "items.model_id = :value", model_id)


def _open(conn: Connection, which: str, value: str) -> list[UUID]:
    rows = conn.execute(
        text(f"""
            select distinct orders.order_id
            from ops.orders join ops.order_items as items using (order_id) join ops.quotes using (quote_id)
            where {which} and status <> all (cast(:finished as ops.order_status[]))
            order by orders.order_id
        """),
        {"value": value, "finished": _FINISHED},
    )
    return [row.order_id for row in rows]
