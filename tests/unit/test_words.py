"""The console says in words what the system knows in codes."""

from datetime import UTC, datetime, timedelta
from decimal import Decimal

import pytest

from app import words
from mes.orders.life import MOVES, EventType, Status, System
from mes.orders.model import Event

NOW = datetime(2026, 11, 22, 12, 0, tzinfo=UTC)


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
    assert all(words.step(move.start, move.to) for move in MOVES if System.MES in move.by)
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
