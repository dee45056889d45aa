"""Lets one process at a time do a piece of work on a database, from whichever machine; a lock ends with its process."""

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import psycopg

from mes.runtime import location

MAIN_JOB = 1
READ_MODELS = 2

_SPACE = 7_203_395  # arbitrary and ours: locks of two numbers never meet those of one, which transactions take
_POLL_S = 0.2  # asking again, since a statement that waits would hold a snapshot and keep vacuum from its work


@contextmanager
def held(url: str, key: int, on_wait: Callable[[], None] = lambda: None) -> Iterator[None]:
    """Hold the database's lock of this number for the time of the block; waits, however long, until it is free.

    An advisory lock of the connection's session: the server lets go of it when this process ends, however it ends.

    Args:
        url: the database, as a libpq or SQLAlchemy URL.
        key: `MAIN_JOB` or `READ_MODELS`.
        on_wait: called once if the lock is not free at once.

    Raises:
        DatabaseUnreachable: the database cannot be connected to.
    """
    with location.connect(url) as conn:
        if not _taken(conn, key):
            on_wait()
            while not _taken(conn, key):
                time.sleep(_POLL_S)
        yield


def _taken(conn: psycopg.Connection, key: int) -> bool:
    return conn.execute("select pg_try_advisory_lock(%s, %s)", [_SPACE, key]).fetchone() == (True,)
