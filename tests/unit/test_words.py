"""The console says in words what the system knows in codes."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from uuid import UUID

import pytest

from app import words
from app.queries import Queue, Waiting
from mes.orders.life import MOVES, EventType, Status, System
from mes.orders.model import Event, Order

NOW = datetime(2026, 11, 22, 12, 0, tzinfo=UTC)
ORDER = Order(UUID(int=1), "shop", "S-1", Status.MANUFACTURING_APPROVED, NOW, 1)


@pytest.mark.parametrize(
    ("due_in", "said"),
    [
        (timedelta(days=3, hours=5), "due in 3 days"),
        (timedelta(hours=47), "due in 47 h"),
        (timedelta(minutes=20), "due in 20 min"),
        (-timedelta(days=2, hours=1), "2 days late"),
        (-timedelta(days=3000), "8 years late"),
    ],
)
def test_how_soon_an_order_is_due(due_in: timedelta, said: str) -> None:
    assert words.due(NOW + due_in, NOW) == said


def test_every_step_status_and_event_has_words() -> None:
    workshops = [move for move in MOVES if System.MES in move.by and move.to is not Status.PRICE_CALCULATED]
    assert all(words.step(move.start, move.to) for move in workshops)
    assert len({words.status(status) for status in Status}) == len(Status)
    for kind in (*Status, *EventType):
        event = Event(1, kind.value, NOW, NOW, "mes", "x", None, live=True, inferred=False, late=False, data=None)
        assert words.event(event) != kind.value


def test_rework_is_not_called_a_start() -> None:
    assert words.step(Status.MANUFACTURING_COMPLETED, Status.MANUFACTURING_STARTED) == "Rework"


def test_text_from_outside_cannot_format_the_page() -> None:
    hostile = "![x](https://evil.example/p.png) **bold** :red[r] <b>\nnext"
    assert words.plain(hostile) == (r"\!\[x\]\(https\://evil\.example/p\.png\) \*\*bold\*\* \:red\[r\] \<b\> next")


def test_money_is_shown_to_the_cent() -> None:
    assert words.money(Decimal("1234.5"), "USD") == "$1,234.50"
    assert words.money(None, "USD") == "not priced yet"


@pytest.mark.parametrize(
    ("kind", "data", "said"),
    [
        (EventType.CLAIMED, None, "Claimed by Vera"),
        (EventType.GIVEN_BACK, None, "Given back by Vera"),
        (EventType.LEASE_ENDED, {"from": "Jonas", "to": None}, "Lease of Jonas ended"),
        (EventType.TAKEN_OVER, {"from": "Jonas", "to": "Vera"}, "Taken over from Jonas"),
        (EventType.ASSIGNED, {"from": None, "to": "Jonas"}, "Assigned to Jonas"),
        (EventType.ASSIGNED, {"from": "Jonas", "to": None}, "Returned, to be shared out"),
    ],
)
def test_the_timeline_names_who_had_and_who_has_an_order(
    kind: EventType, data: dict[str, object] | None, said: str
) -> None:
    event = Event(2, kind.value, NOW, NOW, "mes", "Vera", None, live=True, inferred=False, late=False, data=data)
    assert words.event(event) == said


def test_who_has_an_order_is_said_to_him_and_to_others() -> None:
    queued = replace(ORDER, assigned_to="Vera_K")
    claimed = replace(queued, claimed_by="Vera_K", lease_until=NOW)
    begun = replace(claimed, lease_until=None)
    assert words.holder(ORDER, "Jonas") is None
    assert words.holder(queued, "Vera_K") == "In your queue."
    assert words.holder(queued, "Jonas") == r"In the queue of **Vera\_K**."
    assert words.holder(claimed, "Vera_K") == (
        "You have claimed this order. Begin by 22 Nov 2026, 12:00 UTC, or it goes to somebody else."
    )
    assert words.holder(claimed, "Jonas") == (
        r"**Vera\_K** has claimed this order. The claim ends at 22 Nov 2026, 12:00 UTC unless work begins."
    )
    assert words.holder(begun, "Jonas") == r"**Vera\_K** has claimed this order."


def test_why_there_is_no_next_job() -> None:
    assert words.nothing_to_do(Waiting(begun=0, approval=0, held=0, colleagues=0)) == (
        "There is no next job for you now. In your queue: nothing."
    )
    assert words.nothing_to_do(Waiting(begun=2, approval=1, held=3, colleagues=1)) == (
        "There is no next job for you now. In your queue: 2 orders you have begun, 1 order waits for the CRM's "
        "approval, 3 orders are on hold. Besides, 1 order is in a colleague's queue."
    )


def test_a_queue_is_told_with_its_work() -> None:
    assert words.queue(Queue("Vera", 1, 19.6)) == "Vera: 1 order, 20 h"
    assert words.queue(Queue("Jonas", 1200, 0.0)) == "Jonas: 1,200 orders, 0 h"
