"""Answers a repeated request as the first time, so that a caller who got no answer may simply ask again."""

import hashlib
import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import ClassVar

from sqlalchemy import Connection, text

from mes.callers.keys import Authenticated, Keyed
from mes.clock import Clock, utc_now
from mes.db import direct
from mes.errors import MesError

KEPT = timedelta(days=7)
LONGEST_KEY = 255

_VISIBLE = re.compile(rf"[\x20-\x7e]{{1,{LONGEST_KEY}}}")


class KeyMissing(MesError):
    """Send an `Idempotency-Key`: any text that is new for each new request, and the same when you try again."""

    code: ClassVar[str] = "idempotency_key_missing"
    http_status: ClassVar[int] = 400


class KeyInvalid(MesError):
    """An `Idempotency-Key` is 1 to 255 visible ASCII characters; a UUID does well."""

    code: ClassVar[str] = "idempotency_key_invalid"
    http_status: ClassVar[int] = 400


class KeyInUse(MesError):
    """The first request with this `Idempotency-Key` is still being worked on: ask again in a second."""

    code: ClassVar[str] = "idempotency_key_in_use"
    http_status: ClassVar[int] = 409


class KeyReused(MesError):
    """This `Idempotency-Key` came with another body before: use a new key for a new request."""

    code: ClassVar[str] = "idempotency_key_reused"
    http_status: ClassVar[int] = 422


@dataclass(frozen=True)
class KeyedRequest:
    """A request that must have one effect; its key belongs to caller, method and path."""

    caller: str
    method: str
    path: str
    key: str
    body: bytes

    @property
    def body_hash(self) -> str:
        """SHA-256 of the body's bytes."""
        return hashlib.sha256(self.body).hexdigest()


@dataclass(frozen=True)
class Answer:
    """What was answered: status, the headers that belong to it, and the body, byte for byte."""

    status: int
    headers: Mapping[str, str]
    body: str


# what was answered comes as one text: a list for each column takes the driver five times as long
_STORE = text("""
    insert into ops.idempotency_keys
        (caller, method, path, idempotency_key, body_hash, status, headers, body, created_at)
    select caller, method, path, idempotency_key, body_hash, status, headers, body, :now
    from jsonb_to_recordset(cast(:answered as jsonb)) as answered(
        caller text, method text, path text, idempotency_key text, body_hash text, status integer, headers jsonb,
        body text
    )
    on conflict (caller, method, path, idempotency_key) do update set
        body_hash = excluded.body_hash, status = excluded.status, headers = excluded.headers,
        body = excluded.body, created_at = excluded.created_at
""")


def check_key(given: Sequence[str]) -> str:
    """The key of a request, from all that came as one.

    Raises:
        KeyMissing: there is none.
        KeyInvalid: there are several, or it is too long, or has characters that headers should not have.
    """
    if len(given) > 1:
        raise KeyInvalid("Send one `Idempotency-Key`, not several.")
    if not given or not given[0]:
        raise KeyMissing
    if not _VISIBLE.fullmatch(given[0]):
        raise KeyInvalid
    return given[0]


def keyed(method: str, path: str, key: str, *, clock: Clock = utc_now) -> Keyed:
    """What `keys.authenticate` locks for a request, and finds the answer to."""
    return Keyed(method, path, key, clock() - KEPT)


def kept(known: Authenticated, request: KeyedRequest) -> Answer | None:
    """The answer that is stored under the request's key; None when there is none.

    Raises:
        KeyInUse: another with this key is being worked on.
        KeyReused: the answer belongs to another body.
    """
    if not known.locked:
        raise KeyInUse
    if known.kept is None:
        return None
    if known.kept.body_hash != request.body_hash:
        raise KeyReused
    return Answer(known.kept.status, known.kept.headers, known.kept.body)


def store(conn: Connection, request: KeyedRequest, answer: Answer, *, clock: Clock = utc_now) -> None:
    """Keep the answer, in the transaction of what it tells; one that is older than `KEPT` is replaced."""
    store_many(conn, [(request, answer)], clock=clock)


def store_many(conn: Connection, answered: Sequence[tuple[KeyedRequest, Answer]], *, clock: Clock = utc_now) -> None:
    """Keep the answers to requests of which each has another key, as `store` does."""
    rows = [
        {
            "caller": request.caller,
            "method": request.method,
            "path": request.path,
            "idempotency_key": request.key,
            "body_hash": request.body_hash,
            "status": answer.status,
            "headers": dict(answer.headers),
            "body": answer.body,
        }
        for request, answer in answered
    ]
    direct.execute(conn, _STORE, {"answered": json.dumps(rows), "now": clock()})


def purge(conn: Connection, *, clock: Clock = utc_now, limit: int = 10_000) -> int:
    """Delete answers that are older than `KEPT`, at most `limit` of them; gives how many."""
    gone = conn.execute(
        text("""
            delete from ops.idempotency_keys where ctid = any(array(
                select ctid from ops.idempotency_keys where created_at <= :before
                order by created_at limit :limit for update skip locked
            ))
        """),
        {"before": clock() - KEPT, "limit": limit},
    )
    return gone.rowcount
