"""Writes down a batch's lives as events: by whose hand each came, and why."""

import json
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from mes.orders.life import EventType, Status
from mes.samples import history_words
from mes.samples.copy_rows import (
    Bytes,
    Coded,
    Columns,
    IntArray,
    booleans,
    dates,
    fixed,
    integers,
    json_texts,
    texts,
    times,
)
from mes.samples.history_lives import ASSIGNED, CANCELLED, CLAIMED, DAY_US, EVENTS, HELD, HELD_ONCE, REWORK, Lives
from mes.samples.history_shop import SOURCES, Shop
from mes.samples.life import PRICED

# hands: programs and systems by their names, or, below zero, the order's source or its operator
_NAMES = (*SOURCES, "pricing", "dispatch")
_SYSTEM_OF_NAME = ("shop", "crm", "mes", "mes")
_SOURCE, _OPERATOR = -1, -2
_HAND_OF_EVENT = {
    Status.SUBMITTED: _SOURCE,
    Status.PRICE_CALCULATED: _NAMES.index("pricing"),
    Status.MANUFACTURING_APPROVED: _NAMES.index("crm"),
    Status.CLOSED: _NAMES.index("crm"),
    Status.CANCELLED: _SOURCE,
    EventType.HELD: _NAMES.index("crm"),
    EventType.RELEASED: _NAMES.index("crm"),
    EventType.ASSIGNED: _NAMES.index("dispatch"),
}
_SHIPPED = EVENTS.index(Status.SHIPPED)
_HANDS = np.array([_HAND_OF_EVENT.get(event, _OPERATOR) for event in EVENTS])


@dataclass(frozen=True)
class Orders:
    """What was drawn for a batch: numbers from 0, ids, times, customers, lives, and who would work on them."""

    rows: IntArray
    ids: Bytes
    placed_us: IntArray
    customer: IntArray
    lives: Lives
    operator: IntArray
    hold_reason: IntArray
    note: IntArray

    @property
    def unpriced(self) -> NDArray[np.bool_]:
        """Held, as no price was found."""
        return self.lives.happened[:, HELD] & (self.lives.stage < PRICED)


def rows(shop: Shop, rng: np.random.Generator, orders: Orders) -> Columns:
    """The events of a batch, by order and sequence."""
    lives = orders.lives
    order, event = np.nonzero(lives.happened)
    first = np.cumsum(lives.version) - lives.version
    unpriced = (event == HELD) & (lives.stage[order] < PRICED)
    hand = np.where(_HANDS[event] == _SOURCE, shop.customer_source[orders.customer][order], _HANDS[event])
    hand = np.where(unpriced, _NAMES.index("pricing"), hand)
    worker = orders.operator[order]
    at = times(lives.at_us[order, event])
    return {
        "order_id": fixed(orders.ids[order]),
        "sequence": integers(np.arange(len(order)) - first[order] + 1),
        "type": Coded(texts([each.value for each in EVENTS]), event),
        "occurred_at": at,
        "recorded_at": at,
        "system": Coded(texts([*_SYSTEM_OF_NAME, "mes"]), np.where(hand == _OPERATOR, len(_NAMES), hand)),
        "actor": Coded(
            texts([*_NAMES, *history_words.operators(shop.history.operators)]),
            np.where(hand == _OPERATOR, len(_NAMES) + worker, hand),
        ),
        "reason": _reasons(rng, orders, order, event),
        "live": booleans(np.zeros(len(order), np.bool_)),
        "data": _data(shop, event, worker, orders.note[order]),
    }


def ends(orders: Orders) -> Columns:
    """When the orders were shipped or cancelled, which the trigger on the events would have kept."""
    lives = orders.lives
    ended = np.flatnonzero(lives.happened[:, _SHIPPED] | lives.happened[:, CANCELLED])
    return {
        "order_id": fixed(orders.ids[ended]),
        **{
            name: times(lives.at_us[ended, event], ~lives.happened[ended, event])
            for name, event in (("shipped_at", _SHIPPED), ("cancelled_at", CANCELLED))
        },
    }


def changed_days(orders: Orders) -> Columns:
    """The days on which something happened that the reports count."""
    lives = orders.lives
    counted = [lives.at_us[:, event][lives.happened[:, event]] for event in (0, _SHIPPED, CANCELLED)]
    days = np.unique(np.concatenate(counted) // DAY_US)
    return {"day": dates(days)}


def _reasons(rng: np.random.Generator, orders: Orders, order: IntArray, event: IntArray) -> Coded:
    """Why something was held (as its order says), made again or cancelled."""
    chance = rng.random(len(event))
    words: list[str | None] = [None]
    codes = np.zeros(len(event), np.int64)
    for which, reasons in ((REWORK, history_words.REWORK_REASONS), (CANCELLED, history_words.CANCEL_REASONS)):
        codes = np.where(event == which, len(words) + (chance * len(reasons)).astype(np.int64), codes)
        words.extend(reasons)
    held = (event == HELD) | (event == HELD_ONCE)
    unpriced = (event == HELD) & orders.unpriced[order]
    why = np.where(unpriced, len(history_words.HOLD_REASONS), orders.hold_reason[order])
    codes = np.where(held, len(words) + why, codes)
    words.extend([*history_words.HOLD_REASONS, history_words.UNPRICED_REASON])
    return Coded(texts(words), codes)


def _data(shop: Shop, event: IntArray, worker: IntArray, note: IntArray) -> Coded:
    """With which note an order was placed, into whose queue it came, and who claimed it from there."""
    names = history_words.operators(shop.history.operators)
    assigned = [json.dumps({"from": None, "to": name}) for name in names]
    claimed = [json.dumps({"from": name, "to": name, "lease_until": None}) for name in names]
    placed = [json.dumps({"note": words}) for words in history_words.NOTES]
    noted = np.where(note > 0, 2 * len(names) + note, 0)
    codes = np.select(
        [event == 0, event == ASSIGNED, event == CLAIMED], [noted, 1 + worker, 1 + len(names) + worker], 0
    )
    return Coded(json_texts([None, *assigned, *claimed, *placed]), codes)
