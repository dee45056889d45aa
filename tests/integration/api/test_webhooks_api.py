"""Webhooks as their owner sees them: made once, shown without their secrets, ended at once."""

import httpx
import pytest
from sqlalchemy import text

from ingest.api import examples
from mes.events import outbox
from mes.events.relay import Relay
from mes.events.webhooks.fanout import WebhookFanout
from tests.api_server import Api, new_key, place, problem

URL = "https://shop.example/hooks"


def create(client: httpx.Client, url: str = URL, **changes: object) -> dict[str, str]:
    answer = client.post("/v1/webhooks", json={"url": url} | changes, headers=new_key())
    assert answer.status_code == 201, answer.text
    said: dict[str, str] = answer.json()
    assert answer.headers["location"] == f"/v1/webhooks/{said['webhook_id']}"
    return said


def test_the_secret_is_shown_once(shop: httpx.Client) -> None:
    made = create(shop)
    assert made["secret"].startswith("whsec_")
    shown = shop.get(f"/v1/webhooks/{made['webhook_id']}")
    assert shown.status_code == 200
    assert "secret" not in shown.text
    assert shop.get("/v1/webhooks").json()["webhooks"] == [shown.json()]


def test_one_request_makes_one_webhook(shop: httpx.Client) -> None:
    key = new_key()
    first, again = (shop.post("/v1/webhooks", json={"url": URL}, headers=key) for _ in range(2))
    assert first.json() == again.json()
    assert again.headers["idempotency-replayed"] == "true"
    problem(shop.post("/v1/webhooks", json={"url": URL}), 400, "idempotency_key_missing")


def test_others_webhooks_are_none(shop: httpx.Client, stranger: httpx.Client) -> None:
    made = create(shop)
    path = f"/v1/webhooks/{made['webhook_id']}"
    for answer in (
        stranger.get(path),
        stranger.delete(path),
        stranger.post(f"{path}/secret"),
        stranger.post(f"{path}/enable"),
        stranger.get(f"{path}/deliveries"),
        stranger.post(f"{path}/deliveries/1/redeliver"),
    ):
        problem(answer, 404, "no_such_webhook")
    assert stranger.get("/v1/webhooks").json() == {"webhooks": []}
    assert shop.delete(path).status_code == 204
    problem(shop.get(path), 404, "no_such_webhook")
    problem(shop.get("/v1/webhooks/none"), 404, "no_such_webhook")


@pytest.mark.parametrize("url", ["http://shop.example/", "https://10.0.0.7/", "https://localhost:x/"])
def test_an_address_inside_is_refused(shop: httpx.Client, url: str) -> None:
    said = problem(shop.post("/v1/webhooks", json={"url": url}, headers=new_key()), 422, "bad_webhook_url")
    assert "shop.example" not in str(said["detail"])


def test_there_are_twenty_at_most(shop: httpx.Client) -> None:
    for _ in range(20):
        create(shop)
    problem(shop.post("/v1/webhooks", json={"url": URL}, headers=new_key()), 409, "too_many_webhooks")


def test_deliveries_are_paged_and_sent_again(api: Api, shop: httpx.Client) -> None:
    made = create(shop)
    for number in range(3):
        place(shop, f"S-{number}")
    with api.engine.begin() as conn:
        outbox.number(conn)
    relay = Relay(api.engine, WebhookFanout(api.engine))
    relay.step()
    relay.close()
    path = f"/v1/webhooks/{made['webhook_id']}/deliveries"
    first = shop.get(path, params={"limit": 2}).json()
    assert [len(first["deliveries"]), first["deliveries"][0]["state"]] == [2, "waiting"]
    second = shop.get(path, params={"limit": 2, "cursor": first["next_cursor"]}).json()
    assert len(second["deliveries"]) == 1
    assert second["next_cursor"] is None
    delivery_id = second["deliveries"][0]["delivery_id"]
    api.change("update ops.webhook_deliveries set state = 'failed', attempts = 10, finished_at = now()")
    assert len(shop.get(path, params={"state": "failed"}).json()["deliveries"]) == 3
    again = shop.post(f"{path}/{delivery_id}/redeliver")
    assert (again.status_code, again.json()["state"], again.json()["attempts"]) == (202, "waiting", 0)
    problem(shop.post(f"{path}/999999/redeliver"), 404, "no_such_delivery")
    problem(shop.post(f"{path}/x/redeliver"), 404, "no_such_delivery")
    problem(shop.get(path, params={"cursor": "x"}), 400, "bad_cursor")
    problem(shop.get(path, params={"state": "lost"}), 422, "invalid_request")


def test_no_secret_comes_into_the_log(api: Api, shop: httpx.Client, capsys: pytest.CaptureFixture[str]) -> None:
    made = create(shop, examples.NEW_WEBHOOK["url"])
    shop.post(f"/v1/webhooks/{made['webhook_id']}/secret")
    with api.engine.begin() as conn:
        kept = conn.execute(text("select secrets::text from ops.webhook_endpoints")).scalar_one()
    assert made["secret"] in kept
    assert "whsec_" not in "".join(capsys.readouterr())
