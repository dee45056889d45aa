"""Keeps models and their pictures by content, in a folder or in S3; nothing is ever stored in halves."""

import hashlib
import os
import re
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import obstore
from obstore.exceptions import BaseError
from obstore.store import LocalStore, S3Store

from mes.errors import MesError
from mes.objects import client_options

_SHA256 = re.compile(r"[0-9a-f]{64}")
_CHUNK_BYTES = 8 << 20
_LONGEST_SEGMENT = 240  # bytes; file systems take 255, and a file being written has a suffix
_STAGED = re.compile(r"#\d+$")  # how the store names a file that is being written


class NoSuchObject(MesError):
    """The object store holds nothing under this name."""

    code, http_status = "no_such_object", 404


class BadObjectName(MesError):
    """This cannot be the name of a stored object."""

    code, http_status = "bad_object_name", 422


class UnusableStore(MesError):
    """The object store's location must be a folder or s3://bucket/prefix."""

    code = "unusable_store"


class StoreUnavailable(MesError):
    """The object store cannot be reached or refuses us; try again, and check its address, credentials and disk."""

    code, http_status = "store_unavailable", 503


class DamagedObject(MesError):
    """A stored model's bytes are not those that its name promises; restore it from a backup."""

    code = "damaged_object"


@dataclass(frozen=True, slots=True)
class StoredModel:
    """A model in the store; `new` when its bytes were not there before."""

    sha256: str
    bytes: int
    new: bool


class ObjectStore:
    """Objects by key.

    Args:
        location: a folder, created when missing, or `s3://bucket/prefix`; S3 takes credentials, region and endpoint
            from the usual `AWS_*` variables.

    Raises:
        UnusableStore: neither of the two, or the folder cannot be made.
    """

    def __init__(self, location: str) -> None:
        self._folder: Path | None = None
        if location.startswith("s3://"):
            self._store: LocalStore | S3Store = S3Store.from_url(location, client_options=client_options())
            return
        if "://" in location:
            raise UnusableStore(scheme=location.partition("://")[0])
        self._folder = Path(location).expanduser().resolve()
        try:
            self._folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise UnusableStore("The object store's folder cannot be made.", reason=error.strerror) from error
        self._store = LocalStore(self._folder)

    def put_model(self, path: Path) -> StoredModel:
        """Store a model under the SHA-256 of its bytes; the same bytes again change nothing."""
        with path.open("rb") as file:
            sha256 = hashlib.file_digest(file, "sha256").hexdigest()
        size = path.stat().st_size
        key = _model_key(sha256)
        if self._size(key) == size:
            return StoredModel(sha256, size, new=False)
        self._put(key, path)
        return StoredModel(sha256, size, new=True)

    def fetch_model(self, sha256: str, to: Path) -> None:
        """Write a model's bytes to a file, which appears only when whole.

        Raises:
            NoSuchObject: no such model.
            DamagedObject: what is stored is something else.
        """
        digest = hashlib.sha256()
        with tempfile.NamedTemporaryFile(dir=to.parent, delete=False) as part:
            try:
                for chunk in self._model(sha256):
                    digest.update(chunk)
                    part.write(chunk)
                if digest.hexdigest() != sha256:
                    raise DamagedObject(sha256=sha256)
                part.close()
                shutil.move(part.name, to)
            finally:
                Path(part.name).unlink(missing_ok=True)

    def _model(self, sha256: str) -> Iterator[bytes]:
        """A model's bytes; from a folder without the client's threads, which take a tenth of a core from workers."""
        if self._folder is None:
            yield from self._stream(_model_key(sha256))
            return
        with _reached(_model_key(sha256)):
            try:
                file = (self._folder / _model_key(sha256)).open("rb")
            except FileNotFoundError:
                raise NoSuchObject(key=_model_key(sha256)) from None
            with file:
                while chunk := file.read(_CHUNK_BYTES):
                    yield chunk

    def put_picture(self, sha256: str, png: bytes) -> None:
        """Store the picture of a model."""
        self.put(_picture_key(sha256), png)

    def picture(self, sha256: str) -> bytes | None:
        """The picture of a model, None if there is none."""
        try:
            return self.get(_picture_key(sha256))
        except NoSuchObject:
            return None

    def put(self, key: str, content: bytes) -> None:
        """Store bytes under a key, replacing what was there, all at once."""
        self._put(_checked(key), content)

    def get(self, key: str) -> bytes:
        """The bytes under a key.

        Raises:
            NoSuchObject: nothing there.
        """
        return b"".join(self._stream(_checked(key)))

    def exists(self, key: str) -> bool:
        """Whether there is something under a key."""
        return self._size(_checked(key)) is not None

    def list(self, prefix: str = "") -> Iterator[str]:
        """The keys below a prefix (whole path segments), in no promised order."""
        with _reached(prefix):
            for batch in obstore.list(self._store, prefix or None):
                for found in batch:
                    yield found["path"]

    def _put(self, key: str, content: bytes | Path) -> None:
        with _reached(key):
            obstore.put(self._store, key, content)
            self._sync(key)

    def _size(self, key: str) -> int | None:
        with _reached(key):
            try:
                return obstore.head(self._store, key)["size"]
            except FileNotFoundError:
                return None

    def _stream(self, key: str) -> Iterator[bytes]:
        with _reached(key):
            try:
                found = obstore.get(self._store, key)
            except FileNotFoundError:
                raise NoSuchObject(key=key) from None
            for chunk in found.stream(min_chunk_size=_CHUNK_BYTES):
                yield bytes(chunk)

    def _sync(self, key: str) -> None:
        """Force a local object to the disk, so that what we accepted survives a power cut; S3 does so by itself."""
        if self._folder is None:
            return
        for path in (self._folder / key, (self._folder / key).parent):
            handle = os.open(path, os.O_RDONLY)
            try:
                os.fsync(handle)
            finally:
                os.close(handle)


@contextmanager
def _reached(key: str) -> Iterator[None]:
    """Names what goes wrong on the way to the store; its own words may hold addresses and stay in the cause."""
    try:
        yield
    except (BaseError, OSError) as error:
        raise StoreUnavailable(key=key, kind=type(error).__name__) from error


def _model_key(sha256: str) -> str:
    return f"models/{_hash(sha256)[:2]}/{sha256}"


def _picture_key(sha256: str) -> str:
    return f"pictures/{_hash(sha256)[:2]}/{sha256}.png"


def _hash(sha256: str) -> str:
    if not _SHA256.fullmatch(sha256):
        raise BadObjectName("A model's name is the SHA-256 of its bytes, 64 hexadecimal digits.", name=sha256[:100])
    return sha256


def _checked(key: str) -> str:
    """Keys are printable segments between single slashes, short enough for a file, that lead nowhere else."""
    parts = key.split("/")
    climbs = any(part in {"", ".", ".."} or len(part.encode()) > _LONGEST_SEGMENT for part in parts)
    if not key.isprintable() or "\\" in key or climbs or _STAGED.search(key):
        raise BadObjectName(key=key[:100])
    return key
