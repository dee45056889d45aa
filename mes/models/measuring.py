"""Lets only one at a time measure a model, whichever thread, process or machine it works in."""

import hashlib
from collections.abc import Collection

from sqlalchemy import Connection, text

from mes.db import query

_LOCK_BYTES = 8
# the server holds some 6,400 locks at a time for all of its connections together
_TURNS_MOST = 1_000

_AWAIT = text("""
    select pg_advisory_xact_lock(key) from (
        select unnest(cast(:keys as bigint[])) as key order by key offset 0
    ) as wanted
""")


def take_turn(conn: Connection, model_id: str) -> bool:
    """Try to be the one who measures this model; gives whether we are.

    It is ours until `end_turn`, or until the connection ends: a killed process leaves no lock behind. Needs a
    connection that no pool between us and the server shares out by transactions.
    """
    return query.flag(conn, "select pg_try_advisory_lock(:key)", key=_key(model_id))


def end_turn(conn: Connection, model_id: str) -> None:
    """Let others have their turn; they find the model measured."""
    query.flag(conn, "select pg_advisory_unlock(:key)", key=_key(model_id))


def await_turns(conn: Connection, model_ids: Collection[str]) -> None:
    """Wait until we are the one who measures each of these models, until the transaction ends.

    Keys are taken in one order, so two who wait for each other's cannot be. Of a very large load, none is waited for:
    then a model may be measured twice, which costs time and does no harm.
    """
    if 0 < len(model_ids) <= _TURNS_MOST:
        conn.execute(_AWAIT, {"keys": sorted({_key(model_id) for model_id in model_ids})})


def _key(model_id: str) -> int:
    """The number of its advisory lock, 64 bits."""
    return int.from_bytes(hashlib.sha256(f"measure {model_id}".encode()).digest()[:_LOCK_BYTES], signed=True)
