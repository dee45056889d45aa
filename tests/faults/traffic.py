"""Orders with their whole lives, from senders that never give up, and a ledger of what they were promised."""

import asyncio
import gc
import json
import random
import threading
import time
import warnings
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from uuid import UUID

import httpx
from nats.aio.client import Client as NatsClient
from nats.errors import Error as NatsError
from sqlalchemy import Engine, text
from sqlalchemy.exc import SQLAlchemyError

from ingest.api import examples
from mes.errors import MesError
from mes.events import subjects
from mes.orders import life, service
from mes.orders.life import Status, System
from mes.orders.model import Actor
from tests.faults.world import World

_PAUSE_S = 0.2
_OPERATOR = Actor(System.MES, "operator")
_ACCEPTED = {200, 201}


@dataclass(frozen=True)
class Life:
    """What happens to an order: the CRM approves and closes it, or the shop cancels it on the way."""

    number: str
    cancelled: bool

    def events(self) -> list[tuple[str, dict[str, object]]]:
        """What its senders tell, each in its own sequence."""
        told = [("crm", "MANUFACTURING_APPROVED"), ("crm", "CLOSED")]
        told = [("shop", "CANCELLED")] if self.cancelled else told
        counts: dict[str, int] = {}
        events = []
        for sender, status in told:
            counts[sender] = counts.get(sender, 0) + 1
            events.append((sender, self._event(sender, counts[sender], status)))
        return events

    def _event(self, sender: str, sequence: int, status: str) -> dict[str, object]:
        return {
            "specversion": "1.0",
            "id": f"{sender}/{self.number}/{sequence}",
            "source": f"/{sender}",
            "type": f"{sender}.order.changed.v1",
            "sequence": str(sequence),
            "data": {
                "order": {"source": "shop", "external_id": self.number},
                "type": status,
                "occurred_at": "2026-11-29T10:00:00Z",
            },
        }


@dataclass
class Ledger:
    """What was acknowledged to those outside."""

    orders: dict[str, UUID] = field(default_factory=dict)
    events: set[str] = field(default_factory=set)
    lock: threading.Lock = field(default_factory=threading.Lock)


class Shop:
    """Places orders by the API, each until it is answered."""

    def __init__(self, world: World, key: str, ledger: Ledger, stopping: threading.Event) -> None:
        self._world, self._key, self._ledger, self._stopping = world, key, ledger, stopping

    def upload(self) -> None:
        """Send the model of all orders."""
        self._until_answered("POST", "/v1/models", content=examples.STL.encode(), media_type="model/stl")

    def place(self, lives: Sequence[Life], over_s: float) -> None:
        """Place these orders, spread over a time, unless all of it ends before."""
        with suppress(InterruptedError):
            self._place(lives, over_s)

    def _place(self, lives: Sequence[Life], over_s: float) -> None:
        began = time.monotonic()
        for number, each in enumerate(lives):
            time.sleep(max(0.0, began + over_s * number / len(lives) - time.monotonic()))
            order = examples.SMALL_ORDER | {"external_id": each.number}
            said = self._until_answered(
                "POST", "/v1/orders", content=json.dumps(order).encode(), media_type="application/json", key=each.number
            )
            with self._ledger.lock:
                self._ledger.orders[each.number] = UUID(str(said["order_id"]))

    def _until_answered(
        self,
        method: str,
        path: str,
        *,
        content: bytes,
        media_type: str,
        key: str | None = None,
    ) -> dict[str, object]:
        headers = {"authorization": f"Bearer {self._key}", "content-type": media_type}
        headers |= {"idempotency-key": key} if key is not None else {}
        while True:
            if self._stopping.is_set():
                raise InterruptedError
            try:
                answer = httpx.request(
                    method, self._world.api_url + path, content=content, headers=headers, timeout=10, trust_env=False
                )
            except httpx.TransportError:
                time.sleep(_PAUSE_S)
                continue
            if answer.status_code in _ACCEPTED:
                said: dict[str, object] = answer.json()
                return said
            if answer.status_code < 500 and answer.status_code not in {409, 429}:
                raise AssertionError(answer.text)
            time.sleep(_PAUSE_S)


class Senders:
    """Shop and CRM on the bus: what they send is repeated, delayed and shuffled, and sent until the bus has it."""

    def __init__(self, world: World, lives: Sequence[Life], ledger: Ledger, seed: int) -> None:
        chance = random.Random(seed)
        self._world, self._ledger = world, ledger
        self._all = [event for each in lives for event in each.events()]
        delivery = [*self._all, *chance.sample(self._all, len(self._all) // 3)]
        # near its place, but not in it
        places = [(place + chance.gauss(0, 15), event) for place, event in enumerate(delivery)]
        self._delivery = [event for _, event in sorted(places, key=lambda each: each[0])]
        self._again = threading.Event()

    def once_more(self) -> None:
        """The bus has lost what it had: all is to be sent again."""
        self._again.set()

    def send(self, over_s: float, stopping: threading.Event) -> None:
        """Send all, spread over a time, and again whenever the bus has lost it."""
        asyncio.run(self._send(over_s, stopping))
        # nats-py forgets the socket of a server that takes the connection and says nothing, as one does that is paused;
        # the collector would complain of it in whichever test it happens to run
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", ResourceWarning)
            gc.collect()

    async def _send(self, over_s: float, stopping: threading.Event) -> None:
        sending = asyncio.create_task(self._send_all(over_s))
        await asyncio.to_thread(stopping.wait)
        sending.cancel()

    async def _send_all(self, over_s: float) -> None:
        await self._publish(self._delivery, over_s / len(self._delivery))
        while True:
            if self._again.is_set():
                self._again.clear()
                await self._publish(self._all, 0)
            await asyncio.sleep(_PAUSE_S)

    async def _publish(self, events: Sequence[tuple[str, dict[str, object]]], pause: float) -> None:
        connection = _Connection(self._world.bus.url)
        try:
            for sender, event in events:
                await asyncio.sleep(pause)
                number = str(event["data"]["order"]["external_id"])  # type: ignore[index]
                await connection.publish(subjects.incoming(sender, "shop", number), json.dumps(event).encode())
                with self._ledger.lock:
                    self._ledger.events.add(str(event["id"]))
        finally:
            await connection.close()


class _Connection:
    """To the bus, made again whenever it breaks; one that nobody closes is found by the collector, in another test."""

    def __init__(self, url: str) -> None:
        self._url = url
        self._client: NatsClient | None = None

    async def publish(self, subject: str, content: bytes) -> None:
        """Until the bus says that it has it."""
        while True:
            try:
                if self._client is None:
                    self._client = NatsClient()
                    await self._client.connect(
                        self._url, allow_reconnect=False, connect_timeout=2, max_reconnect_attempts=1, error_cb=_quiet
                    )
                await self._client.jetstream(timeout=3).publish(subject, content)
            except (TimeoutError, NatsError, OSError):
                await self.close()
                await asyncio.sleep(_PAUSE_S)
            else:
                return

    async def close(self) -> None:
        """Whatever state it is in."""
        if self._client is not None:
            with suppress(TimeoutError, NatsError, OSError):
                await self._client.close()
            self._client = None


async def _quiet(_error: Exception) -> None:
    """It is raised where it is waited for, too."""


def work(engine: Engine, stopping: threading.Event) -> None:
    """The workshop moves whatever it may move, by the console's own service."""
    turns = [move for move in life.MOVES if System.MES in move.by and not move.needs_reason]
    starts = [move.start.value for move in turns if move.start is not Status.SUBMITTED]
    to = {move.start: move.to for move in turns}
    while not stopping.is_set():
        try:
            with engine.begin() as conn:
                rows = conn.execute(
                    text("""
                        select order_id, status from ops.orders
                        where status = any(cast(:starts as ops.order_status[])) and held_since is null
                        order by changed_at limit 20
                    """),
                    {"starts": starts},
                ).all()
            for row in rows:
                with engine.begin() as conn:
                    service.transition(conn, row.order_id, to[Status(row.status)], _OPERATOR)
            if not rows:
                time.sleep(_PAUSE_S)
        except (SQLAlchemyError, MesError):
            time.sleep(_PAUSE_S)
