"""A model that takes longer to measure than a request may is measured by a worker, and its sender can follow that."""

import hashlib
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest
from sqlalchemy import text

from ingest.api import examples
from mes.callers.model import Scope
from mes.clock import utc_now
from mes.jobs import queue
from mes.jobs.names import Priority
from mes.models import intake, pending, sandbox
from mes.models.errors import NotAMesh
from tests.api_server import Api, new_key, on_database, problem, serving, settings_on, wait_for
from tests.processes import running_worker
from tests.workshop import LIMITS

BYTES = {"content-type": "application/octet-stream"}
OBJ = examples.OBJ.encode()
OBJ_ID = hashlib.sha256(OBJ).hexdigest()
NO_MODEL = b"just text"
QUOTE = examples.SMALL_QUOTE_REQUEST | {"model_id": OBJ_ID}


@pytest.fixture
def hasty(database_url: str, tmp_path: Path) -> Iterator[Api]:
    """An API whose uploads wait for no measurement at all."""
    settings = settings_on(database_url, tmp_path, upload_patience_s=0)
    with serving(settings) as url, on_database(database_url) as engine:
        running = Api(url, engine, settings, [])
        yield running
        for client in running.clients:
            client.close()


@pytest.fixture
def shop(hasty: Api) -> httpx.Client:
    """The shop, which has sent nothing yet."""
    return hasty.client(hasty.key("web shop", Scope.SHOP))


def upload(client: httpx.Client, content: bytes = OBJ) -> httpx.Response:
    """The model, in the hands of the API."""
    return client.post("/v1/models", content=content, headers=BYTES)


def measure(api: Api) -> None:
    """What a worker does, without its process."""
    file = api.settings.home / "model.obj"
    api.store.fetch_model(OBJ_ID, file)
    with api.engine.begin() as conn:
        intake.record(conn, sandbox.analyse(file, LIMITS), "model.obj")


def test_a_model_that_takes_too_long_waits_for_a_worker(shop: httpx.Client, hasty: Api) -> None:
    answer = upload(shop)
    said = answer.json()
    assert (answer.status_code, answer.headers["location"]) == (202, f"/v1/models/{OBJ_ID}")
    assert int(answer.headers["retry-after"]) >= 1
    assert (said["model_id"], said["status"], said["bytes"]) == (OBJ_ID, "measuring", len(OBJ))
    assert (said["progress"]["state"], said["progress"]["ahead"]) == ("queued", 0)
    seen = shop.get(answer.headers["location"])
    assert (seen.status_code, seen.json(), seen.headers["retry-after"]) == (202, said, answer.headers["retry-after"])
    assert hasty.store.exists(f"models/{OBJ_ID[:2]}/{OBJ_ID}")
    problem(hasty.client(hasty.key("other", Scope.PARTNER)).get(answer.headers["location"]), 404, "no_such_model")


def test_a_known_model_is_answered_at_once_however_hasty(shop: httpx.Client) -> None:
    assert upload(shop, examples.STL.encode()).status_code == 201


def test_the_same_bytes_again_wait_with_the_first(shop: httpx.Client, hasty: Api) -> None:
    first = upload(shop)
    assert upload(shop).json() == first.json()
    other = hasty.client(hasty.key("other", Scope.PARTNER))
    assert upload(other).status_code == 202
    assert hasty.number("select count(*) from procrastinate_jobs") == 2
    measure(hasty)
    for client in (shop, other):
        assert client.get(f"/v1/models/{OBJ_ID}").status_code == 200
        assert upload(client).status_code == 200  # it is theirs already
    assert hasty.number("select count(*) from ops.pending_models") == 0


def test_whoever_waits_is_told_how_many_go_first(shop: httpx.Client, hasty: Api) -> None:
    with hasty.engine.begin() as conn:
        for number in range(3):
            queue.measure_model(conn, f"{number}" * 64)
        queue.measure_model(conn, "9" * 64, Priority.BACKFILL)
    assert upload(shop).json()["progress"]["ahead"] == 3
    quote = shop.post("/v1/quotes", json=QUOTE, headers=new_key()).json()
    assert (quote["progress"]["state"], quote["progress"]["ahead"]) == ("queued", 4)
    with hasty.engine.begin() as conn:
        taken = text("update procrastinate_jobs set status = 'doing' where args ->> 'model_id' = :id")
        conn.execute(taken, {"id": OBJ_ID})
        pending.begin(conn, OBJ_ID, utc_now())
    assert shop.get(f"/v1/models/{OBJ_ID}").json()["progress"]["state"] == "measuring"
    assert shop.get(f"/v1/quotes/{quote['quote_id']}").json()["progress"]["state"] == "measuring"


def test_an_order_of_a_pending_model_is_told_to_wait(shop: httpx.Client, hasty: Api) -> None:
    upload(shop)
    order = examples.SMALL_ORDER | {"items": [examples.SMALL_ORDER["items"][0] | {"model_id": OBJ_ID}]}
    headers = new_key()
    said = problem(shop.post("/v1/orders", json=order, headers=headers), 409, "model_pending")
    assert (said["line"], said["model_id"]) == (1, OBJ_ID)
    measure(hasty)
    assert shop.post("/v1/orders", json=order, headers=headers).status_code == 201


def test_more_than_can_wait_is_put_off(shop: httpx.Client, hasty: Api, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pending, "WAITING_MOST", 0)
    answer = upload(shop)
    problem(answer, 503, "busy")
    assert int(answer.headers["retry-after"]) > 0
    assert hasty.number("select count(*) from ops.pending_models") == 0


def test_a_refusal_is_forgotten_after_a_week(shop: httpx.Client, hasty: Api) -> None:
    upload(shop, NO_MODEL)
    model_id = hashlib.sha256(NO_MODEL).hexdigest()
    with hasty.engine.begin() as conn:
        pending.refuse(conn, model_id, NotAMesh())
        assert pending.purge(conn) == 0
        conn.execute(text("update ops.pending_models set requested_at = requested_at - interval '8 days'"))
        assert pending.purge(conn) == 1


@pytest.mark.slow
def test_a_worker_measures_what_waits_and_prices_it(shop: httpx.Client, hasty: Api) -> None:
    upload(shop)
    pending_quote = shop.post("/v1/quotes", json=QUOTE, headers=new_key())
    assert pending_quote.status_code == 202
    upload(shop, NO_MODEL)
    refused = f"/v1/models/{hashlib.sha256(NO_MODEL).hexdigest()}"
    asked = shop.post("/v1/quotes", json=QUOTE | {"model_id": refused[-64:]}, headers=new_key())
    with running_worker(str(hasty.settings.database_url), hasty.settings.home, "pricing"):
        wait_for(lambda: hasty.number("select count(*) from procrastinate_jobs") == 0)
    assert shop.get(f"/v1/models/{OBJ_ID}").json()["geometry"]["triangles"] == 4
    priced = shop.get(pending_quote.headers["location"])
    assert (priced.status_code, priced.json()["quote_id"]) == (200, pending_quote.json()["quote_id"])
    problem(shop.get(refused), 422, "unknown_model_format")
    at_once = shop.post("/v1/quotes", json=QUOTE | {"model_id": refused[-64:]}, headers=new_key())
    problem(at_once, 422, "unknown_model_format")
    assert problem(shop.get(asked.headers["location"]), 422, "quote_failed")["cause"] == "unknown_model_format"
    again = upload(shop, NO_MODEL)
    assert (again.status_code, hasty.number("select count(*) from procrastinate_jobs")) == (202, 1)
