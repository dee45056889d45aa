"""Runs the API for tests as users do: on a port of its own, for real HTTP clients."""

import itertools
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from uuid import UUID

import httpx
import uvicorn
from sqlalchemy import Connection, Engine, text

from ingest.api import app, examples
from mes.callers import keys
from mes.callers.model import Scope
from mes.config import Settings
from mes.db import engine as engines
from mes.models import intake, sandbox
from mes.models.sandbox import Analysis
from mes.models.store import ObjectStore
from mes.pricing.rates import rate_cards, rate_store
from mes.runtime.location import libpq_url
from tests.workshop import LIMITS

REPOSITORY = Path(__file__).resolve().parents[1]
_START_LIMIT_S = 30.0
_numbers = itertools.count(1)


def new_key() -> dict[str, str]:
    """A header for a request that was never sent before."""
    return {"idempotency-key": f"test-{next(_numbers)}"}


def new_order(external_id: str = "B-1", **changes: object) -> dict[str, object]:
    """A small order of the documentation's model."""
    return examples.SMALL_ORDER | {"external_id": external_id} | changes


@dataclass
class Api:
    """A running API, and what it runs on."""

    url: str
    engine: Engine
    settings: Settings
    clients: list[httpx.Client]

    @property
    def store(self) -> ObjectStore:
        """Where it keeps models."""
        return ObjectStore(self.settings.objects_location)

    def key(self, name: str, scope: Scope, source: str | None = None) -> str:
        """A new key."""
        with self.engine.begin() as conn:
            return keys.create(conn, name, scope, source=source).key

    def client(self, key: str | None) -> httpx.Client:
        """A client with this key, which sends nothing of its own accord."""
        headers = {"authorization": f"Bearer {key}"} if key is not None else {}
        client = httpx.Client(base_url=self.url, headers=headers, timeout=60, trust_env=False)
        self.clients.append(client)
        return client

    def number(self, sql: str) -> int:
        """The one number that a query gives."""
        with self.engine.begin() as conn:
            return int(conn.execute(text(sql)).scalar_one())

    def change(self, sql: str, **values: object) -> None:
        """Change the database behind the API's back."""
        with self.engine.begin() as conn:
            conn.execute(text(sql), values)


def settings_on(database_url: str, home: Path, **changes: object) -> Settings:
    """Settings of a test's own."""
    return Settings.model_validate(
        {"database_url": libpq_url(database_url), "home": home / "home", "log_level": "WARNING", **changes}
    )


@contextmanager
def on_database(database_url: str) -> Iterator[Engine]:
    """Connections to the API's database, once the sample's rates are there."""
    engine = engines.connect(database_url, application="test", pool_size=20)
    with engine.begin() as conn:
        rate_store.load(conn, rate_cards.load_sample())
        intake.record(conn, _example(), "pendant.stl")  # measured once for all tests: a start of numpy takes seconds
    yield engine
    engine.dispose()


@contextmanager
def serving(settings: Settings) -> Iterator[str]:
    """An API in a thread of this process; gives its address."""
    server = uvicorn.Server(
        uvicorn.Config(
            app.create(settings),
            port=0,
            loop="uvloop",
            http="httptools",
            ws="none",
            server_header=False,
            log_config=None,
            access_log=False,
        )
    )
    thread = threading.Thread(target=server.run, name="api")
    thread.start()
    wait_for(lambda: server.started or not thread.is_alive())
    try:
        port = server.servers[0].sockets[0].getsockname()[1]
        yield f"http://127.0.0.1:{port}"
    finally:
        server.should_exit = True
        thread.join(timeout=_START_LIMIT_S)


@cache
def _example() -> Analysis:
    with tempfile.NamedTemporaryFile(suffix=".stl") as file:
        file.write(examples.STL.encode())
        file.flush()
        return sandbox.analyse(Path(file.name), LIMITS)


def answers(url: str) -> bool:
    """Whether somebody listens there."""
    try:
        return httpx.get(url, trust_env=False).is_success
    except httpx.TransportError:
        return False


def wait_for(condition: Callable[[], bool], limit_s: float = _START_LIMIT_S) -> None:
    """Wait until it holds."""
    deadline = time.monotonic() + limit_s
    while not condition():
        if time.monotonic() > deadline:
            raise TimeoutError("it did not come about in time")
        time.sleep(0.02)


def with_model(client: httpx.Client) -> httpx.Client:
    """The client, once it has uploaded the documentation's model."""
    answer = client.post("/v1/models", content=examples.STL.encode(), headers={"content-type": "model/stl"})
    assert answer.status_code in {200, 201}, answer.text
    return client


def place(client: httpx.Client, external_id: str = "B-1", **changes: object) -> dict[str, object]:
    """A new order, as it was answered."""
    answer = client.post("/v1/orders", json=new_order(external_id, **changes), headers=new_key())
    assert answer.status_code == 201, answer.text
    placed: dict[str, object] = answer.json()
    return placed


def problem(answer: httpx.Response, status: int, code: str) -> dict[str, object]:
    """The problem that was answered, which must be this one."""
    assert (answer.status_code, answer.headers["content-type"]) == (status, "application/problem+json"), answer.text
    said: dict[str, object] = answer.json()
    assert (said["status"], said["code"]) == (status, code), said
    assert said["instance"] == answer.headers["x-request-id"] or "idempotency-replayed" in answer.headers
    assert {"type", "title", "detail"} <= said.keys()
    return said


def version_of(conn: Connection, order_id: object) -> int:
    """The order's version in the database."""
    return int(
        conn.execute(
            text("select version from ops.orders where order_id = :id"), {"id": UUID(str(order_id))}
        ).scalar_one()
    )
