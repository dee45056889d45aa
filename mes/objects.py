"""Opens places where files lie as objects: a folder, or an object store by URL."""

import os
from pathlib import Path
from typing import TYPE_CHECKING

from obstore.store import LocalStore, from_url

if TYPE_CHECKING:
    from obstore.store import ClientConfig, ObjectStore

_ENDPOINTS = ("AWS_ENDPOINT_URL_S3", "AWS_ENDPOINT_URL", "AWS_ENDPOINT")


def open_place(location: str) -> "ObjectStore":
    """A folder that exists, or `s3://bucket/prefix` (or another scheme that obstore knows).

    S3 takes credentials, region and endpoint from the usual `AWS_*` variables; an endpoint on plain http is used only
    when its URL says so.

    Raises:
        FileNotFoundError: there is no such folder.
        obstore.exceptions.BaseError: the URL cannot be used.
    """
    if "://" in location:
        return from_url(location, client_options=client_options())
    folder = Path(location)
    if not folder.is_dir():
        raise FileNotFoundError("there is no such folder")
    return LocalStore(prefix=folder)


def client_options() -> "ClientConfig":
    """How obstore's HTTP client should be, going by the environment."""
    return {"allow_http": any(os.environ.get(name, "").startswith("http://") for name in _ENDPOINTS)}
