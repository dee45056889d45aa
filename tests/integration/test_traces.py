"""An order can be followed through all processes, from its request to its shipment; logs go along, and no secret."""

import json
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from uuid import UUID

import dagster as dg
import httpx
import pytest
from nats.js import JetStreamContext
from opentelemetry.trace import SpanKind
from sqlalchemy import Engine, text

from assets.resources import Database
from mes import config
from mes.callers import keys
from mes.callers.model import Scope
from mes.config import Settings
from mes.events import subjects
from mes.observability import telemetry, traces
from mes.orders import service
from mes.orders.life import Status, System
from mes.orders.model import Actor
from mes.pricing.rates import rate_cards, rate_store
from mes.runtime.location import libpq_url
from tests.api_server import new_key
from tests.bus import Bus, running_bus
from tests.callers import MODEL, SHOP, add_model
from tests.collector import Collector, Told, collecting
from tests.processes import free_port, running
from tests.senders import event
from tests.web_server import Receiver, receiving

LIMIT_S = 40.0
SENT_AT_ONCE = {"OTEL_BSP_SCHEDULE_DELAY": "1000", "OTEL_BLRP_SCHEDULE_DELAY": "1000"}
CALLERS_TRACE = "0af7651916cd43dd8448eb211c80319c"
TRACEPARENT = f"00-{CALLERS_TRACE}-b7ad6b7169203331-01"
SECRETS = ("Rosalind Seeded-Franklin", "rosalind@seeded.example", "MARRY ME SEEDED")
ROLES = "refresh,pricing,dispatch,relay,webhooks,inbox"


@dataclass
class Traced:
    """A system whose processes send what they do to a collector."""

    engine: Engine
    collector: Collector
    receiver: Receiver
    bus: Bus
    client: httpx.Client
    key: str


@pytest.fixture
def system(marts_engine: Engine, tmp_path: Path) -> Iterator[Traced]:
    url = marts_engine.url.render_as_string(hide_password=False)
    with marts_engine.begin() as conn:
        rate_store.load(conn, rate_cards.load_sample())
        add_model(conn)
        key = keys.create(conn, SHOP.key_name, Scope.SHOP, source=SHOP.name).key
    with ExitStack() as stack:
        collector, receiver = stack.enter_context(collecting()), stack.enter_context(receiving())
        bus = stack.enter_context(running_bus(tmp_path / "bus"))
        told = {
            "MES_OTLP_ENDPOINT": collector.url,
            "MES_NATS_URL": bus.url,
            "MES_WEBHOOK_LOOPBACK": "true",
            **SENT_AT_ONCE,
        }
        api = stack.enter_context(running(["-m", "ingest.api", "--port", "{port}"], url, tmp_path / "api", **told))
        worker = ["-m", "ingest.worker", "--roles", ROLES]
        stack.enter_context(running(worker, url, tmp_path / "worker", MES_WORKER_PORT="{port}", **told))
        headers = {"authorization": f"Bearer {key}"}
        client = stack.enter_context(httpx.Client(base_url=api.url, headers=headers, timeout=30, trust_env=False))
        provider = telemetry.send_traces(collector.url, telemetry.resource("console"), Settings())
        stack.callback(traces.send_nothing)
        stack.callback(provider.shutdown)
        yield Traced(marts_engine, collector, receiver, bus, client, key)


def eventually(holds: Callable[[], bool]) -> None:
    end = time.monotonic() + LIMIT_S
    while not holds():
        assert time.monotonic() < end, "it did not come about in time"
        time.sleep(0.1)


def order(number: str) -> dict[str, object]:
    item = {"line": 1, "model_id": MODEL, "material": "silver925", "finish": "polished", "quantity": 1}
    item |= {"engraving": {"text": SECRETS[2], "side": "inside"}}
    return {"external_id": number, "customer": {"external_id": SECRETS[1], "name": SECRETS[0]}, "items": [item]}


def test_an_order_is_followed_from_its_request_to_its_shipment(system: Traced) -> None:
    hook = system.client.post("/v1/webhooks", json={"url": system.receiver.url}, headers=new_key())
    assert hook.status_code == 201, hook.text
    answer = system.client.post("/v1/orders", json=order("T-1"), headers=new_key() | {"traceparent": TRACEPARENT})
    assert answer.status_code == 201, answer.text
    order_id = answer.json()["order_id"]

    def of_order(name: str) -> list[Told]:
        return [span for span in system.collector.of(CALLERS_TRACE) if span.name == name]

    # one trace through API, worker, bus and webhook
    for name in ("POST /v1/orders", "answer together", "insert into ops.customers", "job price_orders"):
        eventually(partial(lambda name: bool(of_order(name)), name))
    for name in ("publish jetstream", "publish webhooks", "call webhook", "order PRICE_CALCULATED"):
        eventually(partial(lambda name: bool(of_order(name)), name))
    assert of_order("POST /v1/orders")[0].parent == "b7ad6b7169203331"
    assert of_order("POST /v1/orders")[0].attributes["mes.order.id"] == order_id
    assert {span.service for span in system.collector.of(CALLERS_TRACE)} == {"api", "worker"}
    body = json.loads(system.receiver.got[0][1])
    assert (body["type"], body["traceparent"].split("-")[1]) == ("mes.order.submitted.v1", CALLERS_TRACE)
    assert system.receiver.got[0][0]["traceparent"].split("-")[1] == CALLERS_TRACE

    # days later, others go on with it: each of their traces is linked to the one before
    _approve_by_bus(system, "T-1")
    for status in (Status.MANUFACTURING_STARTED, Status.MANUFACTURING_COMPLETED, Status.PACKAGING, Status.SHIPPED):
        _act(system, order_id, status)
    eventually(lambda: bool(_changes(system, order_id, "order SHIPPED")))
    (shipped,) = _changes(system, order_id, "order SHIPPED")
    eventually(lambda: _walk_back(system, shipped)[-1].name == "POST /v1/orders")
    walked = _walk_back(system, shipped)
    assert {span.service for span in walked} == {"console", "worker", "api"}
    assert len({span.trace_id for span in walked}) >= 6

    # the logs of all of this, with their traces, and nobody's name
    eventually(lambda: any(line.trace_id == CALLERS_TRACE for line in system.collector.lines))
    changed = [line for line in system.collector.lines if line.attributes.get("order_id") == order_id]
    first = next(line for line in changed if line.body == "order changed")
    assert (first.attributes["actor"], first.attributes["sequence"]) == ("pricing", 2)
    assert all(line.trace_id for line in changed)
    for sent in system.collector.raw:
        for secret in (*SECRETS, system.key, hook.json()["secret"]):
            assert secret.encode() not in sent


def test_what_fails_is_there_though_nothing_is_sampled(marts_engine: Engine, tmp_path: Path) -> None:
    url = marts_engine.url.render_as_string(hide_password=False)
    with marts_engine.begin() as conn:
        rate_store.load(conn, rate_cards.load_sample())
        add_model(conn)
        key = keys.create(conn, SHOP.key_name, Scope.SHOP, source=SHOP.name).key
    headers = {"authorization": f"Bearer {key}"}
    with collecting() as collector:
        told = {"MES_OTLP_ENDPOINT": collector.url, "MES_TRACES_PER_S": "0", **SENT_AT_ONCE}
        with (
            running(["-m", "ingest.api", "--port", "{port}"], url, tmp_path / "api", **told) as api,
            httpx.Client(base_url=api.url, headers=headers, timeout=30, trust_env=False) as client,
        ):
            assert client.post("/v1/orders", json=order("T-1"), headers=new_key()).status_code == 201
            with marts_engine.begin() as conn:
                conn.execute(text("alter table ops.customers rename to gone"))
            assert client.post("/v1/orders", json=order("T-2"), headers=new_key()).status_code >= 500
        assert len(collector.named("POST /v1/orders")) == 1  # all is sent when a process ends
    (failed,) = collector.named("POST /v1/orders")
    assert failed.failed
    (group,) = collector.named("answer together")
    assert (group.trace_id, group.parent, group.failed) == (failed.trace_id, failed.span_id, True)
    assert any(line.trace_id == failed.trace_id and line.severity == "ERROR" for line in collector.lines)


@pytest.mark.filterwarnings("ignore:The `__fields__` attribute is deprecated")
def test_a_run_of_dagster_is_a_trace_of_the_runs_own_id(
    marts_engine: Engine, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    @dg.asset
    def counted(database: Database) -> None:
        with database.begin() as conn:
            conn.execute(text("select count(*) from ops.orders"))

    @dg.asset(deps=[counted])
    def failing(database: Database) -> None:
        with database.begin() as conn:
            conn.execute(text("select 1 / 0 from ops.order_items right join (select 1) as one on true"))

    monkeypatch.setenv("MES_DATABASE_URL", libpq_url(marts_engine.url.render_as_string(hide_password=False)))
    monkeypatch.setenv("MES_HOME", str(tmp_path))
    config.load.cache_clear()
    # Dagster's storages know their instance by a weak reference: one that nobody holds may be gone in the middle of it
    with collecting() as collector, dg.DagsterInstance.ephemeral() as instance:
        provider = telemetry.send_traces(collector.url, telemetry.resource("dagster"), Settings(traces_per_s=0))
        result = dg.materialize(
            [counted, failing], resources={"database": Database()}, raise_on_error=False, instance=instance
        )
        traces.send_nothing()
        provider.shutdown()
    config.load.cache_clear()
    assert not result.success
    told = collector.of(result.run_id.replace("-", ""))
    assert {span.name for span in told} >= {"step counted", "step failing", "from ops.orders", "from ops.order_items"}
    (run,) = [span for span in told if span.name.startswith("run ")]
    assert run.attributes["dagster.run.id"] == result.run_id
    assert {span.name for span in told if span.failed} == {"step failing", "from ops.order_items"}
    assert {span.parent for span in told if span is not run} == {run.span_id}


@pytest.mark.parametrize("answers", [503, None])
def test_a_collector_that_is_away_stops_nobody(marts_engine: Engine, tmp_path: Path, answers: int | None) -> None:
    url, asked = marts_engine.url.render_as_string(hide_password=False), 30  # more than are sampled
    with marts_engine.begin() as conn:
        key = keys.create(conn, SHOP.key_name, Scope.SHOP, source=SHOP.name).key
    with collecting() as collector:
        collector.answers = answers or 200
        told = {"MES_OTLP_ENDPOINT": collector.url if answers else f"http://127.0.0.1:{free_port()}"}
        with running(["-m", "ingest.api", "--port", "{port}"], url, tmp_path / "api", **told) as api:
            headers = {"authorization": f"Bearer {key}"}
            for _ in range(asked):
                assert httpx.get(f"{api.url}/v1/orders", headers=headers, trust_env=False).status_code == 200
            api.process.terminate()
            began = time.monotonic()
            assert api.process.wait(timeout=20) in (0, -15)
            assert time.monotonic() - began < 15
    said = [json.loads(line)["event"] for line in api.log.read_text().splitlines() if line.startswith("{")]
    assert said.count("request") == asked


def _approve_by_bus(system: Traced, number: str) -> None:
    """By the CRM, as it numbers its events; its message names no trace."""
    body = json.dumps(event(1, "MANUFACTURING_APPROVED", number)).encode()

    async def send(js: JetStreamContext) -> None:
        await js.publish(subjects.incoming("crm", SHOP.name, number), body)

    eventually(lambda: _status(system, number) == Status.PRICE_CALCULATED)
    system.bus.ask(send)
    eventually(lambda: _status(system, number) == Status.MANUFACTURING_APPROVED)


def _act(system: Traced, order_id: str, to: Status) -> None:
    """As somebody in the console does."""
    with traces.span("action move", kind=SpanKind.SERVER), system.engine.begin() as conn:
        service.transition(conn, UUID(order_id), to, Actor(System.MES, "Vera"))


def _status(system: Traced, number: str) -> str:
    with system.engine.begin() as conn:
        asked = text("select status from ops.orders where external_id = :number")
        return str(conn.execute(asked, {"number": number}).scalar_one())


def _changes(system: Traced, order_id: str, name: str) -> list[Told]:
    return [span for span in system.collector.named(name) if span.attributes.get("mes.order.id") == order_id]


def _walk_back(system: Traced, last: Told) -> list[Told]:
    """From a change of an order to what caused it, and so on, as somebody does in front of a screen."""
    spans = {(span.trace_id, span.span_id): span for span in list(system.collector.spans)}
    walked = [last]
    while True:
        here = walked[-1]
        before = [spans[link] for link in here.links if link in spans]
        parent = spans.get((here.trace_id, here.parent))
        if not before and parent is None:
            return walked
        walked.append(before[0] if before else parent)  # type: ignore[arg-type]
