"""Orders by the thousand: each line taken or refused by itself, answered in order, the same as a call for it alone."""

import json
import threading
from typing import Any

import httpx
import pytest

from tests.api_server import Api, new_key, new_order, place, problem

NDJSON = {"content-type": "application/x-ndjson"}


def send(client: httpx.Client, *orders: object) -> list[dict[str, Any]]:
    body = "".join((order if isinstance(order, str) else json.dumps(order)) + "\n" for order in orders)
    answer = client.post("/v1/orders:batch", content=body.encode(), headers=NDJSON)
    assert answer.status_code == 200, answer.text
    assert answer.headers["content-type"].startswith("application/x-ndjson")
    return [json.loads(line) for line in answer.text.splitlines()]


def test_each_line_has_its_answer_in_order(api: Api, shop: httpx.Client) -> None:
    taken = place(shop, "B-1")
    lines = send(
        shop,
        new_order("B-2"),
        new_order("B-1"),
        new_order("B-1", rush=True),
        "not JSON",
        new_order("B-3", items=[]),
        new_order("B-4"),
        new_order("B-4"),
        new_order("B-4", rush=True),
        new_order("B-5", placed_at="2199-01-01T00:00:00Z"),
        new_order("B-6", items=[{**new_order()["items"][0], "model_id": "0" * 64}]),  # type: ignore[index]
    )
    assert [line["line"] for line in lines] == list(range(1, 11))
    assert [line["status"] for line in lines] == [201, 200, 409, 400, 422, 201, 200, 409, 422, 404]
    codes = [line.get("problem", {}).get("code") for line in lines]
    assert codes[2:5] + codes[7:] == [
        *("external_id_taken", "malformed_json", "invalid_request"),
        *("external_id_taken", "placed_in_future", "no_such_model"),
    ]
    assert lines[1]["order_id"] == taken["order_id"]
    assert lines[5]["order_id"] == lines[6]["order_id"]
    assert api.number("select count(*) from ops.orders") == 3


def test_an_order_of_a_batch_is_the_same_as_one_alone(api: Api, shop: httpx.Client) -> None:
    customer = {"external_id": "C-1", "name": "Ada", "tier": "vip"}
    alone = place(shop, "B-1", customer=customer)
    (line,) = send(shop, new_order("B-2", customer=customer))
    other = shop.get(f"/v1/orders/{line['order_id']}").json()
    differ = {name for name in other if other[name] != alone[name]}
    assert differ <= {"order_id", "external_id", "placed_at", "status_since", "created_at", "updated_at"}
    assert api.number("select count(*) from ops.customers") == 1
    for table in ("ops.order_events", "ops.outbox"):
        assert api.number(f"select count(*) from {table}") == 2
    assert api.number("select sum(jsonb_array_length(args -> 'order_ids')) from procrastinate_jobs") == 2
    again = shop.post("/v1/orders", json=new_order("B-2", customer=customer), headers=new_key())
    assert again.status_code == 200


def test_a_customers_name_and_tier_stay_as_last_said(api: Api, shop: httpx.Client) -> None:
    send(shop, new_order("B-1", customer={"external_id": "C-1", "name": "Ada", "tier": "vip"}))
    send(shop, new_order("B-2", customer={"external_id": "C-1"}))
    assert api.number("select count(*) from ops.customers where name = 'Ada' and tier = 'vip'") == 1
    send(shop, new_order("B-3", customer={"external_id": "C-1", "tier": "retail"}))
    assert api.number("select count(*) from ops.customers where name = 'Ada' and tier = 'retail'") == 1


def test_the_same_batch_sent_by_many_at_once_makes_each_order_once(api: Api, shop: httpx.Client) -> None:
    orders = [new_order(f"B-{number}", customer={"external_id": f"C-{number % 7}"}) for number in range(300)]
    answers: list[list[dict[str, Any]]] = []
    senders = [threading.Thread(target=lambda: answers.append(send(shop, *orders))) for _ in range(4)]
    for sender in senders:
        sender.start()
    for sender in senders:
        sender.join()
    assert len(answers) == 4
    assert {line["status"] for answer in answers for line in answer} <= {200, 201}
    for number in range(300):
        statuses = sorted(answer[number]["status"] for answer in answers)
        assert statuses == [200, 200, 200, 201]
    assert api.number("select count(*) from ops.orders") == 300
    assert api.number("select count(*) from ops.outbox") == 300


@pytest.mark.parametrize(
    ("content", "headers", "status", "code"),
    [
        (b"{}", {"content-type": "application/json"}, 415, "unsupported_media_type"),
        (b"{}\n" * 10_001, NDJSON, 413, "too_many_lines"),
        (b"x" * (64 * 1024 * 1024 + 1), NDJSON, 413, "body_too_large"),
    ],
)
def test_a_batch_that_is_none_is_refused_whole(
    shop: httpx.Client, content: bytes, headers: dict[str, str], status: int, code: str
) -> None:
    problem(shop.post("/v1/orders:batch", content=content, headers=headers), status, code)


def test_an_empty_batch_has_an_empty_answer(shop: httpx.Client) -> None:
    assert send(shop) == []


def test_a_batch_needs_a_key(api: Api) -> None:
    answer = api.client(None).post("/v1/orders:batch", content=b"{}\n", headers=NDJSON)
    problem(answer, 401, "not_authenticated")
