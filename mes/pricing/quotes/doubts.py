"""Says why an order's price cannot be trusted, item by item, so that the order waits for a person."""

from collections import defaultdict
from collections.abc import Collection, Iterator, Mapping, Sequence
from typing import Any
from uuid import UUID

from sqlalchemy import Connection, Row, text

from mes.pricing import findings, geometry_store
from mes.pricing.costs.cost_model import PROBLEMS
from mes.pricing.findings import Severity
from mes.pricing.geometry_store import StoredGeometry

NO_RATE_CARD = "No rate card was valid when the order was placed; load one that covers the day (`mes rates load`)."

Item = tuple[UUID, int]
"""An order's id and the item's line."""

_ITEMS = text("""
    select
        inputs.order_id, line, model_id, material, longest_side_mm, rate_card_id, quote_id,
        orders.status not in ('INITIATED', 'SUBMITTED', 'PRICE_CALCULATED') or coalesce(orders.paid, 0) > 0 as agreed
    from marts.pricing_inputs as inputs inner join ops.orders using (order_id)
    where inputs.order_id = any(:ids) order by inputs.order_id, line
""")


def of_orders(
    conn: Connection, order_ids: Sequence[UUID], problems: Mapping[Item, str], only: Collection[Item] | None = None
) -> dict[UUID, str]:
    """Why orders should wait, in words; those that need not are left out.

    An item is doubtful when its model has a finding that is an error for its metal and size, or when it has no price.
    Of an approved or paid order, thin walls are no reason any more: a person has looked at it and its price is agreed.

    Args:
        conn: the caller's transaction.
        order_ids: open orders.
        problems: of items that could not be priced just now, a key of the cost model's `PROBLEMS`.
        only: look at these items alone; None for all.
    """
    measured: dict[str, StoredGeometry | None] = {}
    told: dict[UUID, list[str]] = defaultdict(list)
    for row in conn.execute(_ITEMS, {"ids": list(order_ids)}):
        item = (row.order_id, row.line)
        if only is not None and item not in only:
            continue
        if row.model_id not in measured:
            measured[row.model_id] = geometry_store.newest(conn, row.model_id)
        said = [*_of_model(row, measured[row.model_id]), *_of_price(row, problems.get(item))]
        told[row.order_id] += [f"item {row.line}: {words}" for words in said]
    return {order_id: "; ".join(words) for order_id, words in told.items() if words}


def _of_model(row: Row[Any], stored: StoredGeometry | None) -> Iterator[str]:
    if stored is None:
        return
    size = float(row.longest_side_mm) if row.longest_side_mm is not None else None
    for finding in findings.of_piece(stored.geometry, row.material, size):
        if finding.severity is Severity.ERROR and not (row.agreed and finding.kind == findings.THIN_WALLS):
            yield finding.message.rstrip(".")
    if stored.geometry.facing != "outward" and not stored.geometry.faults:  # kernel 1, which did not turn it round
        yield f"the model is turned inside out ({stored.geometry.facing}), so its volume and price are a guess"


def _of_price(row: Row[Any], problem: str | None) -> Iterator[str]:
    if row.rate_card_id is None and row.quote_id is None:
        yield NO_RATE_CARD
    elif row.quote_id is None or problem:
        yield f"there is no price for it: {PROBLEMS[problem or 'bad_geometry']}"
