"""Gives commands a database that is there and migrated."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from sqlalchemy import Engine

    from mes.runtime.location import Database


@contextmanager
def migrated() -> "Iterator[Database]":
    """The configured database, or the embedded one for the time of the block, at the newest revision."""
    from mes import config  # noqa: PLC0415
    from mes.db import migrate  # noqa: PLC0415
    from mes.runtime import embedded  # noqa: PLC0415

    with embedded.database(config.load()) as database:
        migrate.upgrade(database.url)
        yield database


@contextmanager
def connected() -> "Iterator[Engine]":
    """To that database, which may be running, for the time of the block."""
    from mes.db import engine  # noqa: PLC0415

    with migrated() as database:
        connections = engine.connect(database.url)
        try:
            yield connections
        finally:
            connections.dispose()
