"""Shop and CRM go on by RabbitMQ: what they send comes to their orders, what happens here comes to them."""

import json
import time
from collections.abc import Awaitable, Callable, Iterator
from pathlib import Path
from typing import Any, TypeVar
from uuid import UUID

import aio_pika
import pytest
from aio_pika.abc import AbstractChannel
from sqlalchemy import Engine, text

from ingest.receiving import Apply, Receive
from mes.events import outbox
from mes.events.carriers.carrier import BusUnavailable
from mes.events.carriers.rabbitmq import RabbitPublisher, RabbitReceiver
from mes.events.relay import Relay
from mes.orders import placing, repository, service
from mes.orders.life import Status, System
from mes.orders.model import Actor
from tests import asynchronous
from tests.callers import SHOP, add_model, new_order
from tests.rabbit import Rabbit, running_rabbit
from tests.senders import event, later

_Given = TypeVar("_Given")
EXCHANGE, QUEUE = "mes.events", "crm.order.events"


@pytest.fixture(scope="module")
def rabbit(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Rabbit]:
    with running_rabbit(tmp_path_factory.mktemp("rabbit")) as running:
        yield running


@pytest.fixture
def order(engine: Engine) -> UUID:
    with engine.begin() as conn:
        add_model(conn)
        order_id = placing.place(conn, SHOP, new_order("S-1")).order_id
        service.transition(conn, order_id, Status.PRICE_CALCULATED, Actor(System.MES, "test"))
    return order_id


def ask(rabbit: Rabbit, work: Callable[[AbstractChannel], Awaitable[_Given]]) -> _Given:
    async def run() -> _Given:
        async with await aio_pika.connect(rabbit.url) as connection:
            return await work(await connection.channel(publisher_confirms=True))

    return asynchronous.run(run)


def send(rabbit: Rabbit, queue: str, *bodies: bytes) -> None:
    async def publish(channel: AbstractChannel) -> None:
        await channel.declare_queue(queue, durable=True)
        for body in bodies:
            await channel.default_exchange.publish(aio_pika.Message(body), routing_key=queue)

    ask(rabbit, publish)


def drain(rabbit: Rabbit, queue: str) -> list[dict[str, Any]]:
    async def read(channel: AbstractChannel) -> list[dict[str, Any]]:
        found = []
        bound = await channel.get_queue(queue)
        while (message := await bound.get(no_ack=True, fail=False)) is not None:
            found.append(json.loads(message.body) | {"message_id": message.message_id, "key": message.routing_key})
        return found

    return ask(rabbit, read)


def waiting(rabbit: Rabbit, queue: str) -> int:
    async def count(channel: AbstractChannel) -> int:
        declared = await channel.declare_queue(queue, passive=True)
        return int(declared.declaration_result.message_count or 0)

    return ask(rabbit, count)


def types(engine: Engine, order_id: UUID) -> list[str]:
    with engine.begin() as conn:
        return [each.type for each in repository.events(conn, order_id)]


def eventually(step: Callable[[], bool]) -> None:
    """What was sent may take a moment to arrive."""
    end = time.monotonic() + 20
    while not step():
        assert time.monotonic() < end, "nothing arrived"


def settle(engine: Engine) -> None:
    apply = Apply(engine, ())
    while apply.step():
        pass


def bare(told: str, at: str) -> bytes:
    """As the systems of before send it: no envelope, no number."""
    said = {"order": {"source": "shop", "external_id": "S-1"}, "type": told, "occurred_at": at}
    return json.dumps(said).encode()


def test_what_happens_here_comes_to_the_queues_that_are_bound(rabbit: Rabbit, engine: Engine, order: UUID) -> None:
    async def bind(channel: AbstractChannel) -> None:
        exchange = await channel.declare_exchange(EXCHANGE, aio_pika.ExchangeType.TOPIC, durable=True)
        queue = await channel.declare_queue("of-the-shop", durable=True)
        await queue.bind(exchange, "mes.order.#")

    ask(rabbit, bind)
    relay = Relay(engine, RabbitPublisher(rabbit.url, EXCHANGE))
    with engine.begin() as conn:
        outbox.number(conn)
    relay.step()
    assert relay.step() is False
    relay.close()
    told = drain(rabbit, "of-the-shop")
    assert [(each["sequence"], each["key"]) for each in told] == [
        ("1", "mes.order.submitted.v1"),
        ("2", "mes.order.price_calculated.v1"),
    ]
    assert [each["message_id"] for each in told] == [f"{order}/1", f"{order}/2"]


def test_numbered_and_bare_messages_move_the_order_once(rabbit: Rabbit, engine: Engine, order: UUID) -> None:
    """Both carriers may run at once during the move: the same fact comes by either."""
    receiver = RabbitReceiver(rabbit.url, "crm", QUEUE)
    approved = bare("MANUFACTURING_APPROVED", "2026-11-29T10:00:00Z")
    send(rabbit, QUEUE, bare("CLOSED", "2026-11-30T10:00:00Z"), approved, approved, b"\x00")
    send(rabbit, QUEUE, json.dumps(event(1, "MANUFACTURING_APPROVED")).encode())
    receive = Receive(engine, receiver)
    for _ in range(10):
        receive.step()
    settle(engine)
    assert types(engine, order)[-1] == "MANUFACTURING_APPROVED"
    with engine.begin() as conn:
        later(conn, 6)
    settle(engine)
    assert types(engine, order).count("MANUFACTURING_APPROVED") == 1
    with engine.begin() as conn:
        rejected = conn.execute(text("select subject, carrier from ops.rejected_messages")).one()
    assert tuple(rejected) == (QUEUE, "rabbitmq")
    receiver.close()
    assert waiting(rabbit, QUEUE) == 0


def test_what_was_not_acknowledged_comes_to_another_worker(
    rabbit: Rabbit, engine: Engine, order: UUID, monkeypatch: pytest.MonkeyPatch
) -> None:
    dying = RabbitReceiver(rabbit.url, "crm", QUEUE)
    send(rabbit, QUEUE, json.dumps(event(1, "MANUFACTURING_APPROVED")).encode())
    with monkeypatch.context() as death:
        death.setattr(dying, "acknowledge", lambda _messages: (_ for _ in ()).throw(BusUnavailable()))
        receive = Receive(engine, dying)
        with pytest.raises(BusUnavailable):
            eventually(receive.step)
    dying.close()
    settle(engine)
    other = RabbitReceiver(rabbit.url, "crm", QUEUE)
    eventually(Receive(engine, other).step)
    settle(engine)
    other.close()
    assert types(engine, order) == ["SUBMITTED", "PRICE_CALCULATED", "MANUFACTURING_APPROVED"]
    assert waiting(rabbit, QUEUE) == 0


def test_a_queue_that_its_owner_made_is_used_as_it_is(rabbit: Rabbit, engine: Engine) -> None:
    async def declare(channel: AbstractChannel) -> None:
        await channel.declare_queue("special", durable=True, arguments={"x-single-active-consumer": True})

    ask(rabbit, declare)
    receiver = RabbitReceiver(rabbit.url, "shop", "special")
    assert receiver.receive() == []
    receiver.close()


def test_what_could_not_be_kept_comes_again(
    rabbit: Rabbit, engine: Engine, order: UUID, monkeypatch: pytest.MonkeyPatch
) -> None:
    receiver = RabbitReceiver(rabbit.url, "crm", QUEUE)
    receive = Receive(engine, receiver)
    receive.step()
    send(rabbit, QUEUE, json.dumps(event(1, "MANUFACTURING_APPROVED")).encode())
    with monkeypatch.context() as failing:
        failing.setattr("mes.events.inbox.accept", lambda *_: 1 / 0)
        with pytest.raises(ZeroDivisionError):
            eventually(receive.step)
    eventually(receive.step)
    settle(engine)
    assert types(engine, order)[-1] == "MANUFACTURING_APPROVED"
    receiver.close()


def test_a_queue_that_is_made_anew_is_listened_to_again(rabbit: Rabbit, engine: Engine, order: UUID) -> None:
    receiver = RabbitReceiver(rabbit.url, "crm", "moved")
    assert receiver.receive() == []
    ask(rabbit, lambda channel: channel.queue_delete("moved"))
    with pytest.raises(BusUnavailable):
        eventually(lambda: bool(receiver.receive()))
    assert receiver.receive() == []
    send(rabbit, "moved", json.dumps(event(1, "MANUFACTURING_APPROVED")).encode())
    eventually(Receive(engine, receiver).step)
    settle(engine)
    assert types(engine, order)[-1] == "MANUFACTURING_APPROVED"
    receiver.close()


def test_a_broker_that_was_away_is_used_again(tmp_path: Path, engine: Engine, order: UUID) -> None:
    with running_rabbit(tmp_path / "other") as rabbit:
        relay = Relay(engine, RabbitPublisher(rabbit.url, EXCHANGE))
        receiver = RabbitReceiver(rabbit.url, "crm", QUEUE)
        assert receiver.receive() == []
        rabbit.kill()
        with engine.begin() as conn:
            outbox.number(conn)
        with pytest.raises(BusUnavailable):
            relay.step()
        with pytest.raises(BusUnavailable):
            eventually(lambda: bool(receiver.receive()))
        rabbit.start()
        relay.step()
        with engine.begin() as conn:
            assert outbox.progress(conn, "rabbitmq").position == 2
        send(rabbit, QUEUE, json.dumps(event(1, "MANUFACTURING_APPROVED")).encode())
        eventually(Receive(engine, receiver).step)
        settle(engine)
        assert types(engine, order)[-1] == "MANUFACTURING_APPROVED"
        relay.close()
        receiver.close()
