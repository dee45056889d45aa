"""Orders are placed once, shown to those whose they are, and moved by those who may."""

from datetime import UTC, datetime, timedelta
from uuid import uuid4

import httpx

from ingest.api import examples
from tests.api_server import Api, new_key, new_order, place, problem


def test_an_order_goes_from_model_to_quote_to_order_to_events(shop: httpx.Client) -> None:
    quoted = shop.post("/v1/quotes", json=examples.QUOTE_REQUEST, headers=new_key())
    assert quoted.status_code == 200, quoted.text
    quote = quoted.json()
    item = examples.NEW_ORDER["items"][0] | {"quote_id": quote["quote_id"]}
    answer = shop.post("/v1/orders", json=examples.NEW_ORDER | {"items": [item]}, headers=new_key())
    assert answer.status_code == 201, answer.text
    order = answer.json()
    assert answer.headers["location"] == f"/v1/orders/{order['order_id']}"
    assert (order["source"], order["external_id"], order["version"]) == ("shop", "B-10482", 1)
    assert order["status"] == "SUBMITTED"
    assert order["total"] == quote["price"] == order["items"][0]["price"]
    assert order["items"][0]["stones"] == [examples.STONE]
    assert shop.get(answer.headers["location"]).json() == order
    events = shop.get(f"/v1/orders/{order['order_id']}/events").json()["events"]
    assert [(event["sequence"], event["type"], event["system"]) for event in events] == [(1, "SUBMITTED", "shop")]
    assert events[0]["actor"] == "web shop"


def test_the_same_order_again_is_the_same_order(shop: httpx.Client, api: Api) -> None:
    first = place(shop)
    again = shop.post("/v1/orders", json=new_order(), headers=new_key())
    assert (again.status_code, again.json()) == (200, first)
    assert "idempotency-replayed" not in again.headers
    other = shop.post("/v1/orders", json=new_order(rush=True), headers=new_key())
    said = problem(other, 409, "external_id_taken")
    assert said["order_id"] == first["order_id"]
    assert api.number("select count(*) from ops.orders") == 1


def test_callers_number_their_orders_independently(
    shop: httpx.Client, partner: httpx.Client, crm: httpx.Client
) -> None:
    assert place(shop)["order_id"] != place(partner)["order_id"]
    found = crm.get("/v1/orders", params={"external_id": "B-1"}).json()["orders"]
    assert sorted(order["source"] for order in found) == ["brilliant-rings", "shop"]


def test_an_order_of_an_unknown_model_is_refused_whole(stranger: httpx.Client, api: Api) -> None:
    answer = stranger.post("/v1/orders", json=new_order(), headers=new_key())
    problem(answer, answer.status_code, "no_such_model")
    assert answer.status_code in {404, 422}
    assert api.number("select count(*) from ops.customers") == 0


def test_a_partner_sees_quotes_and_moves_only_what_is_his(
    shop: httpx.Client, stranger: httpx.Client, crm: httpx.Client
) -> None:
    order_id = place(shop)["order_id"]
    quote_id = shop.post("/v1/quotes", json=examples.SMALL_QUOTE_REQUEST, headers=new_key()).json()["quote_id"]
    for path, code in (
        (f"/v1/orders/{order_id}", "no_such_order"),
        (f"/v1/orders/{order_id}/events", "no_such_order"),
        (f"/v1/quotes/{quote_id}", "no_such_quote"),
        (f"/v1/models/{examples.MODEL_ID}", "no_such_model"),
    ):
        foreign = problem(stranger.get(path), 404, code)
        unknown = problem(stranger.get(path.replace(str(order_id), str(uuid4()))), 404, code)
        assert foreign["detail"] == unknown["detail"]
        assert crm.get(path).status_code == (404 if "models" in path else 200)  # a model is whose bytes one has
    move = stranger.post(f"/v1/orders/{order_id}/transitions", json={"to": "CANCELLED"})
    problem(move, 404, "no_such_order")
    assert stranger.get("/v1/orders").json()["orders"] == []
    assert stranger.get("/v1/orders", params={"source": "shop"}).json()["orders"] == []
    assert crm.get("/v1/orders", params={"source": "shop"}).json()["orders"][0]["order_id"] == order_id
    problem(stranger.post("/v1/quotes", json=examples.SMALL_QUOTE_REQUEST, headers=new_key()), 404, "no_such_model")
    item = new_order()["items"][0] | {"quote_id": quote_id}  # type: ignore[index]
    shop_item = shop.post("/v1/orders", json=new_order("B-2", items=[item]), headers=new_key())
    assert shop_item.status_code == 201


def test_anothers_quote_prices_nothing(shop: httpx.Client, partner: httpx.Client) -> None:
    quote_id = shop.post("/v1/quotes", json=examples.SMALL_QUOTE_REQUEST, headers=new_key()).json()["quote_id"]
    item = examples.SMALL_ORDER["items"][0] | {"quote_id": quote_id}
    answer = partner.post("/v1/orders", json=new_order(items=[item]), headers=new_key())
    problem(answer, 422, "unusable_quote")


def test_each_caller_makes_its_own_moves(shop: httpx.Client, crm: httpx.Client, admin: httpx.Client) -> None:
    order_id = place(shop)["order_id"]
    moves = f"/v1/orders/{order_id}/transitions"
    refused = problem(shop.post(moves, json={"to": "PRICE_CALCULATED"}), 409, "illegal_transition")
    assert (refused["current_status"], refused["current_version"]) == ("SUBMITTED", 1)
    problem(admin.post(moves, json={"to": "PRICE_CALCULATED"}), 422, "reason_missing")
    moved = admin.post(moves, json={"to": "PRICE_CALCULATED", "reason": "priced by hand"})
    assert (moved.status_code, moved.json()["status"], moved.json()["version"]) == (200, "PRICE_CALCULATED", 2)
    problem(shop.post(moves, json={"to": "MANUFACTURING_APPROVED"}), 409, "illegal_transition")
    approved = crm.post(moves, json={"to": "MANUFACTURING_APPROVED", "expected_version": 2})
    assert approved.json()["status"] == "MANUFACTURING_APPROVED"
    conflict = problem(
        shop.post(moves, json={"to": "CANCELLED", "expected_version": 2, "reason": "too late"}), 409, "version_conflict"
    )
    assert (conflict["expected_version"], conflict["current_version"]) == (2, 3)
    assert conflict["current_status"] == "MANUFACTURING_APPROVED"
    assert shop.post(moves, json={"to": "CANCELLED", "expected_version": 3}).json()["status"] == "CANCELLED"
    events = crm.get(f"/v1/orders/{order_id}/events").json()["events"]
    assert [(event["sequence"], event["system"]) for event in events] == [
        (1, "shop"),
        (2, "admin"),
        (3, "crm"),
        (4, "shop"),
    ]
    assert events[1]["reason"] == "priced by hand"


def test_a_held_order_can_only_be_cancelled(shop: httpx.Client, crm: httpx.Client, api: Api) -> None:
    order_id = place(shop)["order_id"]
    api.change(
        "update ops.orders set hold_reason = 'open', held_by = 'x', held_since = now(), status = 'PRICE_CALCULATED'"
    )
    assert shop.get(f"/v1/orders/{order_id}").json()["held"] is True
    moves = f"/v1/orders/{order_id}/transitions"
    assert (
        problem(crm.post(moves, json={"to": "MANUFACTURING_APPROVED"}), 409, "illegal_transition")["hold_reason"]
        == "open"
    )
    assert crm.post(moves, json={"to": "CANCELLED"}).json()["held"] is False


def test_what_is_no_id_belongs_to_no_order(shop: httpx.Client) -> None:
    for order_id in ("not-an-id", "%00", "0", "🦄"):
        problem(shop.get(f"/v1/orders/{order_id}"), 404, "no_such_order")


def test_times_are_kept_to_the_second_whatever_their_zone(shop: httpx.Client) -> None:
    placed = datetime.now(UTC).replace(microsecond=0) - timedelta(days=1)
    order = place(shop, placed_at=placed.isoformat(), due_at="2099-01-01T01:00:00+02:00")
    assert order["placed_at"] == placed.isoformat().replace("+00:00", "Z")
    assert order["due_at"] == "2098-12-31T23:00:00Z"
    late = (datetime.now(UTC) + timedelta(hours=1)).isoformat()
    problem(shop.post("/v1/orders", json=new_order("B-2", placed_at=late), headers=new_key()), 422, "placed_in_future")
