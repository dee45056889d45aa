"""A price is the sum of its lines, frozen, and what takes longer is asked for again."""

from decimal import Decimal
from uuid import UUID

import httpx

from ingest.api import examples
from mes.pricing.costs.cost_model import CannotPrice
from mes.pricing.geometry import KERNEL_VERSION
from mes.pricing.quotes import caller_quotes
from tests.api_server import Api, new_key, place, problem


def ask(client: httpx.Client, **changes: object) -> httpx.Response:
    """A price for the documentation's model."""
    return client.post("/v1/quotes", json=examples.QUOTE_REQUEST | changes, headers=new_key())


def test_a_price_is_the_sum_of_its_lines(shop: httpx.Client) -> None:
    answer = ask(shop)
    quote = answer.json()
    assert answer.status_code == 200, answer.text
    assert answer.headers["location"] == f"/v1/quotes/{quote['quote_id']}"
    assert sum(Decimal(line["amount"]) for line in quote["breakdown"]) == Decimal(quote["price"]["amount"])
    assert quote["price"]["currency"] == "USD"
    assert {"code", "label", "driver", "quantity", "unit", "rate", "amount"} == quote["breakdown"][0].keys()
    assert quote | examples.QUOTE_REQUEST == quote
    assert (quote["findings"], quote["superseded_by"], quote["kernel_version"]) == ([], None, KERNEL_VERSION)


def test_a_price_stays_as_it_was(shop: httpx.Client, admin: httpx.Client, api: Api) -> None:
    quote = ask(shop).json()
    api.change("update ops.rate_cards set valid_to = valid_from + interval '1 second'")
    assert shop.get(f"/v1/quotes/{quote['quote_id']}").json() == quote
    assert admin.get(f"/v1/quotes/{quote['quote_id']}").json() == quote


def test_a_price_says_what_would_make_it_cheaper(shop: httpx.Client) -> None:
    quote = ask(shop, quantity=1).json()
    assert {"simpler_finish", "quantity_break"} <= {lever["code"] for lever in quote["levers"]}
    for lever in quote["levers"]:
        assert lever.keys() == {"code", "label", "mass_change_g", "price_change"}
        assert lever["mass_change_g"] <= 0
        assert Decimal(lever["price_change"]["amount"]) < 0
    assert shop.get(f"/v1/quotes/{quote['quote_id']}").json() == quote


def test_a_piece_too_small_to_be_cast_is_priced_with_its_findings(shop: httpx.Client) -> None:
    quote = ask(shop, longest_side_mm=3.0, stones=[]).json()
    thin = next(finding for finding in quote["findings"] if finding["kind"] == "thin_walls")
    assert thin["severity"] == "error"
    assert (thin["measure"]["unit"], thin["measure"]["limit"]) == ("mm", 0.8)
    assert thin["measure"]["value"] < 0.8
    assert all(0 <= axis <= 20 for place in thin["coordinates"] for axis in place)
    assert thin["coordinates"]
    assert shop.get(f"/v1/quotes/{quote['quote_id']}").json()["findings"] == quote["findings"]


def test_what_was_ordered_without_a_quote_may_look_at_none_of_it(shop: httpx.Client) -> None:
    assert place(shop)["items"][0]["quote_id"] is None  # type: ignore[index]


def test_a_price_of_what_cannot_be_made_is_refused(shop: httpx.Client) -> None:
    said = problem(ask(shop, material="brass", quantity=0), 422, "invalid_request")
    assert [fault["pointer"] for fault in said["errors"]] == ["/material", "/quantity"]  # type: ignore[attr-defined]
    problem(ask(shop, model_id="0" * 64), 404, "no_such_model")


def test_a_price_that_takes_longer_is_asked_for_again(shop: httpx.Client, stranger: httpx.Client, api: Api) -> None:
    api.change("update ops.geometries set kernel_version = 0")  # as after an update of the kernel
    answer = ask(shop)
    assert (answer.status_code, answer.json()["status"]) == (202, "pending")
    assert int(answer.headers["retry-after"]) >= 1
    location = answer.headers["location"]
    pending = shop.get(location)
    assert (pending.status_code, pending.json(), pending.headers["location"]) == (202, answer.json(), location)
    problem(stranger.get(location), 404, "no_such_quote")
    api.change("update ops.geometries set kernel_version = 1")
    with api.engine.begin() as conn:
        caller_quotes.complete(conn, UUID(answer.json()["quote_id"]))
    priced = shop.get(location)
    assert (priced.status_code, priced.json()["quote_id"]) == (200, answer.json()["quote_id"])
    assert "location" not in priced.headers


def test_a_price_that_never_came_says_why(shop: httpx.Client, api: Api) -> None:
    api.change("update ops.geometries set kernel_version = 0")
    answer = ask(shop)
    with api.engine.begin() as conn:
        caller_quotes.fail(conn, UUID(answer.json()["quote_id"]), CannotPrice("It is too flat."))
    said = problem(shop.get(answer.headers["location"]), 422, "quote_failed")
    assert (said["cause"], said["detail"]) == ("cannot_price", "It is too flat.")


def test_a_quote_is_replaced_by_one_of_newer_rates(shop: httpx.Client, partner: httpx.Client, api: Api) -> None:
    first, again, others = ask(shop).json(), ask(shop).json(), ask(partner).json()
    api.change(
        "insert into ops.rate_cards select 'newer', name, valid_from + interval '1 second', null, card "
        "from ops.rate_cards order by valid_from desc limit 1"
    )
    newer = ask(shop).json()
    for old in (first, again):
        assert shop.get(f"/v1/quotes/{old['quote_id']}").json() == old | {"superseded_by": newer["quote_id"]}
    for current, client in ((newer, shop), (others, partner)):
        assert client.get(f"/v1/quotes/{current['quote_id']}").json()["superseded_by"] is None


def test_the_price_of_an_order_can_be_looked_at_by_whoever_placed_it(
    shop: httpx.Client, stranger: httpx.Client, api: Api
) -> None:
    order = place(shop)
    asked = ask(shop).json()
    api.change("update ops.quotes set order_id = :order_id, line = 1, caller = null", order_id=order["order_id"])
    seen = shop.get(f"/v1/quotes/{asked['quote_id']}")
    assert seen.json() == asked
    problem(stranger.get(f"/v1/quotes/{asked['quote_id']}"), 404, "no_such_quote")


def test_a_price_larger_than_any_is_refused(shop: httpx.Client) -> None:
    problem(ask(shop, material="platinum950", quantity=10_000, longest_side_mm=1000.0, stones=[]), 422, "cannot_price")


def test_an_order_with_a_quote_that_has_no_price_yet_waits_for_it(shop: httpx.Client, api: Api) -> None:
    api.change("update ops.geometries set kernel_version = 0")
    pending = ask(shop).json()
    item = examples.NEW_ORDER["items"][0] | {"quote_id": pending["quote_id"]}
    headers = new_key()
    body = examples.NEW_ORDER | {"items": [item]}
    problem(shop.post("/v1/orders", json=body, headers=headers), 409, "quote_pending")
    api.change("update ops.geometries set kernel_version = 1")
    with api.engine.begin() as conn:
        caller_quotes.complete(conn, UUID(pending["quote_id"]))
    assert shop.post("/v1/orders", json=body, headers=headers).status_code == 201
