"""Orders that come at the same time share a transaction, and each is answered as if it had come alone."""

import dataclasses
import json
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from types import SimpleNamespace

import httpx
import pytest
from sqlalchemy import Engine, text
from sqlalchemy.exc import DBAPIError
from starlette.requests import Request
from starlette.responses import Response

from ingest.api import examples, together
from ingest.api.bodies import Body
from ingest.api.calls import Backend, Call
from ingest.api.errors import BodyTooLarge
from ingest.api.orders import PLACING
from ingest.api.overload import Backlog, RateLimits, TooManyRequests
from ingest.api.together import Asked
from mes.callers import idempotency, keys
from mes.callers.idempotency import KeyInUse, KeyMissing
from mes.callers.model import NotAuthenticated, Scope
from mes.clock import utc_now
from mes.errors import MesError
from mes.models.store import ObjectStore
from mes.observability import metrics
from tests.api_server import Api, new_order, on_database, settings_on

MODEL = str(examples.SMALL_ORDER["items"][0]["model_id"])  # type: ignore[index]


class Desk:
    """Takes calls together, with no server between."""

    def __init__(self, backend: Backend) -> None:
        self.backend = backend

    def key(self, name: str, scope: Scope) -> str:
        """A new key of a caller who has uploaded the documentation's model."""
        with self.backend.engine.begin() as conn:
            key = keys.create(conn, name, scope)
            uploaded = (
                "insert into ops.model_uploads (caller, model_id) values (:caller, :model) on conflict do nothing"
            )
            conn.execute(text(uploaded), {"caller": key.source, "model": MODEL})
        return key.key

    def asked(self, key: str | None, number: str, content: bytes | None = None, **order: object) -> Asked:
        """A call under the `Idempotency-Key` `number`; an empty one is none."""
        headers = [(b"idempotency-key", number.encode())] if number else []
        application = SimpleNamespace(state=SimpleNamespace(backend=self.backend))
        scope = {"type": "http", "method": "POST", "path": "/v1/orders", "headers": headers, "state": {}}
        said = content if content is not None else json.dumps(new_order(f"B-{number}") | order).encode()
        return Asked(Call(Request(scope | {"app": application}), key), Body(said))

    def take(self, *asked: Asked) -> list[Response | MesError]:
        """What is answered."""
        return list(together.answer_all(self.backend, PLACING, asked, lambda: None))

    @contextmanager
    def broken(self, table: str) -> Iterator[None]:
        """Let nothing be written into a table that is written last."""
        with self.backend.engine.begin() as conn:
            conn.execute(text(f"alter table {table} add constraint broken check (false) not valid"))
        try:
            yield
        finally:
            with self.backend.engine.begin() as conn:
                conn.execute(text(f"alter table {table} drop constraint broken"))

    def number(self, sql: str) -> int:
        """The one number that a query gives."""
        with self.backend.engine.begin() as conn:
            return int(conn.execute(text(sql)).scalar_one())


@pytest.fixture
def desk(database_url: str, tmp_path: Path) -> Iterator[Desk]:
    settings = settings_on(database_url, tmp_path)
    with on_database(database_url) as engine:
        store = ObjectStore(settings.objects_location)
        yield Desk(Backend(settings, engine, store, utc_now, RateLimits(1000), Backlog(engine, 10**6)))


def test_orders_of_several_callers_share_one_transaction(desk: Desk) -> None:
    shop, partner = desk.key("web shop", Scope.SHOP), desk.key("brilliant-rings", Scope.PARTNER)
    answers = desk.take(*(desk.asked((shop, partner)[number % 2], str(number)) for number in range(8)))
    said = [_read(answer, 201) for answer in answers]
    assert [order["source"] for order in said] == ["shop", "brilliant-rings"] * 4
    assert [order["external_id"] for order in said] == [f"B-{number}" for number in range(8)]
    assert desk.number("select count(distinct xmin::text) from ops.orders") == 1
    assert desk.number("select count(*) from ops.idempotency_keys") == 8


def test_each_is_refused_for_itself(desk: Desk) -> None:
    shop = desk.key("web shop", Scope.SHOP)
    large = Asked(desk.asked(shop, "large").call, Body(fault=BodyTooLarge(most=1)))
    unknown_model = {"items": [examples.SMALL_ORDER["items"][0] | {"model_id": "0" * 64}]}  # type: ignore[index]
    answers = desk.take(
        desk.asked(shop, "good"),
        desk.asked(None, "nobody"),
        desk.asked(f"{shop[:-64]}{'0' * 64}", "forged"),
        desk.asked(shop, ""),
        large,
        desk.asked(shop, "malformed", b"{"),
        desk.asked(shop, "unknown", **unknown_model),
        desk.asked(shop, "good too"),
    )
    assert [type(answer) for answer in answers[1:5]] == [NotAuthenticated, NotAuthenticated, KeyMissing, BodyTooLarge]
    assert [_read(answers[place], status)["code"] for place, status in ((5, 400), (6, 404))] == [
        "malformed_json",
        "no_such_model",
    ]
    assert [_read(answers[place], 201)["external_id"] for place in (0, 7)] == ["B-good", "B-good too"]
    assert desk.number("select count(*) from ops.orders") == 2
    assert desk.number("select count(*) from ops.idempotency_keys") == 4


def test_one_key_twice_is_one_order(desk: Desk) -> None:
    shop = desk.key("web shop", Scope.SHOP)
    first, second, other = desk.take(desk.asked(shop, "1"), desk.asked(shop, "1"), desk.asked(shop, "2"))
    assert isinstance(second, KeyInUse)
    again, fresh = desk.take(desk.asked(shop, "1"), desk.asked(shop, "3"))
    assert isinstance(first, Response)
    assert isinstance(again, Response)
    assert (again.body, again.headers["idempotency-replayed"]) == (first.body, "true")
    assert [_read(answer, 201)["external_id"] for answer in (other, fresh)] == ["B-2", "B-3"]


def test_one_number_under_several_keys_is_one_order(desk: Desk) -> None:
    shop = desk.key("web shop", Scope.SHOP)
    same = [desk.asked(shop, key, external_id="B-1") for key in ("1", "2", "3")]
    other = desk.asked(shop, "4", external_id="B-1", rush=True)
    answers = desk.take(*same, other)
    assert [answer.status_code for answer in answers if isinstance(answer, Response)] == [201, 200, 200, 409]
    assert (
        len({_read(answer, answer.status_code)["order_id"] for answer in answers if isinstance(answer, Response)}) == 1
    )


def test_orders_are_counted_once_each_and_only_if_they_are_kept(desk: Desk) -> None:
    def counted() -> float:
        return metrics.REGISTRY.get_sample_value("mes_orders_placed_total", {"source": "tally"}) or 0.0

    shop = desk.key("tally", Scope.PARTNER)
    asked = [desk.asked(shop, key, external_id=number) for key, number in (("1", "B-1"), ("2", "B-1"), ("3", "B-3"))]
    desk.take(*asked, desk.asked(shop, "4", b"{"))
    assert counted() == 2
    desk.take(*asked)
    assert counted() == 2
    with pytest.raises(DBAPIError), desk.broken("ops.idempotency_keys"):
        desk.take(desk.asked(shop, "5"))
    assert counted() == 2


def test_what_one_order_says_of_a_customer_another_leaves_as_it_is(desk: Desk) -> None:
    shop = desk.key("web shop", Scope.SHOP)

    def customers(*said: dict[str, object]) -> list[object]:
        first = desk.number("select count(*) from ops.orders")
        asked = [
            desk.asked(shop, str(first + place), customer={"external_id": "C-1", **each})
            for place, each in enumerate(said)
        ]
        return [_read(answer, 201)["customer"] for answer in desk.take(*asked)]

    ada = {"external_id": "C-1", "name": "Ada", "tier": "vip"}
    assert customers({"name": "Ada", "tier": "vip"}, {}) == [ada, ada]
    assert customers({"tier": "b2b"}, {"name": "Ada L."}, {}) == [ada | {"name": "Ada L.", "tier": "b2b"}] * 3
    assert customers({}, {}) == [ada | {"name": "Ada L.", "tier": "b2b"}] * 2


def test_what_is_answered_at_once_is_what_is_shown_later(shop: httpx.Client) -> None:
    item = examples.NEW_ORDER["items"][0] | {"line": 7, "longest_side_mm": 12.34567}  # type: ignore[index]
    order = examples.NEW_ORDER | {
        "items": [{name: item[name] for name in item if name != "quote_id"}, examples.SMALL_ORDER["items"][0]],  # type: ignore[index]
        "placed_at": "2026-11-20T09:00:00+02:00",
        "due_at": "2026-12-20T09:00:00.123456Z",
        "customer": {"external_id": " C-1 ", "tier": "vip"},
    }
    for external_id, customer in (("B-1", {}), ("B-2", {"name": "Ada"}), ("B-3", {"name": None, "tier": None})):
        said = order | {"external_id": external_id, "customer": {"external_id": "C-1", **customer}}
        placed = shop.post("/v1/orders", json=said, headers={"idempotency-key": external_id})
        assert placed.status_code == 201, placed.text
        assert shop.get(placed.headers["location"]).content == placed.content


def test_over_its_rate_a_key_is_refused_and_the_others_are_not(desk: Desk) -> None:
    desk = Desk(dataclasses.replace(desk.backend, limits=RateLimits(2)))
    shop, partner = desk.key("web shop", Scope.SHOP), desk.key("brilliant-rings", Scope.PARTNER)
    answers = desk.take(*(desk.asked(shop, str(number)) for number in range(6)), desk.asked(partner, "1"))
    assert [type(answer) is TooManyRequests for answer in answers] == [False] * 4 + [True] * 2 + [False]


def test_who_waits_for_a_lock_keeps_nobody_waiting(shop: httpx.Client, api: Api) -> None:
    def post(number: int) -> float:
        began = time.monotonic()
        order = new_order(f"B-{number}", customer={"external_id": f"C-{number}", "name": "Ada"})
        answer = shop.post("/v1/orders", json=order, headers={"idempotency-key": f"k-{number}"})
        assert answer.status_code == 201, answer.text
        return time.monotonic() - began

    post(0)
    with api.engine.connect() as importer, ThreadPoolExecutor(12) as pool:
        importer.execute(text("insert into ops.customers (source, external_id, tier) values ('shop', 'C-1', 'retail')"))
        waiting = pool.submit(post, 1)
        others = [pool.submit(post, number) for number in range(2, 12)]
        slowest = max(other.result() for other in others)
        assert not waiting.done()
        importer.commit()
    assert waiting.result() > slowest


def test_a_database_that_fails_for_one_order_takes_the_others(shop: httpx.Client, api: Api) -> None:
    api.change("alter table ops.customers add constraint no_fools check (external_id <> 'fool')")
    gate = threading.Barrier(8)

    def post(number: int) -> int:
        gate.wait()
        order = new_order(f"B-{number}", customer={"external_id": "fool" if number == 3 else f"C-{number}"})
        return shop.post("/v1/orders", json=order, headers={"idempotency-key": f"k-{number}"}).status_code

    with ThreadPoolExecutor(8) as pool:
        statuses = list(pool.map(post, range(8)))
    assert statuses == [500 if number == 3 else 201 for number in range(8)]
    assert api.number("select count(*) from ops.orders") == 7


def test_nothing_of_a_group_stays_when_it_cannot_be_committed(desk: Desk, engine: Engine) -> None:
    shop = desk.key("web shop", Scope.SHOP)
    with engine.begin() as conn:
        conn.execute(text("alter table ops.idempotency_keys add constraint never check (idempotency_key <> '2')"))
    with pytest.raises(DBAPIError):
        desk.take(*(desk.asked(shop, str(number)) for number in range(4)))
    assert desk.number("select count(*) from ops.orders") == 0
    with engine.begin() as conn:
        assert keys.authenticate(conn, shop, keyed=idempotency.keyed("POST", "/v1/orders", "1")).kept is None


def _read(answer: Response | MesError, status: int) -> dict[str, object]:
    assert isinstance(answer, Response), answer
    assert answer.status_code == status, answer.body
    said: dict[str, object] = json.loads(bytes(answer.body))
    return said
