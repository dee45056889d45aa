"""Shop and CRM on their buses: what they send is repeated, delayed and shuffled, and sent until a bus has it."""

import asyncio
import gc
import json
import logging
import random
import threading
import warnings
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Protocol

import aio_pika
from aio_pika.abc import AbstractChannel
from aio_pika.connection import Connection, make_url
from aio_pika.exceptions import AMQPException
from nats.aio.client import Client as NatsClient
from nats.errors import Error as NatsError

from mes.events import subjects
from tests.faults.traffic import Ledger, Life, Way
from tests.faults.world import World

_PAUSE_S = 0.2
_ANSWER_S = 3.0
_AGAIN_AT_ONCE = 32
_REPEATED, _REPEATED_AFTER = 1 / 3, 200  # of the events; places, on average
_SHUFFLED_BY = 15  # places, as a rule
_AHEAD = 20  # orders that may be told of before they are placed

logging.getLogger("aiormq").setLevel(logging.CRITICAL)  # which says of each connection that it broke

_Event = dict[str, object]


@dataclass(frozen=True)
class _Sent:
    """An event of the order with this index."""

    index: int
    sender: str
    event: _Event


class Senders:
    """Of all orders, by the buses that their lives name."""

    def __init__(self, world: World, lives: Sequence[Life], ledger: Ledger, seed: int) -> None:
        self._world, self._lives, self._ledger = world, lives, ledger
        chance = random.Random(seed)
        self._by_nats = _delivery([each for each in lives if each.way is Way.NATS], chance)
        self._by_rabbit = _delivery([each for each in lives if each.way is not Way.NATS], chance)
        self._again = threading.Event()

    def once_more(self) -> None:
        """NATS has lost what it had: what was sent is to be sent again."""
        self._again.set()

    def have_sent(self) -> bool:
        """Whether every event has been sent."""
        return len(self._ledger.events) == sum(len(each.events()) for each in self._lives[: self._ledger.most])

    def send(self, stopping: threading.Event) -> None:
        """Send all, as the orders are placed, and again whenever the bus has lost it."""
        asyncio.run(self._send(stopping))
        # nats-py forgets the socket of a server that takes the connection and says nothing, as one does that is paused;
        # the collector would complain of it in whichever test it happens to run
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", ResourceWarning)
            gc.collect()

    async def _send(self, stopping: threading.Event) -> None:
        buses: list[_Bus] = [_Nats(self._world.bus.url)]
        sending = [asyncio.create_task(self._send_by_nats(buses[0]))]
        if self._world.rabbit is not None:
            buses.append(_Rabbit(self._world.rabbit.url))
            sending.append(asyncio.create_task(self._publish(buses[1], self._by_rabbit)))
        await asyncio.to_thread(stopping.wait)
        for each in sending:
            each.cancel()
        await asyncio.gather(*sending, return_exceptions=True)
        for bus in buses:
            await bus.close()

    async def _send_by_nats(self, bus: "_Bus") -> None:
        first = asyncio.create_task(self._publish(bus, self._by_nats))
        try:
            while True:
                await asyncio.sleep(_PAUSE_S)
                if self._again.is_set():
                    self._again.clear()
                    await self._send_again()
        finally:
            first.cancel()

    async def _send_again(self) -> None:
        """By a connection of its own, since events go on happening; each order's in the order of its senders."""
        sent = {str(each.event["id"]): (each.sender, each.event) for each in self._by_nats}
        with self._ledger.lock:
            known = [sent[event_id] for event_id in sorted(sent.keys() & self._ledger.events)]
        bus = _Nats(self._world.bus.url)
        try:
            for start in range(0, len(known), _AGAIN_AT_ONCE):
                await asyncio.gather(*(bus.publish(*each) for each in known[start : start + _AGAIN_AT_ONCE]))
        finally:
            await bus.close()

    async def _publish(self, bus: "_Bus", events: Sequence[_Sent]) -> None:
        for number, each in enumerate(events):
            while self._is_early(number / len(events)):  # noqa: ASYNC110 - threads place what is waited for
                await asyncio.sleep(_PAUSE_S)
            if self._ledger.begin(each.index):
                await bus.publish(each.sender, each.event)
                with self._ledger.lock:
                    self._ledger.events.add(str(each.event["id"]))

    def _is_early(self, share: float) -> bool:
        """Whether of the orders, fewer are placed than this share; none is waited for that will not come."""
        whole = len(self._lives)
        return self._ledger.most == whole and share > (len(self._ledger.orders) + _AHEAD) / whole


class _Bus(Protocol):
    async def publish(self, sender: str, event: _Event) -> None:
        """Until the bus says that it has it."""

    async def close(self) -> None:
        """Whatever state it is in."""


class _Nats:
    """A connection, made again whenever it breaks; one that nobody closes is found by the collector in another test."""

    def __init__(self, url: str) -> None:
        self._url = url
        self._client: NatsClient | None = None
        self._turn = asyncio.Lock()

    async def publish(self, sender: str, event: _Event) -> None:
        subject = subjects.incoming(sender, "shop", _order_of(event))
        content = json.dumps(event).encode()
        while True:
            client = None
            try:
                client = await self._connected()
                await client.jetstream(timeout=_ANSWER_S).publish(subject, content)
            except (TimeoutError, NatsError, OSError):
                await self._drop(client)
                await asyncio.sleep(_PAUSE_S)
            else:
                return

    async def close(self) -> None:
        await self._drop(self._client)

    async def _connected(self) -> NatsClient:
        async with self._turn:
            if self._client is None:
                self._client = NatsClient()
                await self._client.connect(
                    self._url, allow_reconnect=False, connect_timeout=2, max_reconnect_attempts=1, error_cb=_quiet
                )
            return self._client

    async def _drop(self, client: NatsClient | None) -> None:
        """Unless another has done so and connected again."""
        async with self._turn:
            if self._client is None or (client is not None and client is not self._client):
                return
            client, self._client = self._client, None
            with suppress(TimeoutError, NatsError, OSError):
                await client.close()


class _Rabbit:
    """A connection, made again whenever it breaks; bare data is what senders wrote that could not number."""

    def __init__(self, url: str) -> None:
        self._url = url
        self._connection: Connection | None = None
        self._channel: AbstractChannel | None = None

    async def publish(self, sender: str, event: _Event) -> None:
        said = event if "sequence" in event else event["data"]
        while True:
            try:
                async with asyncio.timeout(_ANSWER_S):
                    channel = await self._connected()
                    await channel.default_exchange.publish(
                        aio_pika.Message(json.dumps(said).encode(), delivery_mode=aio_pika.DeliveryMode.PERSISTENT),
                        routing_key=f"{sender}.order.events",
                    )
            except (AMQPException, OSError, TimeoutError, RuntimeError):
                await self.close()
                await asyncio.sleep(_PAUSE_S)
            else:
                return

    async def close(self) -> None:
        connection, self._connection, self._channel = self._connection, None, None
        if connection is not None:
            with suppress(AMQPException, OSError, TimeoutError, RuntimeError):
                await asyncio.wait_for(connection.close(), _ANSWER_S)

    async def _connected(self) -> AbstractChannel:
        if self._channel is None:
            # kept at once: one that never came about must be closed, too, or the collector complains in another test
            self._connection = Connection(make_url(self._url))
            await self._connection.connect(timeout=_ANSWER_S)
            self._channel = await self._connection.channel(publisher_confirms=True)
            for sender in subjects.SENDERS:
                await self._channel.declare_queue(f"{sender}.order.events", durable=True)
        return self._channel


def _delivery(lives: Sequence[Life], chance: random.Random) -> list[_Sent]:
    """What is sent, in turn: each event near its place, but not in it, and some of them once more, later."""
    events = [_Sent(each.index, sender, event) for each in lives for sender, event in each.events()]
    places = [(place + chance.gauss(0, _SHUFFLED_BY), event) for place, event in enumerate(events)]
    repeated = chance.sample(list(enumerate(events)), int(len(events) * _REPEATED))
    places += [(place + chance.expovariate(1 / _REPEATED_AFTER), event) for place, event in repeated]
    return [event for _, event in sorted(places, key=lambda each: each[0])]


def _order_of(event: _Event) -> str:
    data = event["data"]
    if not isinstance(data, dict):
        raise TypeError(data)
    return str(data["order"]["external_id"])


async def _quiet(_error: Exception) -> None:
    """It is raised where it is waited for, too."""
