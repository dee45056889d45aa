"""Events that shop and CRM publish to NATS come to their orders, whichever worker dies and whatever the bus loses."""

import json
import time
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from uuid import UUID

import pytest
from nats.js.client import JetStreamContext
from sqlalchemy import Engine, text

from ingest.receiving import Apply, Receive
from mes.events import subjects
from mes.events.carriers.carrier import BusUnavailable
from mes.events.carriers.jetstream_receiver import JetStreamReceiver
from mes.orders import placing, repository, service
from mes.orders.life import Status, System
from mes.orders.model import Actor
from tests.bus import Bus, running_bus
from tests.callers import SHOP, add_model, new_order
from tests.senders import event, later

KEPT = timedelta(days=1)


@pytest.fixture
def bus(tmp_path: Path) -> Iterator[Bus]:
    with running_bus(tmp_path / "bus") as running:
        yield running


@pytest.fixture
def crm(bus: Bus) -> Iterator[JetStreamReceiver]:
    receiver = JetStreamReceiver(bus.url, "crm", kept=KEPT)
    receiver.receive()  # makes the stream
    yield receiver
    receiver.close()


@pytest.fixture
def order(engine: Engine) -> UUID:
    """An order that the CRM may approve."""
    with engine.begin() as conn:
        add_model(conn)
        order_id = placing.place(conn, SHOP, new_order("S-1")).order_id
        service.transition(conn, order_id, Status.PRICE_CALCULATED, Actor(System.MES, "test"))
    return order_id


def publish(bus: Bus, *events: dict[str, object]) -> None:
    async def send(js: JetStreamContext) -> None:
        for each in events:
            await js.publish(subjects.incoming("crm", "shop", "S-1"), json.dumps(each).encode())

    bus.ask(send)


def types(engine: Engine, order_id: UUID) -> list[str]:
    with engine.begin() as conn:
        return [each.type for each in repository.events(conn, order_id)]


def settle(engine: Engine, *receivers: JetStreamReceiver) -> None:
    apply = Apply(engine, receivers)
    while apply.step():
        pass


def test_an_event_on_the_bus_moves_its_order(engine: Engine, bus: Bus, crm: JetStreamReceiver, order: UUID) -> None:
    publish(bus, event(2, "CANCELLED"), event(1, "MANUFACTURING_APPROVED"))
    receive = Receive(engine, crm)
    assert receive.step()
    assert not receive.step()
    settle(engine)
    assert types(engine, order)[-1] == "CANCELLED"


def test_what_was_kept_and_not_acknowledged_comes_again_and_does_nothing(
    engine: Engine, bus: Bus, order: UUID, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The worker dies after the commit, before the acknowledgement."""
    monkeypatch.setattr("mes.events.carriers.jetstream_receiver._AGAIN_AFTER_S", 1)
    receiver = JetStreamReceiver(bus.url, "crm", kept=KEPT)
    receiver.receive()
    publish(bus, event(1, "MANUFACTURING_APPROVED"))
    dying = Receive(engine, receiver)
    with monkeypatch.context() as death:
        death.setattr(receiver, "acknowledge", lambda _messages: (_ for _ in ()).throw(BusUnavailable()))
        with pytest.raises(BusUnavailable):
            dying.step()
    settle(engine)
    while not dying.step():
        pass
    settle(engine)
    assert types(engine, order) == ["SUBMITTED", "PRICE_CALCULATED", "MANUFACTURING_APPROVED"]
    receiver.close()


def test_a_message_that_nobody_can_read_is_set_aside_and_others_go_on(
    engine: Engine, bus: Bus, crm: JetStreamReceiver, order: UUID
) -> None:
    bus.ask(lambda js: js.publish("crm.v1.order.x", b"\x00not an event"))
    publish(bus, event(1, "MANUFACTURING_APPROVED"))
    Receive(engine, crm).step()
    settle(engine)
    assert types(engine, order)[-1] == "MANUFACTURING_APPROVED"
    with engine.begin() as conn:
        aside = conn.execute(text("select subject, body, reason from ops.rejected_messages")).one()
    assert tuple(aside) == ("crm.v1.order.x", b"\x00not an event", "It is not JSON in UTF-8.")


def test_what_the_database_refuses_keeps_no_other_out(
    engine: Engine, bus: Bus, crm: JetStreamReceiver, order: UUID, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("mes.events.incoming._require_storable", lambda _event: None)
    publish(bus, event(7, "CLOSED", note="\0"), event(1, "MANUFACTURING_APPROVED"))
    assert Receive(engine, crm).step()
    settle(engine)
    assert types(engine, order)[-1] == "MANUFACTURING_APPROVED"
    with engine.begin() as conn:
        assert conn.execute(text("select count(*) from ops.rejected_messages")).scalar_one() == 1


def test_what_could_not_be_kept_comes_again_at_once(
    engine: Engine, bus: Bus, crm: JetStreamReceiver, order: UUID, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The database fails while messages are kept; the stream's own patience would be half a minute."""
    publish(bus, event(1, "MANUFACTURING_APPROVED"))
    receive = Receive(engine, crm)
    with monkeypatch.context() as failing:
        failing.setattr("mes.events.inbox.accept", lambda *_: 1 / 0)
        with pytest.raises(ZeroDivisionError):
            receive.step()
    end = time.monotonic() + 10
    while not receive.step():
        assert time.monotonic() < end
    settle(engine)
    assert types(engine, order)[-1] == "MANUFACTURING_APPROVED"


def test_a_missing_event_is_fetched_from_the_bus(engine: Engine, bus: Bus, crm: JetStreamReceiver, order: UUID) -> None:
    """The first one was received and lost, as by a database that was restored to an earlier state."""
    publish(bus, event(1, "MANUFACTURING_APPROVED"), event(2, "CLOSED"))
    Receive(engine, crm).step()
    with engine.begin() as conn:
        conn.execute(text("delete from ops.inbox where sequence = 1"))
    settle(engine, crm)
    assert types(engine, order)[-1] == "PRICE_CALCULATED"
    with engine.begin() as conn:
        later(conn, 6)
    settle(engine, crm)
    settle(engine, crm)
    assert types(engine, order)[-1] == "MANUFACTURING_APPROVED"


def test_a_bus_that_was_away_or_emptied_is_listened_to_again(
    engine: Engine, bus: Bus, crm: JetStreamReceiver, order: UUID
) -> None:
    bus.kill()
    bus.wipe()
    with pytest.raises(BusUnavailable):
        Receive(engine, crm).step()
    bus.start()
    Receive(engine, crm).step()
    publish(bus, event(1, "MANUFACTURING_APPROVED"))
    Receive(engine, crm).step()
    settle(engine)
    assert types(engine, order)[-1] == "MANUFACTURING_APPROVED"
