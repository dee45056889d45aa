"""Models are kept by content, whole or not at all, and a feed's path never leads out of its folder."""

import hashlib
import threading

import pytest

from mes.models.paths import MissingModel, OutsideModelRoot, resolve_model
from mes.models.store import BadObjectName, DamagedObject, NoSuchObject, ObjectStore, StoreUnavailable, UnusableStore

CONTENT = b"solid ring" * 1000
SHA256 = hashlib.sha256(CONTENT).hexdigest()


@pytest.fixture
def store(tmp_path):
    return ObjectStore(str(tmp_path / "deep" / "objects"))


@pytest.fixture
def model(tmp_path):
    path = tmp_path / "ring.stl"
    path.write_bytes(CONTENT)
    return path


def test_a_model_is_stored_once_under_its_hash(store, model):
    first, second = store.put_model(model), store.put_model(model)
    assert (first.sha256, first.bytes, first.new) == (SHA256, len(CONTENT), True)
    assert (second.sha256, second.new) == (SHA256, False)
    assert list(store.list("models")) == [f"models/{SHA256[:2]}/{SHA256}"]


def test_a_model_comes_back_whole(store, model, tmp_path):
    store.put_model(model)
    store.fetch_model(SHA256, tmp_path / "back.stl")
    assert (tmp_path / "back.stl").read_bytes() == CONTENT


def test_a_large_model_is_stored_in_parts_and_comes_back_whole(store, tmp_path):
    path = tmp_path / "large.stl"
    path.write_bytes(bytes(range(256)) * 100_000)
    stored = store.put_model(path)
    store.fetch_model(stored.sha256, tmp_path / "back")
    assert (tmp_path / "back").read_bytes() == path.read_bytes()


def test_what_was_cut_short_is_stored_again(store, model, tmp_path):
    store.put_model(model)
    key = next(store.list("models"))
    (tmp_path / "deep" / "objects" / key).write_bytes(CONTENT[:10])
    assert store.put_model(model).new
    assert store.get(key) == CONTENT


def test_a_damaged_model_is_not_handed_out(store, model, tmp_path):
    store.put_model(model)
    store.put(next(store.list("models")), b"x" * len(CONTENT))
    with pytest.raises(DamagedObject):
        store.fetch_model(SHA256, tmp_path / "back")
    assert {path.name for path in tmp_path.iterdir()} == {"deep", "ring.stl"}


def test_a_missing_model_leaves_no_file(store, tmp_path):
    with pytest.raises(NoSuchObject):
        store.fetch_model(SHA256, tmp_path / "back")
    assert {path.name for path in tmp_path.iterdir()} == {"deep"}


def test_pictures_are_kept_beside_models(store):
    assert store.picture(SHA256) is None
    store.put_picture(SHA256, b"png")
    assert store.picture(SHA256) == b"png"


def test_any_object_can_be_kept_replaced_and_listed(store):
    store.put("raw/shop/2016-09.parquet", b"one")
    store.put("raw/shop/2016-09.parquet", b"two")
    store.put("raw/crm/a", b"")
    assert store.get("raw/shop/2016-09.parquet") == b"two"
    assert store.get("raw/crm/a") == b""
    assert store.exists("raw/crm/a")
    assert not store.exists("raw/crm/b")
    assert set(store.list("raw")) == {"raw/shop/2016-09.parquet", "raw/crm/a"}
    assert set(store.list("raw/shop")) == {"raw/shop/2016-09.parquet"}
    assert set(store.list("nothing")) == set()
    with pytest.raises(NoSuchObject):
        store.get("raw/crm/b")


def test_readers_never_see_half_an_object(store):
    a, b = b"a" * 3_000_000, b"b" * 3_000_000
    store.put("contested", a)
    seen, done = set(), threading.Event()

    def write():
        for content in [b, a] * 10:
            store.put("contested", content)
        done.set()

    writer = threading.Thread(target=write)
    writer.start()
    while not done.is_set():
        seen.add(store.get("contested"))
    writer.join()
    assert seen <= {a, b}
    assert list(store.list()) == ["contested"]


@pytest.mark.parametrize("key", ["", "/a", "a//b", "a/", "../a", "a/../b", "a\\b", "a\nb", "a\0b", "a#1", "x" * 300])
def test_odd_names_are_refused(store, key):
    for call in (store.get, store.exists, lambda name: store.put(name, b"")):
        with pytest.raises(BadObjectName):
            call(key)


@pytest.mark.parametrize("name", ["", "../" * 22, "0" * 63, "A" * 64, "0" * 64 + "\n"])
def test_a_model_is_named_by_its_hash_only(store, tmp_path, name):
    with pytest.raises(BadObjectName):
        store.fetch_model(name, tmp_path / "x")
    with pytest.raises(BadObjectName):
        store.picture(name)


@pytest.mark.parametrize("location", ["ftp://host/x", "https://bucket/x"])
def test_a_store_is_a_folder_or_s3(location):
    with pytest.raises(UnusableStore):
        ObjectStore(location)


def test_a_store_that_cannot_be_reached_says_so(monkeypatch, model):
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:9")
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "any")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "any")
    monkeypatch.setenv("AWS_REGION", "us-east-1")
    unreachable = ObjectStore("s3://bucket/prefix")
    with pytest.raises(StoreUnavailable):
        unreachable.get("a")


def test_a_file_is_no_store(model):
    with pytest.raises(UnusableStore):
        ObjectStore(str(model))


def test_a_feeds_model_is_found_below_its_root(tmp_path):
    (tmp_path / "jewelry").mkdir()
    ring = tmp_path / "jewelry" / "ring (1).stl"
    ring.touch()
    (tmp_path / "alias.stl").symlink_to(ring)
    assert resolve_model(tmp_path, "jewelry/ring (1).stl") == ring.resolve()
    assert resolve_model(tmp_path, "./jewelry//ring (1).stl") == ring.resolve()
    assert resolve_model(tmp_path, "alias.stl") == ring.resolve()


@pytest.mark.parametrize(
    "path",
    [
        "/etc/passwd",
        "../x.stl",
        "a/../../x.stl",
        "a/..",
        "",
        ".",
        "..\\x.stl",
        "a\\b.stl",
        "C:/x.stl",
        "a\0.stl",
        "a\n.stl",
    ],
)
def test_a_path_out_of_the_root_is_refused(tmp_path, path):
    (tmp_path.parent / "x.stl").touch()
    with pytest.raises(OutsideModelRoot):
        resolve_model(tmp_path, path)


def test_a_link_out_of_the_root_is_refused(tmp_path):
    root = tmp_path / "root"
    root.mkdir()
    (tmp_path / "secret.stl").touch()
    (root / "link.stl").symlink_to(tmp_path / "secret.stl")
    (root / "folder").symlink_to(tmp_path)
    for path in ("link.stl", "folder/secret.stl"):
        with pytest.raises(OutsideModelRoot):
            resolve_model(root, path)


def test_a_missing_model_is_named(tmp_path):
    (tmp_path / "folder").mkdir()
    (tmp_path / "circle").symlink_to("circle")
    for path in ("ring.stl", "folder", "circle", "x" * 5000, "folder/ring.stl/x"):
        with pytest.raises(MissingModel):
            resolve_model(tmp_path, path)
