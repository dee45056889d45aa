"""Orders with their whole lives, placed by a shop that never gives up, and a ledger of what was promised outside."""

import json
import random
import threading
import time
from collections import Counter
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from enum import Enum
from uuid import UUID

import httpx
import numpy as np
from sqlalchemy import Engine, text
from sqlalchemy.exc import SQLAlchemyError

from ingest.api import examples
from mes.db import query
from mes.errors import MesError
from mes.orders import life, service
from mes.orders.life import Status, System
from mes.orders.model import Actor
from tests.faults.world import World
from tests.meshes import cylinder
from tests.model_files import binary_stl

_PAUSE_S = 0.2
_OPERATOR = Actor(System.MES, "operator")
_AT_ONCE = 50
_REPEATED = 0.1  # of orders are sent again though they were answered
_TAKEN = {200, 201, 202}


class Way(Enum):
    """How the senders of an order tell of it."""

    NATS = "NATS"
    RABBITMQ = "RabbitMQ"
    UNNUMBERED = "RabbitMQ, without numbers"


@dataclass(frozen=True)
class Life:
    """What happens to an order: the CRM approves and closes it, or the shop cancels it on the way."""

    index: int
    cancelled: bool
    way: Way

    @property
    def number(self) -> str:
        """The shop's."""
        return f"F-{self.index}"

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
        data = {
            "order": {"source": "shop", "external_id": self.number},
            "type": status,
            "occurred_at": "2026-11-29T10:00:00Z",
        }
        return {
            "specversion": "1.0",
            "id": f"{sender}/{self.number}/{sequence}",
            "source": f"/{sender}",
            "type": f"{sender}.order.changed.v1",
            **({} if self.way is Way.UNNUMBERED else {"sequence": str(sequence)}),
            "data": data,
        }


@dataclass
class Ledger:
    """What was acknowledged to those outside, of the first `most` lives; none beyond `furthest` has begun."""

    most: int
    furthest: int = -1
    orders: dict[str, UUID] = field(default_factory=dict)
    moves: set[tuple[UUID, int, str]] = field(default_factory=set)
    events: set[str] = field(default_factory=set)
    models: set[str] = field(default_factory=set)
    refusals: Counter[str] = field(default_factory=Counter)
    disagreements: list[str] = field(default_factory=list)
    lock: threading.Lock = field(default_factory=threading.Lock)

    def begin(self, index: int) -> bool:
        """Say that somebody tells of the order with this index now; False when it is not to be any more."""
        with self.lock:
            if index >= self.most:
                return False
            self.furthest = max(self.furthest, index)
            return True

    def cut_short(self) -> None:
        """Let no further order begin."""
        with self.lock:
            self.most = min(self.most, self.furthest + 1)


class Pace:
    """Keeps the shop from placing more orders than the system ends: on a slow machine, all of it takes longer."""

    def __init__(self, database: Engine, most: int) -> None:
        self._database, self._most = database, most
        self._looked_at, self._under_way = float("-inf"), 0
        self._lock = threading.Lock()

    def has_room(self) -> bool:
        """Whether so few orders are under way that there may be another."""
        with self._lock:
            if time.monotonic() - self._looked_at > _PAUSE_S:
                with suppress(SQLAlchemyError), self._database.begin() as conn:
                    self._under_way = query.number(conn, _UNDER_WAY)
                self._looked_at = time.monotonic()
            return self._under_way < self._most


_PASSING = {"idempotency_key_in_use", "model_pending", "too_many_requests"}


class Shop:
    """Calls the API, each call until it is answered."""

    def __init__(
        self, world: World, key: str, ledger: Ledger, *, stopping: threading.Event, pace: Pace, seed: int
    ) -> None:
        self._world, self._key, self._ledger, self._stopping, self._pace = world, key, ledger, stopping, pace
        self._chance = random.Random(seed)

    def upload(self) -> None:
        """Send the model of all orders."""
        with self._client() as client:
            self._send_model(client, examples.STL.encode())

    def subscribe(self, url: str, types: Sequence[str]) -> str:
        """Have events of these types told at an address; gives the secret that calls are signed with."""
        body = json.dumps({"url": url, "event_types": list(types)}).encode()
        with self._client() as client:
            said = self._until_answered(client, "/v1/webhooks", body, "application/json", key="webhook")
        return str(said["secret"])

    def place(self, lives: Sequence[Life], over_s: float) -> None:
        """Place these orders, spread over a time or longer, unless all of it ends before."""
        began = time.monotonic()
        with suppress(InterruptedError), self._client() as client:
            for number, each in enumerate(lives):
                time.sleep(max(0.0, began + over_s * number / len(lives) - time.monotonic()))
                while not self._pace.has_room() and not self._stopping.is_set():
                    time.sleep(_PAUSE_S)
                if not self._ledger.begin(each.index):
                    return
                self._place(client, each)

    def send_models(self, pause_s: float) -> None:
        """Send one model after another, each of its own, until all of it ends."""
        with suppress(InterruptedError), self._client() as client:
            corners = cylinder(radius=9.0, height=4.0).reshape(-1, 3)
            faces = np.arange(len(corners)).reshape(-1, 3)
            number = 0
            while not self._stopping.wait(pause_s):
                number += 1
                self._send_model(client, binary_stl(corners, faces, header=f"model {number}".encode()))

    def _place(self, client: httpx.Client, each: Life) -> None:
        order = json.dumps(examples.SMALL_ORDER | {"external_id": each.number}).encode()
        answers = [self._until_answered(client, "/v1/orders", order, "application/json", key=each.number)]
        if self._chance.random() < _REPEATED:
            answers.append(self._until_answered(client, "/v1/orders", order, "application/json", key=each.number))
        with self._ledger.lock:
            self._ledger.orders[each.number] = UUID(str(answers[0]["order_id"]))
            if answers[0] != answers[-1]:
                self._ledger.disagreements.append(each.number)

    def _send_model(self, client: httpx.Client, content: bytes) -> None:
        said = self._until_answered(client, "/v1/models", content, "model/stl")
        with self._ledger.lock:
            self._ledger.models.add(str(said["model_id"]))

    def _client(self) -> httpx.Client:
        return httpx.Client(
            base_url=self._world.api_url,
            headers={"authorization": f"Bearer {self._key}"},
            timeout=10,
            trust_env=False,
        )

    def _until_answered(
        self, client: httpx.Client, path: str, content: bytes, media_type: str, key: str | None = None
    ) -> dict[str, object]:
        headers = {"content-type": media_type} | ({"idempotency-key": key} if key is not None else {})
        while not self._stopping.is_set():
            try:
                answer = client.post(path, content=content, headers=headers)
            except httpx.TransportError:
                time.sleep(_PAUSE_S)
                continue
            if answer.status_code in _TAKEN:
                said: dict[str, object] = answer.json()
                return said
            self._note_refusal(answer)
            time.sleep(_PAUSE_S)
        raise InterruptedError

    def _note_refusal(self, answer: httpx.Response) -> None:
        """What may be tried again says so, and why, in a form that programs read."""
        if answer.headers["content-type"] != "application/problem+json":
            raise AssertionError(f"{answer.status_code} {answer.text}")
        code = str(answer.json()["code"])
        if answer.status_code < 500 and code not in _PASSING:
            raise AssertionError(answer.text)
        with self._ledger.lock:
            self._ledger.refusals[f"{answer.status_code} {code}"] += 1


class Workshop:
    """Operators, each with orders of his own, who move whatever may be moved, by the console's own service."""

    def __init__(self, database: Engine, ledger: Ledger, stopping: threading.Event, operators: int) -> None:
        self._database, self._ledger, self._stopping = database, ledger, stopping
        self.operators = operators
        turns = [move for move in life.MOVES if System.MES in move.by and not move.needs_reason]
        self._to = {move.start: move.to for move in turns if move.start is not Status.SUBMITTED}

    def work(self, operator: int) -> None:
        """Until all of it ends."""
        while not self._stopping.is_set():
            try:
                if not self._work_once(operator):
                    time.sleep(_PAUSE_S)
            except (SQLAlchemyError, MesError):
                time.sleep(_PAUSE_S)

    def _work_once(self, operator: int) -> bool:
        values = {"starts": [start.value for start in self._to], "limit": _AT_ONCE}
        values |= {"operators": self.operators, "mine": operator}
        with self._database.begin() as conn:
            rows = conn.execute(_MOVABLE, values).all()
        for row in rows:
            with self._database.begin() as conn:
                moved = service.transition(conn, row.order_id, self._to[Status(row.status)], _OPERATOR)
            with self._ledger.lock:
                self._ledger.moves.add((moved.order_id, moved.version, moved.status.value))
        return bool(rows)


_UNDER_WAY = "select count(*) from ops.orders where status not in ('CLOSED', 'CANCELLED')"
_MOVABLE = text("""
    select order_id, status from ops.orders
    where status = any(cast(:starts as ops.order_status[])) and held_since is null
        and abs(hashtext(external_id)) % :operators = :mine
    order by changed_at limit :limit
""")


def lives(orders: int, chance: random.Random, *, by_rabbit: bool) -> list[Life]:
    """So many lives, some of them cancelled, half of them told of by RabbitMQ if that is there."""
    ways = [Way.NATS, Way.NATS, Way.RABBITMQ, Way.UNNUMBERED] if by_rabbit else [Way.NATS]
    return [Life(number, chance.random() < 0.15, chance.choice(ways)) for number in range(orders)]
