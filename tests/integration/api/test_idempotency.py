"""A creating call has one effect and one answer, however often and however simultaneously it is sent."""

import threading
import time
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from pathlib import Path

import httpx
import pytest
from sqlalchemy import Connection, Engine, text

from ingest.api import examples
from mes.callers import idempotency, keys
from mes.callers.idempotency import Answer, KeyedRequest, KeyInUse, KeyReused
from mes.callers.model import NotAuthenticated, Scope
from tests.api_server import Api, new_key, new_order, on_database, problem, with_model
from tests.processes import running_api

NOW = datetime(2026, 11, 22, 8, 0, tzinfo=UTC)
REQUEST = KeyedRequest("shop", "POST", "/v1/orders", "k-1", b"{}")
# in this test's database: others are on the same server
WAITING = "select count(*) from pg_stat_activity where datname = current_database()"


def test_a_repeated_order_is_answered_byte_for_byte_as_before(shop: httpx.Client, api: Api) -> None:
    headers = new_key()
    first = shop.post("/v1/orders", json=new_order(), headers=headers)
    api.change("update ops.orders set status = 'PRICE_CALCULATED', version = 2")
    again = shop.post("/v1/orders", json=new_order(), headers=headers)
    assert (again.status_code, again.content) == (201, first.content)
    assert again.headers["location"] == first.headers["location"]
    assert again.headers["content-type"] == first.headers["content-type"] == "application/json"
    assert (again.headers["idempotency-replayed"], first.headers.get("idempotency-replayed")) == ("true", None)
    assert again.headers["x-request-id"] != first.headers["x-request-id"]
    assert api.number("select count(*) from ops.orders") == 1


def test_a_repeated_quote_is_the_same_quote(shop: httpx.Client, api: Api) -> None:
    headers = new_key()
    first = shop.post("/v1/quotes", json=examples.QUOTE_REQUEST, headers=headers)
    again = shop.post("/v1/quotes", json=examples.QUOTE_REQUEST, headers=headers)
    assert (first.status_code, again.content, again.headers["idempotency-replayed"]) == (200, first.content, "true")
    assert api.number("select count(*) from ops.quotes") == 1


@pytest.mark.parametrize(
    "body",
    [
        b'{"external_id": ""}',
        b"{",
        b'{"external_id": "B-1", "customer": {"external_id": "C"}, "items": [{"line": 1, "model_id": "%s", '
        b'"material": "gold585", "finish": "satin", "quantity": 1}]}' % (b"0" * 64),
    ],
    ids=["invalid", "malformed", "unknown model"],
)
def test_a_refusal_is_repeated_too(shop: httpx.Client, body: bytes) -> None:
    headers = new_key() | {"content-type": "application/json"}
    first = shop.post("/v1/orders", content=body, headers=headers)
    again = shop.post("/v1/orders", content=body, headers=headers)
    assert 400 <= first.status_code < 500
    assert (again.status_code, again.content) == (first.status_code, first.content)
    assert again.headers["idempotency-replayed"] == "true"
    assert again.headers["content-type"] == "application/problem+json"


def test_a_key_belongs_to_its_body(shop: httpx.Client, api: Api) -> None:
    headers = new_key()
    shop.post("/v1/orders", json=new_order(), headers=headers)
    problem(shop.post("/v1/orders", json=new_order("B-2"), headers=headers), 422, "idempotency_key_reused")
    spaced = shop.post(
        "/v1/orders",
        content=b" " + httpx.Request("POST", "http://x", json=new_order()).content,
        headers=headers | {"content-type": "application/json"},
    )
    problem(spaced, 422, "idempotency_key_reused")
    assert api.number("select count(*) from ops.orders") == 1


def test_a_key_belongs_to_its_caller_and_path(shop: httpx.Client, partner: httpx.Client, api: Api) -> None:
    headers = new_key()
    assert shop.post("/v1/orders", json=new_order(), headers=headers).status_code == 201
    assert partner.post("/v1/orders", json=new_order(), headers=headers).status_code == 201
    assert shop.post("/v1/quotes", json=examples.SMALL_QUOTE_REQUEST, headers=headers).status_code == 200


@pytest.mark.parametrize("path", ["/v1/orders", "/v1/quotes"])
def test_a_creating_call_needs_a_usable_key(shop: httpx.Client, path: str) -> None:
    problem(shop.post(path, json={}), 400, "idempotency_key_missing")
    problem(shop.post(path, json={}, headers={"idempotency-key": ""}), 400, "idempotency_key_missing")
    for key in ("k" * 256, "schlüssel", "a\tb"):
        headers = {"idempotency-key": key.encode("latin-1")}
        problem(shop.post(path, json={}, headers=headers), 400, "idempotency_key_invalid")  # type: ignore[arg-type]


def test_a_key_has_up_to_255_characters(shop: httpx.Client) -> None:
    for key in ("k", "~" * 255):
        answer = shop.post("/v1/orders", json=new_order(f"B-{len(key)}"), headers={"idempotency-key": key})
        assert answer.status_code == 201


def test_what_is_not_the_callers_fault_is_not_kept(shop: httpx.Client, api: Api) -> None:
    api.change("alter table ops.rate_cards rename to elsewhere")
    headers = new_key()
    problem(shop.post("/v1/quotes", json=examples.SMALL_QUOTE_REQUEST, headers=headers), 500, "internal_error")
    api.change("alter table ops.elsewhere rename to rate_cards")
    api.change("update ops.rate_cards set valid_to = valid_from + interval '1 second'")
    no_card = problem(shop.post("/v1/quotes", json=examples.SMALL_QUOTE_REQUEST, headers=headers), 503, "no_rate_card")
    assert "key" not in str(no_card)
    api.change("update ops.rate_cards set valid_to = null")
    answer = shop.post("/v1/quotes", json=examples.SMALL_QUOTE_REQUEST, headers=headers)
    assert (answer.status_code, answer.headers.get("idempotency-replayed")) == (200, None)


def test_a_request_that_is_still_running_is_answered_at_once(shop: httpx.Client, api: Api) -> None:
    headers = {"idempotency-key": "slow"}
    with api.engine.begin() as conn:
        conn.execute(text("lock table ops.orders in exclusive mode"))  # the first request waits for us
        first: list[httpx.Response] = []
        running = threading.Thread(
            target=lambda: first.append(shop.post("/v1/orders", json=new_order(), headers=headers))
        )
        running.start()
        while not api.number(f"{WAITING} and wait_event_type = 'Lock'"):
            time.sleep(0.01)
        second = shop.post("/v1/orders", json=new_order("B-2"), headers=headers)
    running.join()
    problem(second, 409, "idempotency_key_in_use")
    assert second.headers["retry-after"] == "1"
    assert first[0].status_code == 201


def test_twenty_at_once_make_one_order(shop: httpx.Client, api: Api) -> None:
    headers = new_key()

    def post(_number: int) -> httpx.Response:
        return shop.post("/v1/orders", json=new_order(), headers=headers)

    with ThreadPoolExecutor(20) as pool:
        answers = list(pool.map(post, range(20)))
    made = [answer for answer in answers if answer.status_code == 201]
    assert {answer.status_code for answer in answers} <= {201, 409}
    assert len({answer.content for answer in made}) == 1
    assert sum("idempotency-replayed" not in answer.headers for answer in made) == 1
    for refused in (answer for answer in answers if answer.status_code == 409):
        problem(refused, 409, "idempotency_key_in_use")
    assert api.number("select count(*) from ops.orders") == 1
    assert api.number("select count(*) from ops.order_events") == 1
    assert api.number("select count(*) from ops.outbox") == 1


def test_twenty_with_keys_of_their_own_make_one_order_too(shop: httpx.Client, api: Api) -> None:
    def post(number: int) -> int:
        return shop.post("/v1/orders", json=new_order(), headers={"idempotency-key": f"own-{number}"}).status_code

    with ThreadPoolExecutor(20) as pool:
        statuses = Counter(pool.map(post, range(20)))
    assert statuses == {201: 1, 200: 19}
    assert api.number("select count(*) from ops.orders") == 1


@pytest.mark.slow
def test_two_processes_are_one_api(database_url: str, tmp_path: Path) -> None:
    with (
        on_database(database_url) as engine,
        running_api(database_url, tmp_path) as one,
        running_api(database_url, tmp_path) as two,
    ):
        api = Api(one.url, engine, None, [])  # type: ignore[arg-type]
        key = api.key("web shop", Scope.SHOP)
        clients = [with_model(Api(each.url, engine, None, []).client(key)) for each in (one, two)]  # type: ignore[arg-type]

        def post(number: int) -> tuple[int, bytes]:
            order = new_order(f"B-{number // 4}")
            answer = clients[number % 2].post("/v1/orders", json=order, headers={"idempotency-key": f"k-{number // 4}"})
            return answer.status_code, answer.content

        with ThreadPoolExecutor(16) as pool:
            answers = list(pool.map(post, range(80)))
        assert {status for status, _ in answers} <= {201, 409}
        assert api.number("select count(*) from ops.orders") == 20
        assert len({content for status, content in answers if status == 201}) == 20
        for client in clients:
            client.close()


def test_an_answer_lives_and_dies_with_its_work(engine: Engine) -> None:
    with engine.begin() as conn:
        key = keys.create(conn, "web shop", Scope.SHOP).key
    keyed = idempotency.keyed("POST", "/v1/orders", "k-1")
    with engine.connect() as conn:
        known = keys.authenticate(conn, key, keyed=keyed)
        assert idempotency.kept(known, REQUEST) is None
        idempotency.store(conn, REQUEST, Answer(201, {"location": "/x"}, "made"))
        with engine.connect() as other, pytest.raises(KeyInUse):
            idempotency.kept(keys.authenticate(other, key, keyed=keyed), REQUEST)
        conn.rollback()  # as a crash would
    with engine.begin() as conn:
        assert idempotency.kept(keys.authenticate(conn, key, keyed=keyed), REQUEST) is None
        idempotency.store(conn, REQUEST, Answer(201, {"location": "/x"}, "made"))
    with engine.begin() as conn:
        known = keys.authenticate(conn, key, keyed=keyed)
        assert idempotency.kept(known, REQUEST) == Answer(201, {"location": "/x"}, "made")
        with pytest.raises(KeyReused):
            idempotency.kept(known, KeyedRequest("shop", "POST", "/v1/orders", "k-1", b"{} "))


def test_an_answer_is_seen_that_was_committed_while_the_lock_was_tried(engine: Engine) -> None:
    """A plain select sees what was committed before it began; the lock may be had later."""
    asking = text("""
        select kept.body from (select pg_sleep(1) as over offset 0) as lock
        left join lateral ops.kept_answer('shop', 'POST', '/v1/orders', 'k-1', '2020-01-01') as kept on true
    """)
    with engine.connect() as second, ThreadPoolExecutor(1) as pool:
        asked = pool.submit(lambda: second.scalar(asking))
        with engine.begin() as first:
            while not first.scalar(text(f"{WAITING} and wait_event = 'PgSleep'")):
                time.sleep(0.01)
            idempotency.store(first, REQUEST, Answer(201, {}, "made"))
        assert asked.result() == "made"


def test_only_who_has_the_secret_can_lock(engine: Engine) -> None:
    with engine.begin() as conn:
        key = keys.create(conn, "web shop", Scope.SHOP).key
    stolen_id = f"{key[:-64]}{'0' * 64}"
    keyed = idempotency.keyed("POST", "/v1/orders", "k-1")
    with engine.connect() as conn:
        with pytest.raises(NotAuthenticated):
            keys.authenticate(conn, stolen_id, keyed=keyed)
        with engine.connect() as other:
            assert keys.authenticate(other, key, keyed=keyed).locked


def test_an_answer_is_kept_for_seven_days(engine: Engine, conn: Connection) -> None:
    key = keys.create(conn, "web shop", Scope.SHOP).key

    def kept(now: datetime) -> Answer | None:
        keyed = idempotency.keyed("POST", "/v1/orders", "k-1", clock=lambda: now)
        return idempotency.kept(keys.authenticate(conn, key, keyed=keyed), REQUEST)

    idempotency.store(conn, REQUEST, Answer(201, {}, "made"), clock=lambda: NOW)
    within, after = NOW + timedelta(days=7, seconds=-1), NOW + timedelta(days=7)
    assert idempotency.purge(conn, clock=lambda: within) == 0
    assert kept(within) is not None
    assert kept(after) is None
    idempotency.store(conn, REQUEST, Answer(200, {}, "made anew"), clock=lambda: after)
    assert kept(after) == Answer(200, {}, "made anew")
    assert idempotency.purge(conn, clock=lambda: after + timedelta(days=7)) == 1
    assert idempotency.purge(conn, clock=lambda: after + timedelta(days=7)) == 0
