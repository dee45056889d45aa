"""Makes an order again from its events alone, by the rules by which they came about; knows no database."""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Any, NamedTuple
from uuid import UUID

from mes.orders import changes
from mes.orders.life import EventType, Status, find_move, may_move_while_held
from mes.orders.model import Order

CONTENT = ("due_at", "rush", "paid", "customer")
"""What an order says beside its items; events tell it when it is placed by the API, and when it is edited."""

IMPORT = "import"
"""Acts for the feeds, whose reports count though the order is on hold."""

_STATUSES = {status.value: status for status in Status}


class Fact(NamedTuple):
    """An event as it was recorded; `told` by a bus, so that `occurred_at` is the sender's time of it and not ours."""

    sequence: int
    type: str
    occurred_at: datetime
    actor: str
    reason: str | None
    live: bool
    late: bool
    told: bool
    data: Mapping[str, Any] | None


@dataclass(slots=True)
class Made:
    """An order made of its events.

    `known` holds what of its content and price they tell, `items` its lines when they tell them; `unsure` names what
    older events, which told less, leave open; `faults` are what of its history cannot be.
    """

    order: Order
    version: int = 0
    live_from: int | None = None
    known: dict[str, Any] = field(default_factory=dict)
    items: dict[int, Mapping[str, Any]] | None = None
    unsure: set[str] = field(default_factory=set)
    faults: list[str] = field(default_factory=list)


def replay(order_id: UUID, facts: Iterable[Fact]) -> Made:
    """Apply an order's events, given in sequence."""
    made: Made | None = None
    for fact in facts:
        if made is None:
            made = Made(Order(order_id, "", "", Status.INITIATED, fact.occurred_at, version=0))
        if fact.sequence != made.version + 1:
            made.faults.append(f"event {made.version + 1} is missing before event {fact.sequence}")
        if fact.live and made.live_from is None:
            made.live_from = fact.sequence
        if not fact.late:
            _apply(made, fact)
        made.version = fact.sequence
    if made is None:
        raise ValueError("an order without events cannot be made")
    return made


def _apply(made: Made, fact: Fact) -> None:
    status = _STATUSES.get(fact.type)
    if status is not None:
        _move(made, fact, status)
        return
    change = _CHANGES.get(fact.type)
    if change is not None:
        change(made, fact)


def _move(made: Made, fact: Fact, to: Status) -> None:
    data = fact.data or {}
    if made.version == 0:
        made.order = replace(made.order, status=to, status_since=fact.occurred_at, note=data.get("note"))
        if "items" in data:
            made.known.update({name: data.get(name) for name in CONTENT})
            made.items = {item["line"]: item for item in data["items"]}
        return
    fault = _fault(made.order, fact, to)
    if fault is not None:
        made.faults.append(f"event {fact.sequence} {fault}")
    made.order = changes.moved(made.order, to, fact.occurred_at)
    (made.unsure.add if fact.told else made.unsure.discard)("status_since")
    _price(made, fact)


def _fault(order: Order, fact: Fact, to: Status) -> str | None:
    if find_move(order.status, to) is None:
        return f"moves from {order.status} to {to}, which nobody may"
    if order.held and fact.actor != IMPORT and not may_move_while_held(to):
        return f"moves to {to} while the order is on hold"
    return None


def _hold(made: Made, fact: Fact) -> None:
    made.order = changes.held(made.order, fact.actor, fact.reason, fact.occurred_at)


def _release(made: Made, _fact: Fact) -> None:
    made.order = changes.released(made.order)


def _claim(made: Made, fact: Fact) -> None:
    data = fact.data or {}
    until = data.get("lease_until")
    lease_until = datetime.fromisoformat(until) if until is not None else None
    made.order = changes.claimed(made.order, str(data.get("to")), lease_until)


def _give_back(made: Made, fact: Fact) -> None:
    made.order = changes.assigned(made.order, None, given_back_by=fact.actor)
    made.unsure.discard("given_back_by")


def _assign(made: Made, fact: Fact) -> None:
    data = fact.data or {}
    to = data.get("to")
    if "given_back_by" in data:
        made.unsure.discard("given_back_by")
    elif to is None:
        made.unsure.add("given_back_by")
    made.order = changes.assigned(made.order, to, data.get("given_back_by", made.order.given_back_by))


def _edit(made: Made, fact: Fact) -> None:
    edited = {name: change["to"] for name, change in (fact.data or {}).items()}
    if "note" in edited:
        made.order = changes.noted(made.order, edited["note"])
    made.known.update({name: edited[name] for name in CONTENT if name in edited})
    if edited.get("items"):
        before = made.items or {}
        # exports know neither stones nor engravings: a line that stays keeps its own
        made.items = {item["line"]: {**before.get(item["line"], {}), **item} for item in edited["items"]}


def _price(made: Made, fact: Fact) -> None:
    total = (fact.data or {}).get("total")
    if isinstance(total, Mapping):
        made.known["total"] = total.get("to")


_CHANGES: dict[str, Callable[[Made, Fact], None]] = {
    EventType.HELD.value: _hold,
    EventType.RELEASED.value: _release,
    EventType.CLAIMED.value: _claim,
    EventType.TAKEN_OVER.value: _claim,
    EventType.GIVEN_BACK.value: _give_back,
    EventType.ASSIGNED.value: _assign,
    EventType.LEASE_ENDED.value: _assign,
    EventType.EDITED.value: _edit,
    EventType.REPRICED.value: _price,
}
