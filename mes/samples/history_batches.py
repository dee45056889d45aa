"""Turns a batch of a generated history into rows: its orders with their items, quotes and events."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from mes.orders.life import Status
from mes.samples import history_events, history_lives, history_words
from mes.samples.copy_rows import (
    Bytes,
    Coded,
    Columns,
    IntArray,
    booleans,
    fixed,
    hundredths,
    integers,
    numbered,
    texts,
    times,
)
from mes.samples.demand import TIERS
from mes.samples.history_events import Orders
from mes.samples.history_lives import ASSIGNED, CANCELLED, CLAIMED, DAY_US, EVENTS, HELD
from mes.samples.history_plan import uuid7
from mes.samples.history_prices import QUANTITIES
from mes.samples.history_shop import SOURCES, Shop
from mes.samples.life import PACKED, PRICED

_STATUSES = tuple(status.value for status in Status)
_STATUS_OF_EVENT = np.array([_STATUSES.index(event.value) if isinstance(event, Status) else -1 for event in EVENTS])
_ITEM_COUNTS, _ITEM_SHARES = (1, 2, 3), (0.72, 0.20, 0.08)
_TWO_PIECES_SHARE, _PARTNERS_PIECES = 0.09, 0.4
# streams of random numbers within a batch; the first two are the plan's
_LIVES, _BUYERS, _ITEMS, _ORDERS, _EVENTS, _QUOTES = 2, 3, 4, 5, 6, 7


@dataclass(frozen=True)
class _Items:
    """Items by their order (its position in the batch), line and kind; `price` is a row of the catalogue's prices."""

    order: IntArray
    line: IntArray
    kind: IntArray
    quantity: IntArray
    price: IntArray
    quote_id: Bytes
    priced: NDArray[np.bool_]


def rows(shop: Shop, number: int) -> dict[str, Columns]:
    """The rows of a batch by table, in the sequence in which they are to be written."""
    history = shop.history
    placed_us = history.placed_us(number)
    operator_rng = history.batch_stream(number, _BUYERS)
    orders = Orders(
        rows=history.rows(number),
        ids=history.order_ids(number, placed_us),
        placed_us=placed_us,
        customer=shop.buyers(operator_rng, len(placed_us)),
        lives=history_lives.draw(
            history.batch_stream(number, _LIVES), placed_us, history.is_open(number), history.until_us
        ),
        operator=operator_rng.integers(0, history.operators, len(placed_us)),
        hold_reason=operator_rng.integers(0, len(history_words.HOLD_REASONS), len(placed_us)),
        note=history_words.draw_notes(history.batch_stream(number, _ORDERS), len(placed_us)),
    )
    items = _items(shop, number, orders)
    return {
        "ops.orders": _order_rows(shop, orders, items),
        "ops.quotes": _quote_rows(shop, orders, items),
        "ops.order_items": _item_rows(shop, orders, items),
        "ops.order_events": history_events.rows(shop, history.batch_stream(number, _EVENTS), orders),
        "ops.order_ends": history_events.ends(orders),
        "ops.changed_days": history_events.changed_days(orders),
    }


def _items(shop: Shop, number: int, orders: Orders) -> _Items:
    rng, catalogue = shop.history.batch_stream(number, _ITEMS), shop.catalogue
    count = rng.choice(_ITEM_COUNTS, len(orders.rows), p=_ITEM_SHARES)
    order = np.repeat(np.arange(len(count)), count)
    line = np.arange(len(order)) - np.repeat(np.cumsum(count) - count, count) + 1
    kind = np.minimum(
        np.searchsorted(catalogue.weights, rng.random(len(order)), side="right"), len(catalogue.weights) - 1
    )
    tier = shop.customer_tier[orders.customer][order]
    few = (rng.random(len(order)) < _TWO_PIECES_SHARE).astype(np.int64)
    many = np.minimum(rng.geometric(_PARTNERS_PIECES, len(order)) - 1, len(QUANTITIES) - 1)
    quantity = np.where(tier == TIERS.index("b2b"), many, few)
    return _Items(
        order=order,
        line=line,
        kind=kind,
        quantity=quantity,
        price=catalogue.price_row(kind, tier, quantity, orders.lives.rush[order]),
        quote_id=uuid7(shop.history.batch_stream(number, _QUOTES), orders.placed_us[order], line),
        priced=~orders.unpriced[order],
    )


def _order_rows(shop: Shop, orders: Orders, items: _Items) -> Columns:
    lives = orders.lives
    count, nobody = len(orders.rows), shop.history.operators
    held, cancelled = lives.happened[:, HELD], lives.happened[:, CANCELLED]
    source = shop.customer_source[orders.customer]
    paid = np.bincount(items.order, shop.catalogue.cents[items.price], count).astype(np.int64)
    is_open = (lives.stage <= PACKED) & ~cancelled
    unpriced = len(history_words.HOLD_REASONS)
    reason = np.where(orders.unpriced, unpriced, orders.hold_reason)
    move = lives.last_move
    return {
        "order_id": fixed(orders.ids),
        "source": Coded(texts(SOURCES), source),
        "external_id": numbered(shop.history.prefix, orders.rows + 1, 8),
        "customer_id": fixed(shop.customer_ids[orders.customer]),
        "status": Coded(texts(_STATUSES), _STATUS_OF_EVENT[move]),
        "status_since": times(lives.time_of(move)),
        "version": integers(lives.version),
        "placed_at": times(orders.placed_us),
        "due_at": times(lives.due_us),
        "rush": booleans(lives.rush),
        "currency": Coded(texts([shop.catalogue.currency]), np.zeros(count, np.int64)),
        # the shop takes the money with the order, the CRM sends a bill
        "paid": hundredths(paid, (source != SOURCES.index("shop")) | orders.unpriced),
        "hold_reason": Coded(
            texts([*history_words.HOLD_REASONS, history_words.UNPRICED_REASON, None]),
            np.where(held, reason, unpriced + 1),
        ),
        "held_by": Coded(texts(["crm", "pricing", None]), np.where(held, orders.unpriced.astype(np.int64), 2)),
        "held_since": times(lives.at_us[:, HELD], ~held),
        "assigned_to": Coded(shop.operators, np.where(lives.happened[:, ASSIGNED], orders.operator, nobody)),
        "claimed_by": Coded(shop.operators, np.where(lives.happened[:, CLAIMED], orders.operator, nobody)),
        "note": history_words.notes(orders.note),
        "overdue": booleans(is_open & (lives.due_us < shop.history.until_us)),
        "created_at": times(orders.placed_us),
        "changed_at": times(lives.time_of(lives.last_event)),
    }


def _item_rows(shop: Shop, orders: Orders, items: _Items) -> Columns:
    return {
        "order_id": fixed(orders.ids[items.order]),
        "line": integers(items.line),
        **_piece(shop, items),
        "quote_id": fixed(items.quote_id, ~items.priced),
    }


def _quote_rows(shop: Shop, orders: Orders, items: _Items) -> Columns:
    """One quote per priced item, made when the order was priced."""
    made = np.flatnonzero(items.priced)
    ours = _Items(**{name: getattr(items, name)[made] for name in _Items.__dataclass_fields__})
    catalogue, order = shop.catalogue, ours.order
    lives = orders.lives
    # who cancelled before there was a price got one afterwards
    priced_us = np.where(lives.happened[:, PRICED], lives.at_us[:, PRICED], orders.placed_us)[order]
    same = np.zeros(len(order), np.int64)
    return {
        "quote_id": fixed(ours.quote_id),
        "order_id": fixed(orders.ids[order]),
        "line": integers(ours.line),
        **_piece(shop, ours),
        "kernel_version": integers(np.full(len(order), catalogue.kernel_version)),
        "rate_card_id": Coded(texts([catalogue.rate_card_id]), same),
        "rush": booleans(lives.rush[order]),
        "tier": Coded(texts(TIERS), shop.customer_tier[orders.customer][order]),
        "total": hundredths(catalogue.cents[ours.price]),
        "currency": Coded(texts([catalogue.currency]), same),
        "breakdown": Coded(catalogue.breakdown, ours.price),
        "valid_until": times(priced_us + catalogue.valid_days * DAY_US),
        "created_at": times(priced_us),
    }


def _piece(shop: Shop, items: _Items) -> Columns:
    catalogue = shop.catalogue
    return {
        "model_id": Coded(catalogue.model_id, items.kind),
        "material": Coded(catalogue.material, items.kind),
        "finish": Coded(catalogue.finish, items.kind),
        "quantity": integers(np.array(QUANTITIES)[items.quantity]),
        "longest_side_mm": Coded(catalogue.size, items.kind),
    }
