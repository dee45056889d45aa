"""Orders move by the rules, one event each, whoever else moves them at the same time."""

import threading
from dataclasses import replace
from datetime import UTC, datetime
from uuid import UUID, uuid4

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule, run_state_machine_as_test
from sqlalchemy import Connection, Engine, text
from sqlalchemy.exc import DBAPIError

from mes.db import engine as engines
from mes.errors import MesError
from mes.orders import repository, service
from mes.orders.life import FINISHED_STATUSES, MOVES, Status, System
from mes.orders.model import (
    Actor,
    IllegalTransition,
    NewEvent,
    NoSuchOrder,
    OrderHeld,
    ReasonMissing,
    VersionConflict,
)
from tests.orders import add_order

OPERATOR = Actor(System.MES, "Ada")
CRM = Actor(System.CRM, "sales")
SHOP = Actor(System.SHOP, "web shop")


def test_a_move_leaves_its_event_its_outbox_row_and_its_dirty_mark(conn: Connection) -> None:
    order_id = add_order(conn)
    conn.execute(text("delete from ops.dirty_orders"))
    moved = service.transition(conn, order_id, Status.PRICE_CALCULATED, OPERATOR)
    assert (moved.status, moved.version) == (Status.PRICE_CALCULATED, 2)
    event = repository.events(conn, order_id)[-1]
    assert (event.sequence, event.type, event.actor, event.live) == (2, "PRICE_CALCULATED", "Ada", True)
    told = conn.execute(text("select sequence, event from ops.outbox where order_id = :id"), {"id": order_id}).one()
    assert told.sequence == 2
    assert told.event["specversion"] == "1.0"
    assert told.event["type"] == "mes.order.price_calculated.v1"
    assert told.event["subject"] == str(order_id)
    assert told.event["sequence"] == "2"
    assert told.event["data"]["status"] == "PRICE_CALCULATED"
    marks = conn.execute(text("select distinct order_id from ops.dirty_orders")).scalars()
    assert list(marks) == [order_id]


def test_a_refused_move_changes_nothing(engine: Engine) -> None:
    with engine.begin() as conn:
        order_id = add_order(conn)
    with engine.begin() as conn, pytest.raises(IllegalTransition):
        service.transition(conn, order_id, Status.SHIPPED, OPERATOR)
    with engine.begin() as conn:
        assert repository.get(conn, order_id).version == 1
        assert conn.execute(text("select count(*) from ops.outbox")).scalar_one() == 0


@pytest.mark.parametrize("actor", [OPERATOR, SHOP])
def test_only_the_crm_approves(conn: Connection, actor: Actor) -> None:
    order_id = add_order(conn, status=Status.PRICE_CALCULATED)
    with pytest.raises(IllegalTransition):
        service.transition(conn, order_id, Status.MANUFACTURING_APPROVED, actor)
    assert service.transition(conn, order_id, Status.MANUFACTURING_APPROVED, CRM).version == 2


def test_a_held_order_moves_nowhere_but_to_cancelled(conn: Connection) -> None:
    order_id = add_order(conn, status=Status.MANUFACTURING_APPROVED)
    held = service.hold(conn, order_id, OPERATOR, "stone is cracked")
    assert held.held
    assert held.version == 2
    with pytest.raises(OrderHeld):
        service.transition(conn, order_id, Status.MANUFACTURING_STARTED, OPERATOR)
    cancelled = service.transition(conn, order_id, Status.CANCELLED, CRM)
    assert (cancelled.status, cancelled.held) == (Status.CANCELLED, False)


def test_holding_twice_and_releasing_twice_is_said_once(conn: Connection) -> None:
    order_id = add_order(conn)
    assert service.hold(conn, order_id, OPERATOR, "why").version == 2
    assert service.hold(conn, order_id, OPERATOR, "again").version == 2
    assert service.release(conn, order_id, OPERATOR).version == 3
    assert service.release(conn, order_id, OPERATOR).version == 3
    assert [event.type for event in repository.events(conn, order_id)] == ["SUBMITTED", "held", "released"]


def test_a_hold_needs_a_reason_and_an_open_order(conn: Connection) -> None:
    with pytest.raises(ReasonMissing):
        service.hold(conn, add_order(conn, "S-1"), OPERATOR, "  ")
    with pytest.raises(IllegalTransition):
        service.hold(conn, add_order(conn, "S-2", status=Status.SHIPPED), OPERATOR, "too late")


def test_rework_needs_a_reason(conn: Connection) -> None:
    order_id = add_order(conn, status=Status.MANUFACTURING_COMPLETED)
    with pytest.raises(ReasonMissing):
        service.transition(conn, order_id, Status.MANUFACTURING_STARTED, OPERATOR)
    back = service.transition(conn, order_id, Status.MANUFACTURING_STARTED, OPERATOR, reason="porous casting")
    assert back.status is Status.MANUFACTURING_STARTED
    assert repository.events(conn, order_id)[-1].reason == "porous casting"


def test_a_decision_on_an_old_state_is_refused(conn: Connection) -> None:
    order_id = add_order(conn)
    service.write_note(conn, order_id, OPERATOR, "engrave inside")
    with pytest.raises(VersionConflict):
        service.transition(conn, order_id, Status.PRICE_CALCULATED, OPERATOR, expected_version=1)


def test_an_unknown_order_is_said_to_be_unknown(conn: Connection) -> None:
    with pytest.raises(NoSuchOrder):
        service.transition(conn, uuid4(), Status.PRICE_CALCULATED, OPERATOR)


def test_events_cannot_be_changed_or_deleted(engine: Engine) -> None:
    with engine.begin() as conn:
        add_order(conn)
    for statement in ("update ops.order_events set actor = 'x'", "delete from ops.order_events"):
        with engine.begin() as conn, pytest.raises(DBAPIError, match="append-only"):
            conn.execute(text(statement))


@pytest.mark.parametrize("locked_first", [True, False])
def test_two_moves_at_once_never_both_win(database_url: str, locked_first: bool) -> None:
    """Twenty people press the same button; with and without the row lock that `transition` takes."""
    engine = engines.connect(database_url, pool_size=21)
    with engine.begin() as conn:
        order_id = add_order(conn, status=Status.PACKAGING)
    start = threading.Barrier(20)
    outcomes: list[str] = []

    def press() -> None:
        own = engine.connect()
        with own, own.begin():
            order = repository.get(own, order_id)
            start.wait()
            try:
                if locked_first:
                    service.transition(own, order_id, Status.SHIPPED, OPERATOR, expected_version=1)
                else:
                    moved = replace(order, status=Status.SHIPPED)
                    event = NewEvent(Status.SHIPPED, datetime.now(UTC), OPERATOR)
                    repository.change(own, order, moved, event)
            except MesError as error:
                outcomes.append(error.code)
            else:
                outcomes.append("won")

    threads = [threading.Thread(target=press) for _ in range(20)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert outcomes.count("won") == 1
    assert set(outcomes) <= {"won", "version_conflict", "illegal_transition"}
    with engine.begin() as conn:
        assert [event.type for event in repository.events(conn, order_id)] == ["PACKAGING", "SHIPPED"]
    engine.dispose()


class Life(RuleBasedStateMachine):
    """Any sequence of commands by anyone: the order obeys the table, and its events retell it."""

    engine: Engine

    @initialize()
    def place(self) -> None:
        with self.engine.begin() as conn:
            self.order_id: UUID = add_order(conn, f"S-{uuid4()}")
        self.status, self.held, self.version = Status.SUBMITTED, False, 1

    @rule(to=st.sampled_from(Status), system=st.sampled_from(System), reason=st.sampled_from([None, "because"]))
    def move(self, to: Status, system: System, reason: str | None) -> None:
        allowed = [
            move
            for move in MOVES
            if (move.start, move.to) == (self.status, to)
            and (system in move.by or system is System.ADMIN)
            and (reason or not (move.needs_reason or system is System.ADMIN))
            and (not self.held or to is Status.CANCELLED)
        ]
        try:
            with self.engine.begin() as conn:
                service.transition(conn, self.order_id, to, Actor(system, "test"), reason=reason)
        except MesError:
            assert not allowed
        else:
            assert allowed
            self.status, self.version = to, self.version + 1
            self.held = self.held and to not in FINISHED_STATUSES

    @rule()
    def hold(self) -> None:
        open_before = self.status not in {Status.SHIPPED, Status.CLOSED, Status.CANCELLED}
        try:
            with self.engine.begin() as conn:
                service.hold(conn, self.order_id, OPERATOR, "look at it")
        except IllegalTransition:
            assert not open_before
        else:
            assert open_before
            self.version += not self.held
            self.held = True

    @rule()
    def release(self) -> None:
        with self.engine.begin() as conn:
            service.release(conn, self.order_id, OPERATOR)
        self.version += self.held
        self.held = False

    @invariant()
    def the_events_retell_the_order(self) -> None:
        if not hasattr(self, "order_id"):
            return
        with self.engine.begin() as conn:
            order = repository.get(conn, self.order_id)
            events = repository.events(conn, self.order_id)
            told = conn.execute(
                text("select sequence from ops.outbox where order_id = :id order by sequence"), {"id": self.order_id}
            )
            sequences = list(told.scalars())
        assert (order.status, order.held, order.version) == (self.status, self.held, self.version)
        assert [event.sequence for event in events] == list(range(1, self.version + 1))
        assert [event.type for event in events if event.type.isupper()][-1] == order.status
        assert sequences == list(range(2, self.version + 1))


def test_any_sequence_of_commands_keeps_the_rules(engine: Engine) -> None:
    Life.engine = engine
    run_state_machine_as_test(
        Life,
        settings=settings(
            max_examples=25, stateful_step_count=15, deadline=None, suppress_health_check=list(HealthCheck)
        ),
    )
