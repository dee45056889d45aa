"""Machines that ask how the API is get an answer without a key, whatever state it is in."""

import httpx

from tests.api_server import Api, place


def test_the_api_lives_and_is_ready(api: Api) -> None:
    client = api.client(None)
    for path in ("/healthz", "/readyz"):
        answer = client.get(path)
        assert (answer.status_code, answer.json()["ok"]) == (200, True), answer.text


def test_it_is_not_ready_without_its_object_store(api: Api, shop: httpx.Client) -> None:
    folder = api.settings.home / "objects"
    folder.rename(api.settings.home / "elsewhere")
    answer = api.client(None).get("/readyz")
    assert (answer.status_code, answer.json()["ok"]) == (503, False)


def test_it_counts_its_requests_by_route(api: Api, shop: httpx.Client) -> None:
    order_id = place(shop)["order_id"]
    shop.get(f"/v1/orders/{order_id}")
    said = api.client(None).get("/metrics").text
    assert 'route="/v1/orders/{order_id}"' in said
    assert str(order_id) not in said


def test_a_request_keeps_the_id_that_it_came_with(shop: httpx.Client) -> None:
    answer = shop.get("/v1/orders/none", headers={"x-request-id": "trace-me.1"})
    assert answer.headers["x-request-id"] == answer.json()["instance"] == "trace-me.1"
