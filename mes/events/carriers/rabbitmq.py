"""Speaks RabbitMQ with shop and CRM, as they do today: publishes to an exchange, and receives from their queues.

RabbitMQ cannot refuse what was published before, so a relay that died may tell the last few events again, in their
order: receivers know them by `message_id`, and by the order's version in `sequence`.
"""

import asyncio
import json
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import TypeVar

import aio_pika
import structlog
from aio_pika.abc import AbstractChannel, AbstractConnection, AbstractExchange, AbstractIncomingMessage
from aio_pika.exceptions import AMQPException, ChannelNotFoundEntity
from anyio.from_thread import BlockingPortal, start_blocking_portal

from mes.events.carriers.carrier import BusUnavailable
from mes.events.carriers.receiver import Message
from mes.events.inbox import Key
from mes.events.outbox import Progress, Told
from mes.observability import traces

NAME = "rabbitmq"
CONTENT_TYPE = "application/cloudevents+json"
_ANSWER_S = 5.0
_HEARTBEAT_S = 5
_WAIT_S = 0.2
_AT_ONCE = 200
_Given = TypeVar("_Given")

log = structlog.get_logger(__name__)


@dataclass
class _Open:
    """What belongs to one connection, and is gone with it."""

    connection: AbstractConnection
    channel: AbstractChannel
    exchange: AbstractExchange | None = None
    arrived: "asyncio.Queue[AbstractIncomingMessage] | None" = None
    consumer: str = ""


class _Link:
    """A connection that threads use, made when it is needed and again after it has failed."""

    def __init__(self, url: str) -> None:
        self._url = url
        self._opened = start_blocking_portal()
        self._portal: BlockingPortal = self._opened.__enter__()
        self._open: _Open | None = None

    def run(self, work: Callable[[_Open], Awaitable[_Given]]) -> _Given:
        """Do something, and wait for it.

        Raises:
            BusUnavailable: RabbitMQ is away, or does not answer in time.
        """
        return self._portal.call(self._run, work)

    def drop(self) -> None:
        """Disconnect; the next use connects again."""
        self._portal.call(self._drop)

    def close(self) -> None:
        """Disconnect, for good."""
        try:
            self.drop()
        finally:
            self._opened.__exit__(None, None, None)

    async def _run(self, work: Callable[[_Open], Awaitable[_Given]]) -> _Given:
        try:
            async with asyncio.timeout(2 * _ANSWER_S):
                return await work(await self._connected())
        except (AMQPException, ConnectionError, OSError, TimeoutError, RuntimeError, ExceptionGroup) as error:
            await self._drop()
            raise BusUnavailable(f"RabbitMQ cannot be used ({type(error).__name__}).") from error

    async def _connected(self) -> _Open:
        if self._open is None or self._open.connection.is_closed or self._open.channel.is_closed:
            await self._drop()
            connection = await aio_pika.connect(self._url, timeout=_ANSWER_S, heartbeat=_HEARTBEAT_S)
            channel = await connection.channel(publisher_confirms=True)
            await channel.set_qos(prefetch_count=_AT_ONCE)
            self._open = _Open(connection, channel)
        return self._open

    async def _drop(self) -> None:
        was, self._open = self._open, None
        if was is not None:
            try:
                await asyncio.wait_for(was.connection.close(), _ANSWER_S)
            except (AMQPException, ConnectionError, OSError, TimeoutError, RuntimeError) as error:
                log.debug("closing failed", error=type(error).__name__)


class RabbitPublisher:
    """The topic exchange that shop and CRM bind their queues to, by the event's type: `mes.order.shipped.v1`."""

    name = NAME

    def __init__(self, url: str, exchange: str) -> None:
        self._link, self._exchange = _Link(url), exchange

    def resume(self, progress: Progress) -> Progress | None:  # noqa: ARG002 - an exchange keeps nothing
        """Connect, and declare the exchange."""
        self._link.run(self._declared)
        return None

    def carry(self, events: Sequence[Told]) -> Progress:
        """Publish a batch in order, and wait until the broker has confirmed each."""
        self._link.run(lambda opened: self._publish(opened, events))
        return Progress(events[-1].position)

    def close(self) -> None:
        """Leave the bus."""
        self._link.close()

    async def _declared(self, opened: _Open) -> AbstractExchange:
        if opened.exchange is None:
            opened.exchange = await opened.channel.declare_exchange(
                self._exchange, aio_pika.ExchangeType.TOPIC, durable=True
            )
        return opened.exchange

    async def _publish(self, opened: _Open, events: Sequence[Told]) -> None:
        exchange = await self._declared(opened)
        # all on one channel, in the order in which they are begun here; confirmed while others are under way
        async with asyncio.TaskGroup() as confirming:
            for event in events:
                publishing = exchange.publish(_message(event), routing_key=str(event.event["type"]), mandatory=False)
                confirming.create_task(publishing)


class RabbitReceiver:
    """A queue of one sender; made if it is missing."""

    name = NAME
    bare = True

    def __init__(self, url: str, sender: str, queue: str) -> None:
        self.sender = sender
        self._link, self._queue = _Link(url), queue

    def receive(self) -> Sequence[Message]:
        """The next messages, in the queue's order."""
        return self._link.run(self._take)

    def acknowledge(self, messages: Sequence[Message]) -> None:
        """Let the queue forget them."""

        async def acknowledge(_opened: _Open) -> None:
            for message in messages:
                await message.delivery.ack()

        self._link.run(acknowledge)

    def give_back(self, messages: Sequence[Message]) -> None:  # noqa: ARG002 - the broker knows
        """Leave the broker, which has all that was not acknowledged delivered again, in its order."""
        self._link.drop()

    def ask_again(self, key: Key) -> Sequence[Message]:  # noqa: ARG002
        """A queue keeps nothing of what was acknowledged."""
        return ()

    def close(self) -> None:
        """Leave the bus; what was not acknowledged comes to others."""
        self._link.close()

    async def _take(self, opened: _Open) -> list[Message]:
        if opened.arrived is None:
            opened.arrived = asyncio.Queue()
            queue = await self._declared(opened)
            opened.consumer = await queue.consume(opened.arrived.put, no_ack=False)
        elif opened.consumer not in getattr(await opened.channel.get_underlay_channel(), "consumers", {}):
            raise ConnectionError("the queue was deleted, or has moved")  # nothing else tells: we would wait for ever
        found: list[AbstractIncomingMessage] = []
        try:
            async with asyncio.timeout(_WAIT_S):
                found.append(await opened.arrived.get())
        except TimeoutError:
            return []
        while len(found) < _AT_ONCE and not opened.arrived.empty():
            found.append(opened.arrived.get_nowait())
        return [Message(self._queue, message.body, _attributes(message), message) for message in found]

    async def _declared(self, opened: _Open) -> aio_pika.abc.AbstractQueue:
        """As it is, if it is there: its owner may have made it with arguments of his own."""
        probing = await opened.connection.channel()
        try:
            await probing.declare_queue(self._queue, passive=True)
        except ChannelNotFoundEntity:
            log.info("queue made", queue=self._queue)
            return await opened.channel.declare_queue(self._queue, durable=True)
        await probing.close()
        return await opened.channel.get_queue(self._queue, ensure=False)


def _message(event: Told) -> aio_pika.Message:
    return aio_pika.Message(
        json.dumps(event.event, ensure_ascii=False, separators=(",", ":")).encode(),
        content_type=CONTENT_TYPE,
        message_id=str(event.event["id"]),
        delivery_mode=aio_pika.DeliveryMode.PERSISTENT,
        headers={"sequence": event.sequence, "subject": str(event.order_id), **traces.headers_if_sampled(event.event)},
    )


def _attributes(message: AbstractIncomingMessage) -> dict[str, str]:
    """CloudEvents' attributes in binary mode, named as by other carriers; AMQP's binding prefixes them in two ways."""
    found = {name: str(value) for name, value in message.headers.items() if name == traces.HEADER}
    for name, value in message.headers.items():
        for prefix in ("cloudEvents:", "cloudEvents_"):
            if name.startswith(prefix):
                found[f"ce-{name.removeprefix(prefix)}"] = (
                    value.decode(errors="replace") if isinstance(value, bytes) else str(value)
                )
    return found
