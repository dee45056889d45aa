"""A model is stored and measured once, and belongs to each caller who has sent its bytes."""

import hashlib
import socket
import time
import zipfile
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from io import BytesIO
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import httpx
import pytest

from ingest.api import examples, uploads
from mes.callers.model import Scope
from tests.api_server import Api, on_database, problem, serving, settings_on, wait_for

OPEN_OBJ = examples.OBJ.rpartition("f ")[0].encode()
BYTES = {"content-type": "application/octet-stream"}


def left_over(api: Api) -> list[Path]:
    """Files of uploads that are still there."""
    return list((api.settings.home / "uploads").iterdir())


def assert_like(said: dict[str, Any], example: dict[str, Any]) -> None:
    """What was said, but for the long lists, which the example cuts short."""
    measures, exemplary = said["geometry"], example["geometry"]
    assert measures.keys() == exemplary.keys()
    for name in measures.keys() - {"printing", "walls"}:
        assert measures[name] == pytest.approx(exemplary[name]), name
    assert measures["printing"].keys() == exemplary["printing"].keys()
    assert measures["printing"]["height_mm"] == pytest.approx(exemplary["printing"]["height_mm"])
    assert measures["walls"].keys() == exemplary["walls"].keys()
    assert {**said, "geometry": None} == {**example, "geometry": None}


def test_a_model_is_new_to_each_caller_once(
    shop: httpx.Client, stranger: httpx.Client, crm: httpx.Client, api: Api
) -> None:
    """The fixture sent it for the shop."""
    for client, status in ((shop, 200), (stranger, 201), (stranger, 200), (crm, 201)):
        answer = client.post("/v1/models", content=examples.STL.encode(), headers=BYTES)
        assert (answer.status_code, answer.json()) == (status, examples.UPLOADED)
        assert answer.headers["location"] == f"/v1/models/{examples.MODEL_ID}"
    assert_like(shop.get(answer.headers["location"]).json(), examples.MODEL)
    assert api.number("select count(*) from ops.models") == 1
    assert left_over(api) == []


def test_bytes_that_the_store_lost_come_back_with_whoever_sends_them(shop: httpx.Client, api: Api) -> None:
    for stored in (api.settings.home / "objects/models").rglob(examples.MODEL_ID):
        stored.unlink()
    answer = shop.post("/v1/models", content=examples.STL.encode(), headers=BYTES)
    assert answer.status_code == 200
    assert api.store.exists(f"models/{examples.MODEL_ID[:2]}/{examples.MODEL_ID}")


def test_a_doubtful_model_is_taken_with_its_findings(shop: httpx.Client, api: Api) -> None:
    answer = shop.post("/v1/models", content=OPEN_OBJ, headers={"content-type": "model/stl"})
    assert answer.status_code == 201, answer.text
    said = answer.json()
    assert (said["model_id"], said["format"]) == (hashlib.sha256(OPEN_OBJ).hexdigest(), "obj")
    assert [(found["kind"], found["severity"]) for found in said["findings"]] == [("open_edges", "error")]
    seen = shop.get(answer.headers["location"]).json()
    assert (seen["geometry"]["closed"], seen["geometry"]["triangles"]) == (False, 3)
    assert seen["findings"] == said["findings"]
    target = api.settings.home / "fetched"
    api.store.fetch_model(said["model_id"], target)
    assert target.read_bytes() == OPEN_OBJ
    assert api.store.picture(said["model_id"])


def test_chunks_are_as_good_as_a_length(shop: httpx.Client) -> None:
    def chunks() -> Iterator[bytes]:
        for start in range(0, len(examples.STL), 100):
            yield examples.STL[start : start + 100].encode()

    assert shop.post("/v1/models", content=chunks()).json()["model_id"] == examples.MODEL_ID


def test_what_is_no_model_is_refused(shop: httpx.Client, api: Api) -> None:
    packed = BytesIO()
    with zipfile.ZipFile(packed, "w") as archive:
        archive.writestr("readme.txt", "no model")
    for content, code in (
        (b"", "unreadable_model"),
        (b"just text", "unknown_model_format"),
        (examples.STL[:200].encode(), "unreadable_model"),
        (b"v 0 0 0\nv 1 0 0\nv 0 1 0\n", "not_a_mesh"),
        (packed.getvalue(), "not_a_mesh"),
    ):
        answer = shop.post("/v1/models", content=content, headers=BYTES)
        problem(answer, 422, code)
        assert str(api.settings.home) not in answer.text
    assert api.number("select count(*) from ops.models") == 1
    assert left_over(api) == []


def test_a_form_is_not_a_model(shop: httpx.Client) -> None:
    problem(shop.post("/v1/models", files={"file": b"solid"}), 415, "unsupported_media_type")


def test_a_model_that_takes_too_long_is_refused(database_url: str, tmp_path: Path) -> None:
    settings = settings_on(database_url, tmp_path, model_time_limit_s=0.001)
    with serving(settings) as url, on_database(database_url) as engine:
        api = Api(url, engine, settings, [])
        shop = api.client(api.key("web shop", Scope.SHOP))
        problem(shop.post("/v1/models", content=OPEN_OBJ), 422, "model_too_slow")
        assert shop.get("/v1/models/" + hashlib.sha256(OPEN_OBJ).hexdigest()).status_code == 404
        shop.close()


def test_a_model_has_a_limit(database_url: str, tmp_path: Path) -> None:
    settings = settings_on(database_url, tmp_path, model_max_bytes=100_000)
    with serving(settings) as url, on_database(database_url) as engine:
        api = Api(url, engine, settings, [])
        shop = api.client(api.key("web shop", Scope.SHOP))
        said = problem(shop.post("/v1/models", content=b"x" * 100_001), 413, "model_too_large")
        assert said["most"] == 100_000
        problem(shop.post("/v1/models", content=iter([b"x" * 10_000] * 11)), 413, "model_too_large")
        problem(shop.post("/v1/models", content=b"x" * 100_000), 422, "unknown_model_format")
        assert left_over(api) == []
        shop.close()


def test_too_much_is_refused_before_it_has_all_come(shop: httpx.Client) -> None:
    address = urlsplit(str(shop.base_url))
    with socket.create_connection((address.hostname, address.port), timeout=20) as connection:
        head = f"POST /v1/models HTTP/1.1\r\nHost: x\r\nAuthorization: {shop.headers['authorization']}\r\n"
        connection.sendall(f"{head}Content-Length: 10000000000\r\n\r\nsolid".encode())
        assert connection.recv(100).startswith(b"HTTP/1.1 413")


def test_a_sender_who_goes_away_leaves_nothing_behind(shop: httpx.Client, api: Api) -> None:
    address = urlsplit(str(shop.base_url))
    head = f"POST /v1/models HTTP/1.1\r\nHost: x\r\nAuthorization: {shop.headers['authorization']}\r\n"
    with socket.create_connection((address.hostname, address.port)) as connection:
        connection.sendall(f"{head}Content-Length: 5000000\r\n\r\n".encode() + b"x" * 2_000_000)
        wait_for(lambda: len(left_over(api)) == 1)
    wait_for(lambda: left_over(api) == [])
    assert api.number("select count(*) from ops.models") == 1


def test_the_same_bytes_may_come_several_times_at_once(api: Api) -> None:
    clients = [api.client(api.key(name, Scope.PARTNER)) for name in ("one", "two")]

    def send(number: int) -> httpx.Response:
        return clients[number % 2].post("/v1/models", content=OPEN_OBJ)

    with ThreadPoolExecutor(6) as pool:
        answers = list(pool.map(send, range(6)))
    assert sorted(answer.status_code for answer in answers) == [200, 200, 200, 200, 201, 201]
    assert len({answer.content for answer in answers}) == 1
    assert api.number("select count(*) from ops.model_uploads") == 2


def test_more_than_can_be_measured_is_put_off(shop: httpx.Client, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(uploads, "_WAITING_MAX", 0)
    answer = shop.post("/v1/models", content=OPEN_OBJ)
    assert (answer.status_code, answer.json()["status"]) == (202, "measuring")
    assert int(answer.headers["retry-after"]) > 0
    known = shop.post("/v1/models", content=examples.STL.encode())
    assert known.status_code == 200


@pytest.mark.slow
def test_a_large_model_passes_through_the_disk(shop: httpx.Client) -> None:
    """80 MB of it, faster than it could be measured: it is cut off in the middle of a triangle."""
    head = b"\0" * 80 + (1_600_000).to_bytes(4, "little")
    began = time.monotonic()
    problem(shop.post("/v1/models", content=iter([head, *([b"\0" * 1_000_000] * 80)])), 422, "not_a_mesh")
    assert time.monotonic() - began < 60


def test_what_is_no_hash_belongs_to_no_model(shop: httpx.Client) -> None:
    for model_id in ("x", "%00", examples.MODEL_ID.upper(), "0" * 64):
        problem(shop.get(f"/v1/models/{model_id}"), 404, "no_such_model")
