"""Whatever is done to orders, and whenever the list is refreshed, it says in the end what its definition says."""

from collections.abc import Callable
from contextlib import ExitStack
from datetime import timedelta
from uuid import UUID

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import Bundle, RuleBasedStateMachine, consumes, rule, run_state_machine_as_test
from sqlalchemy import Connection, Engine, text

from mes.clock import utc_now
from mes.errors import MesError
from mes.lists import counts, refresher
from mes.orders import repository, service
from mes.orders.life import Status, System
from mes.orders.model import Actor
from tests.listed import assert_counted, differences, drain
from tests.orders import add_order

ADMIN = Actor(System.ADMIN, "root")
OPERATORS = ("Ada", "Ben", None)


class _Shop(RuleBasedStateMachine):
    """Orders change; two refreshers, own refreshes and folding come at any moment, and may be cut short."""

    engine: Engine
    orders = Bundle("orders")

    def __init__(self) -> None:
        super().__init__()
        self.stack = ExitStack()
        self.unfinished: Connection | None = None

    @rule(target=orders, tier=st.sampled_from(["retail", "b2b", "vip"]), days=st.integers(-5, 20), rush=st.booleans())
    def place(self, tier: str, days: int, rush: bool) -> UUID:
        placed_at = utc_now() - timedelta(days=10)
        with self.engine.begin() as conn:
            number = conn.execute(text("select 'S-' || count(*) from ops.customers")).scalar_one()
            due_in = timedelta(days=10 + days)
            return add_order(conn, number, tier=tier, rush=rush, placed_at=placed_at, due_in=due_in)

    @rule(order=orders, to=st.sampled_from(Status), at_once=st.booleans())
    def move(self, order: UUID, to: Status, at_once: bool) -> None:
        self._change(order, at_once, lambda conn: service.transition(conn, order, to, ADMIN, reason="by chance"))

    @rule(order=orders, at_once=st.booleans())
    def hold_or_release(self, order: UUID, at_once: bool) -> None:
        def toggle(conn: Connection) -> None:
            if repository.lock(conn, order).held:
                service.release(conn, order, ADMIN)
            else:
                service.hold(conn, order, ADMIN, "thin wall")

        self._change(order, at_once, toggle)

    @rule(order=orders, operator=st.sampled_from(OPERATORS), claimed=st.booleans(), at_once=st.booleans())
    def assign(self, order: UUID, operator: str | None, claimed: bool, at_once: bool) -> None:
        values = {"order_id": order, "operator": operator, "claimed": operator if claimed else None}
        statement = text(
            "update ops.orders set assigned_to = :operator, claimed_by = :claimed where order_id = :order_id"
        )
        self._change(order, at_once, lambda conn: conn.execute(statement, values))

    @rule(order=orders, note=st.text(alphabet="ab Ø%_'", max_size=12), at_once=st.booleans())
    def note(self, order: UUID, note: str, at_once: bool) -> None:
        self._change(order, at_once, lambda conn: service.write_note(conn, order, ADMIN, note))

    @rule(tier=st.sampled_from(["retail", "b2b", "vip"]), order=orders)
    def change_customer(self, tier: str, order: UUID) -> None:
        with self.engine.begin() as conn:
            conn.execute(
                text("""
                    update ops.customers set tier = :tier
                    where customer_id = (select customer_id from ops.orders where order_id = :order_id)
                """),
                {"tier": tier, "order_id": order},
            )

    @rule(order=consumes(orders))
    def delete(self, order: UUID) -> None:
        with self.engine.begin() as conn:
            conn.execute(text("delete from ops.orders where order_id = :order_id"), {"order_id": order})

    @rule(limit=st.integers(1, 5), commit=st.booleans())
    def refresh(self, limit: int, commit: bool) -> None:
        with self.engine.connect() as conn, conn.begin() as transaction:
            refresher.refresh_batch(conn, limit=limit)
            if not commit:
                transaction.rollback()

    @rule(limit=st.integers(1, 5))
    def begin_refresh(self, limit: int) -> None:
        """A second refresher takes its marks and is still at it while others go on."""
        self.end_refresh()
        self.unfinished = self.engine.connect()
        self.unfinished.begin()
        refresher.refresh_batch(self.unfinished, limit=limit)

    @rule()
    def end_refresh(self) -> None:
        if self.unfinished is not None:
            self.unfinished.commit()
            self.unfinished.close()
            self.unfinished = None

    @rule()
    def clockwork(self) -> None:
        with self.engine.begin() as conn:
            refresher.flip_overdue(conn)
            counts.fold(conn, limit=7)

    @rule()
    def settle(self) -> None:
        self.end_refresh()
        drain(self.engine)
        assert differences(self.engine) == 0
        assert_counted(self.engine)

    def teardown(self) -> None:
        self.settle()

    def _change(self, order: UUID, at_once: bool, change: Callable[[Connection], object]) -> None:
        if self.unfinished is not None and at_once:
            self.end_refresh()  # else both would wait for the row of one order, in one thread
        with self.engine.begin() as conn:
            try:
                change(conn)
            except MesError:
                return
            if at_once:
                refresher.refresh_now(conn, [order])


@pytest.fixture
def machine(marts_engine: Engine) -> type[_Shop]:
    """A shop with a database of its own."""

    class Shop(_Shop):
        engine = marts_engine

    return Shop


def test_the_list_is_its_definition_whatever_was_done(machine: type[_Shop]) -> None:
    run_state_machine_as_test(
        machine,
        settings=settings(
            max_examples=20,
            stateful_step_count=25,
            deadline=None,
            derandomize=True,
            suppress_health_check=list(HealthCheck),
        ),
    )
