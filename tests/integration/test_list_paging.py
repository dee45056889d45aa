"""Whoever turns the pages sees every order once, while others move, hold and place orders and refreshers merge them."""

import random
import threading
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from uuid import UUID

import pytest
from sqlalchemy import Engine, text

from mes.lists import order_list, refresher
from mes.lists.order_list import Filter, Key, Page, Scope
from tests.listed import differences, drain
from tests.orders import add_order

DAY = datetime(2026, 11, 2, tzinfo=UTC)
STILL, MOVING = 240, 60
ROWS = 5


@pytest.fixture
def orders(marts_engine: Engine) -> tuple[Engine, list[UUID], list[UUID]]:
    """A list of open orders, those that nobody touches and those that others work on; many keys tie."""
    with marts_engine.begin() as conn:
        ids = [
            add_order(conn, f"P-{number}", placed_at=DAY + timedelta(minutes=number), due_in=timedelta(number % 7))
            for number in range(STILL + MOVING)
        ]
    drain(marts_engine)
    moving = ids[:: len(ids) // MOVING][:MOVING]
    return marts_engine, [each for each in ids if each not in set(moving)], moving


class Others:
    """Threads that change orders, place new ones, and merge what changed."""

    def __init__(self, engine: Engine, moving: list[UUID]) -> None:
        self.changes = 0
        self.moved = threading.Condition()
        self._engine, self._moving = engine, moving
        self._stopping = threading.Event()
        self._failures: list[Exception] = []

    def wait_for(self, changes: int) -> None:
        """Until they have changed so many more."""
        with self.moved:
            wanted = self.changes + changes
            assert self.moved.wait_for(lambda: self.changes >= wanted or bool(self._failures), 30)

    @contextmanager
    def at_work(self) -> Iterator[None]:
        """While this lasts."""
        threads = [threading.Thread(target=self._run, args=(work,)) for work in (self._change, self._merge)]
        for thread in threads:
            thread.start()
        try:
            yield
        finally:
            self._stopping.set()
            for thread in threads:
                thread.join()
        assert not self._failures, self._failures

    def _run(self, work: Callable[[random.Random], None]) -> None:
        chance = random.Random(3)
        try:
            while not self._stopping.is_set():
                work(chance)
        except Exception as error:  # noqa: BLE001 - told by the test
            self._failures.append(error)

    def _change(self, chance: random.Random) -> None:
        with self._engine.begin() as conn:
            conn.execute(
                text("""
                    update ops.orders set
                        due_at = placed_at + :days * interval '1 day',
                        status = cast(:status as ops.order_status), version = version + 1
                    where order_id = :id
                """),
                {
                    "id": chance.choice(self._moving),
                    "days": chance.randrange(7),
                    "status": chance.choice(("SUBMITTED", "PACKAGING", "MANUFACTURING_STARTED")),
                },
            )
            if self.changes % 4 == 0:
                add_order(conn, f"N-{self.changes}", placed_at=DAY + timedelta(days=chance.randrange(7)))
        with self.moved:
            self.changes += 1
            self.moved.notify_all()

    def _merge(self, _chance: random.Random) -> None:
        with self._engine.begin() as conn:
            refresher.refresh_batch(conn)


def _read(engine: Engine, chosen: Filter, **key: Key | None) -> Page:
    with engine.begin() as conn:
        return order_list.page(conn, chosen, rows=ROWS, **key)


def _forward(engine: Engine, chosen: Filter, others: Others) -> list[UUID]:
    seen, page = [], _read(engine, chosen)
    while True:
        seen += [row.order_id for row in page.rows]
        if not page.has_next:
            return seen
        others.wait_for(1)
        page = _read(engine, chosen, after=order_list.key_of(page.rows[-1], chosen))


def _backward(engine: Engine, chosen: Filter, others: Others, last: Key) -> list[UUID]:
    seen, page = [], _read(engine, chosen, before=last)
    while True:
        seen += [row.order_id for row in page.rows]
        if not page.has_previous:
            return seen
        others.wait_for(1)
        page = _read(engine, chosen, before=order_list.key_of(page.rows[0], chosen))


@pytest.mark.parametrize("words", [(), ("p-",)], ids=["all", "words"])
def test_orders_at_rest_are_seen_once_while_others_move(
    orders: tuple[Engine, list[UUID], list[UUID]], words: tuple[str, ...]
) -> None:
    engine, still, moving = orders
    others, chosen = Others(engine, moving), Filter(words=words)
    with others.at_work():
        forward = Counter(_forward(engine, chosen, others))
        end = Key(datetime(2030, 1, 1, tzinfo=UTC), UUID(int=2**128 - 1))
        backward = Counter(_backward(engine, chosen, others, end))
    for seen in (forward, backward):
        assert [seen[order_id] for order_id in still] == [1] * STILL
    assert others.changes > 2 * STILL / ROWS
    drain(engine)
    assert differences(engine) == 0


def test_in_the_order_of_their_coming_every_order_is_seen_once_whatever_happens_to_it(
    orders: tuple[Engine, list[UUID], list[UUID]],
) -> None:
    engine, still, moving = orders
    others, chosen = Others(engine, moving), Filter(Scope.ALL)
    with others.at_work():
        seen = Counter(_forward(engine, chosen, others))
    assert [seen[order_id] for order_id in (*still, *moving)] == [1] * (STILL + MOVING)
    assert max(seen.values()) == 1
