"""Whatever is wrong, the answer is a problem that says what, and nothing else is harmed."""

import json
import socket
import threading
from pathlib import Path
from urllib.parse import urlsplit

import httpx
import pytest

from ingest.api import app, examples
from mes.callers.model import Scope
from tests.api_server import (
    Api,
    new_key,
    new_order,
    on_database,
    place,
    problem,
    serving,
    settings_on,
    wait_for,
    with_model,
)

JSON = {"content-type": "application/json"}
ITEM = new_order()["items"][0]  # type: ignore[index]


NO_JSON = (
    b"",
    b"{",
    b"not json",
    b'{"external_id": "\xff"}',
    b'{"external_id": "\\ud800"}',
    b"[" * 100_000,
    b'{"a":' * 50_000,
    b'{"rush": ' + b"9" * 10_000 + b"}",
    b'\xef\xbb\xbf{"external_id": "B-1"}',
    b"\x00",
    b'{"external_id": "a\x00b"}',
    "{}".encode("utf-16"),
)
IMPOSSIBLE: tuple[tuple[dict[str, object], str], ...] = (
    ({"external_id": None}, "/external_id"),
    ({"external_id": ""}, "/external_id"),
    ({"external_id": "a\0b"}, "/external_id"),
    ({"external_id": "x" * 201}, "/external_id"),
    ({"customer": {}}, "/customer/external_id"),
    ({"customer": {"external_id": "C", "tier": "gold"}}, "/customer/tier"),
    ({"colour": "red"}, "/colour"),
    ({"a/b~c": 1}, "/a~1b~0c"),
    ({"items": []}, "/items"),
    ({"items": [ITEM, ITEM]}, "/items"),
    ({"items": [ITEM | {"quantity": 0}]}, "/items/0/quantity"),
    ({"items": [ITEM | {"quantity": 10**30}]}, "/items/0/quantity"),
    ({"items": [ITEM | {"quantity": "1"}]}, "/items/0/quantity"),
    ({"items": [ITEM | {"quantity": 1.5}]}, "/items/0/quantity"),
    ({"items": [ITEM | {"quantity": float("nan")}]}, "/items/0/quantity"),
    ({"items": [ITEM | {"longest_side_mm": float("inf")}]}, "/items/0/longest_side_mm"),
    ({"items": [ITEM | {"longest_side_mm": 0}]}, "/items/0/longest_side_mm"),
    ({"items": [ITEM | {"material": "brass"}]}, "/items/0/material"),
    ({"items": [ITEM | {"model_id": "x"}]}, "/items/0/model_id"),
    ({"items": [ITEM | {"quote_id": "x"}]}, "/items/0/quote_id"),
    ({"items": [ITEM | {"engraving": {"text": "\0", "side": "back"}}]}, "/items/0/engraving/text"),
    ({"items": [ITEM, ITEM | {"line": 2, "finish": "shiny"}]}, "/items/1/finish"),
    ({"placed_at": "2026-11-22T08:00:00"}, "/placed_at"),
    ({"placed_at": "yesterday"}, "/placed_at"),
    ({"due_at": "2026-02-30T00:00:00Z"}, "/due_at"),
    ({"rush": "yes"}, "/rush"),
)


def test_what_is_no_json_is_refused(shop: httpx.Client) -> None:
    for path in ("/v1/orders", "/v1/quotes", f"/v1/orders/{examples.ORDER_ID}/transitions"):
        for body in NO_JSON:
            problem(shop.post(path, content=body, headers=new_key() | JSON), 400, "malformed_json")


def test_what_cannot_be_is_refused_by_its_pointer(shop: httpx.Client, api: Api) -> None:
    for changes, pointer in IMPOSSIBLE:
        body = json.dumps(new_order(**changes)).encode()  # httpx would refuse NaN itself
        said = problem(shop.post("/v1/orders", content=body, headers=new_key() | JSON), 422, "invalid_request")
        faults = said["errors"]
        assert isinstance(faults, list)
        assert pointer in [fault["pointer"] for fault in faults], (changes, faults)
        assert all(fault["detail"] for fault in faults)
    assert api.number("select count(*) from ops.orders") == 0


def test_nul_in_a_reason_is_refused(shop: httpx.Client) -> None:
    order_id = place(shop)["order_id"]
    move = {"to": "CANCELLED", "reason": "a\0b"}
    said = problem(shop.post(f"/v1/orders/{order_id}/transitions", json=move), 422, "invalid_request")
    assert said["errors"][0]["pointer"] == "/reason"  # type: ignore[index]
    kept = shop.post(
        f"/v1/orders/{order_id}/transitions", json={"to": "CANCELLED", "reason": "written as \\u0000 \U0001f984"}
    )
    assert kept.status_code == 200
    assert shop.get(f"/v1/orders/{order_id}/events").json()["events"][-1]["reason"] == "written as \\u0000 \U0001f984"


def test_only_json_is_taken(shop: httpx.Client) -> None:
    for media_type in (None, "text/plain", "application/xml", "application/x-www-form-urlencoded"):
        headers = new_key() | ({"content-type": media_type} if media_type else {})
        problem(shop.post("/v1/orders", content=b"{}", headers=headers), 415, "unsupported_media_type")


def test_json_may_name_its_charset(shop: httpx.Client) -> None:
    headers = new_key() | {"content-type": "Application/JSON; charset=utf-8"}
    assert shop.post("/v1/orders", content=json.dumps(new_order()), headers=headers).status_code == 201


@pytest.mark.parametrize("chunked", [False, True])
def test_a_body_has_a_limit(shop: httpx.Client, chunked: bool) -> None:
    content = b" " * (3 << 20)
    body = iter([content[:65536]] * 48) if chunked else content
    problem(shop.post("/v1/orders", content=body, headers=new_key() | JSON), 413, "body_too_large")


def test_there_is_nothing_at_an_unknown_address(shop: httpx.Client) -> None:
    for path in ("/", "/v1", "/v1/orders/", "/v2/orders", "/v1/orders/x/y", "/v1/%00", "/v1/ö"):
        problem(shop.get(path), 404, "no_such_path")


def test_a_wrong_method_is_told_the_right_ones(shop: httpx.Client) -> None:
    for method, path, allowed in (
        ("DELETE", "/v1/orders", {"GET", "POST"}),
        ("PATCH", "/v1/orders/x", {"GET"}),
        ("GET", "/v1/quotes", {"POST"}),
        ("PUT", "/v1/models", {"POST"}),
        ("GET", "/v1/orders/x/transitions", {"POST"}),
        ("POST", "/healthz", {"GET"}),
        ("POST", "/openapi.json", {"GET", "HEAD"}),
    ):
        answer = shop.request(method, path)
        problem(answer, 405, "method_not_allowed")
        assert set(answer.headers["allow"].split(", ")) == allowed


def test_our_own_faults_tell_nothing_of_the_inside(shop: httpx.Client, api: Api) -> None:
    api.change("alter table ops.order_events rename to elsewhere")
    answer = shop.post("/v1/orders", json=new_order(), headers=new_key())
    problem(answer, 500, "internal_error")
    for inside in ("elsewhere", "order_events", "psycopg", "Traceback", "select", "insert"):
        assert inside not in answer.text


def test_a_database_that_is_away_is_a_matter_of_time(database_url: str, tmp_path: Path) -> None:
    away = "postgresql://mes@127.0.0.1:1/mes?connect_timeout=1"
    with serving(settings_on(away, tmp_path)) as url, httpx.Client(base_url=url, trust_env=False) as client:
        key = "mes_0000000000000000_" + "0" * 64
        answer = client.get("/v1/orders", headers={"authorization": f"Bearer {key}"})
        problem(answer, 503, "database_unavailable")
        assert int(answer.headers["retry-after"]) > 0
        assert client.get("/healthz").status_code == 200
        ready = client.get("/readyz")
        assert (ready.status_code, ready.json()["ok"]) == (503, False)


def test_a_statement_that_waits_too_long_is_given_up(
    database_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(app._LIMITS, "lock_timeout", "200ms")
    settings = settings_on(database_url, tmp_path)
    with serving(settings) as url, on_database(database_url) as engine:
        api = Api(url, engine, settings, [])
        shop = with_model(api.client(api.key("web shop", Scope.SHOP)))
        headers = new_key()
        with engine.begin() as conn:
            conn.exec_driver_sql("lock table ops.orders in exclusive mode")
            problem(shop.post("/v1/orders", json=new_order(), headers=headers), 503, "database_unavailable")
        assert shop.post("/v1/orders", json=new_order(), headers=headers).status_code == 201
        shop.close()


def test_a_caller_who_goes_away_harms_nobody(shop: httpx.Client) -> None:
    address = urlsplit(str(shop.base_url))
    with socket.create_connection((address.hostname, address.port)) as connection:
        key = shop.headers["authorization"]
        connection.sendall(
            f"POST /v1/orders HTTP/1.1\r\nHost: x\r\nAuthorization: {key}\r\nIdempotency-Key: gone\r\n"
            f"Content-Type: application/json\r\nContent-Length: 1000\r\n\r\n{{".encode()
        )
    assert shop.post("/v1/orders", json=new_order(), headers={"idempotency-key": "gone"}).status_code == 201


def test_a_connection_that_breaks_under_an_order_leaves_none_of_it(shop: httpx.Client, api: Api) -> None:
    headers = new_key()
    answers: list[httpx.Response] = []
    with api.engine.begin() as conn:
        conn.exec_driver_sql("lock table ops.orders in exclusive mode")
        waiting = threading.Thread(
            target=lambda: answers.append(shop.post("/v1/orders", json=new_order(), headers=headers))
        )
        waiting.start()
        ended = """
            select count(*) from (
                select pg_terminate_backend(pid) from pg_stat_activity
                where wait_event_type = 'Lock' and datname = current_database()
            ) as ended
        """
        wait_for(lambda: api.number(ended) > 0)
        waiting.join()
    problem(answers[0], 503, "database_unavailable")
    assert api.number("select count(*) from ops.orders") == 0
    assert shop.post("/v1/orders", json=new_order(), headers=headers).status_code == 201


def test_connections_that_were_closed_meanwhile_are_opened_anew(shop: httpx.Client, api: Api) -> None:
    api.change("""
        select pg_terminate_backend(pid, 5000) from pg_stat_activity
        where application_name = 'mes-api' and datname = current_database()
    """)
    assert shop.get("/v1/orders").status_code == 200
