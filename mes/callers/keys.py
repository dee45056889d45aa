"""Makes, lists and revokes API keys, and says whose a key is; of its secret part, only the hash is kept."""

import hashlib
import hmac
import json
import re
import secrets
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Any, ClassVar

from sqlalchemy import Connection, text

from mes.callers.model import Caller, NotAuthenticated, Scope
from mes.clock import Clock, utc_now
from mes.db import direct
from mes.errors import MesError

LAST_USED_EVERY = timedelta(minutes=1)
OVERLAP = timedelta(hours=24)
"""How long a key works on after another was made in its place."""

LONGEST_NAME = 100

_ID_BYTES, _SECRET_BYTES = 8, 32
_KEY = re.compile(rf"mes_([0-9a-f]{{{2 * _ID_BYTES}}})_([0-9a-f]{{{2 * _SECRET_BYTES}}})")
_SOURCE = re.compile(r"[a-z0-9][a-z0-9_-]{0,62}")
_OWN_SOURCES = {Scope.SHOP: "shop", Scope.CRM: "crm", Scope.ADMIN: "admin"}
_RESERVED = frozenset({"shop", "crm", "mes", "admin"})


class BadKeyName(MesError):
    """A key's name is 1 to 100 printable characters."""

    code: ClassVar[str] = "bad_key_name"
    http_status: ClassVar[int] = 422


class BadSource(MesError):
    """This cannot be the source of a key's orders."""

    code: ClassVar[str] = "bad_source"
    http_status: ClassVar[int] = 422


class BadExpiry(MesError):
    """A key must expire in the future, and within a hundred years."""

    code: ClassVar[str] = "bad_expiry"
    http_status: ClassVar[int] = 422


class NoSuchKey(MesError):
    """There is no such key; `mes keys list` shows all."""

    code: ClassVar[str] = "no_such_key"
    http_status: ClassVar[int] = 404


class AmbiguousKeyName(MesError):
    """Several keys that are not revoked have this name: say which by its id."""

    code: ClassVar[str] = "ambiguous_key_name"
    http_status: ClassVar[int] = 409


class KeyState(StrEnum):
    """Whether a key can be used."""

    ACTIVE = "active"
    EXPIRED = "expired"
    REVOKED = "revoked"


@dataclass(frozen=True)
class NewKey:
    """A key that was just made; `key` is shown to people once and kept nowhere."""

    key_id: str
    key: str
    source: str


@dataclass(frozen=True)
class ListedKey:
    """What may be told about a key."""

    key_id: str
    name: str
    scope: Scope
    source: str
    state: KeyState
    created_at: datetime
    expires_at: datetime | None
    last_used_at: datetime | None


@dataclass(frozen=True)
class Keyed:
    """A request that must have one effect, by its `Idempotency-Key`; answers older than `since` count no more."""

    method: str
    path: str
    key: str
    since: datetime

    @property
    def lock(self) -> str:
        """What is locked for a caller, so that of equal requests at once only one is worked on.

        Two keys share its number about never (64 bits), and then one is asked to come again.
        """
        return json.dumps([self.method, self.path, self.key])


@dataclass(frozen=True)
class KeptAnswer:
    """What was answered under a key, to a body with this SHA-256."""

    body_hash: str
    status: int
    headers: Mapping[str, str]
    body: str


@dataclass(frozen=True)
class Authenticated:
    """Whose key it is; `use_is_news` when `last_used_at` has not been written for a minute.

    `locked` tells whether the keyed request is the caller's alone until the transaction ends, `kept` what was answered
    to it before.
    """

    caller: Caller
    key_id: str
    use_is_news: bool
    locked: bool = False
    kept: KeptAnswer | None = None


_FIND = "key_id, secret_hash, name, scope, caller, expires_at, revoked_at, last_used_at"
# locked only for whoever has the secret, or others could keep the key's owner from what he locks; the answer is looked
# for by a function, since that sees what was committed until the lock was had, and this statement only what was before
_AUTHENTICATE = text(f"""
    select known.*, kept.body_hash, kept.status, kept.headers, kept.body
    from (
        select {_FIND}, asked.*, case
            when secret_hash = asked.given and revoked_at is null and coalesce(expires_at > :now, true)
            then pg_try_advisory_xact_lock(hashtextextended(caller || ' ' || asked.lock, 0))
        end as locked
        from jsonb_to_recordset(cast(:asked as jsonb)) as asked(
            nth integer, asked_id text, given text, lock text, method text, path text, idempotency_key text,
            since timestamptz
        )
        inner join ops.api_keys on key_id = asked_id offset 0
    ) as known
    left join lateral ops.kept_answer(
        known.caller, known.method, known.path, known.idempotency_key, known.since
    ) as kept on known.locked
""")


def create(
    conn: Connection,
    name: str,
    scope: Scope,
    *,
    source: str | None = None,
    valid_days: int | None = None,
    clock: Clock = utc_now,
) -> NewKey:
    """Make a key, in the caller's transaction.

    Events name the key as their actor. `source`, which its orders carry, is a partner's own, by default its name; the
    other scopes have theirs. Without `valid_days` it never expires.

    Raises:
        BadKeyName, BadSource, BadExpiry: says what is wrong with it.
    """
    if not (0 < len(name) <= LONGEST_NAME and name.isprintable() and name.strip() == name):
        raise BadKeyName(name=name[:LONGEST_NAME])
    source = _source(name, scope, source)
    now = clock()
    key_id, secret = secrets.token_hex(_ID_BYTES), secrets.token_hex(_SECRET_BYTES)
    conn.execute(
        text("""
            insert into ops.api_keys (key_id, secret_hash, name, scope, caller, created_at, expires_at)
            values (:key_id, :secret_hash, :name, :scope, :source, :now, :expires_at)
        """),
        {
            "key_id": key_id,
            "secret_hash": _hash(secret),
            "name": name,
            "scope": scope.value,
            "source": source,
            "now": now,
            "expires_at": _expiry(now, valid_days),
        },
    )
    return NewKey(key_id, f"mes_{key_id}_{secret}", source)


def every(conn: Connection, *, clock: Clock = utc_now) -> Sequence[ListedKey]:
    """All keys, oldest first, without their secrets."""
    now = clock()
    rows = conn.execute(
        text("""
            select key_id, name, scope, caller, created_at, expires_at, revoked_at, last_used_at
            from ops.api_keys order by created_at, key_id
        """)
    )
    return [
        ListedKey(
            key_id=row.key_id,
            name=row.name,
            scope=Scope(row.scope),
            source=row.caller,
            state=_state(row.revoked_at, row.expires_at, now),
            created_at=row.created_at,
            expires_at=row.expires_at,
            last_used_at=row.last_used_at,
        )
        for row in rows
    ]


def rotate(conn: Connection, key: str, *, overlap: timedelta = OVERLAP, clock: Clock = utc_now) -> NewKey:
    """Make a new key in place of one, named by its id or its name; the old one works on for `overlap`, then expires.

    The new one has its name, scope, source and time to live. Of several with the name, the newest is meant: the others
    are on their way out.

    Raises:
        NoSuchKey: none that can be used has this id or name.
        BadExpiry: the overlap is negative.
    """
    if overlap < timedelta():
        raise BadExpiry("The old key cannot end in the past.")
    now = clock()
    old = conn.execute(
        text("""
            select key_id, name, scope, caller, created_at, expires_at from ops.api_keys
            where (key_id = :key or name = :key) and revoked_at is null and coalesce(expires_at > :now, true)
            order by key_id = :key desc, created_at desc, expires_at desc nulls first limit 1 for update
        """),
        {"key": key, "now": now},
    ).one_or_none()
    if old is None:
        raise NoSuchKey(key=key[:LONGEST_NAME])
    conn.execute(
        text("update ops.api_keys set expires_at = least(expires_at, :until) where key_id = :key_id"),
        {"key_id": old.key_id, "until": now + overlap},
    )
    lives_days = max((old.expires_at - old.created_at).days, 1) if old.expires_at is not None else None
    return create(conn, old.name, Scope(old.scope), source=old.caller, valid_days=lives_days, clock=clock)


def revoke(conn: Connection, key: str, *, clock: Clock = utc_now) -> str:
    """End a key, named by its id or its name, from the commit on; gives its id. Revoked again, it stays revoked.

    Raises:
        NoSuchKey: none has this id, and none that is not revoked this name.
        AmbiguousKeyName: several have this name.
    """
    key_id = _find(conn, key)
    conn.execute(
        text("update ops.api_keys set revoked_at = coalesce(revoked_at, :now) where key_id = :key_id"),
        {"key_id": key_id, "now": clock()},
    )
    return key_id


def authenticate(conn: Connection, key: str, *, keyed: Keyed | None = None, clock: Clock = utc_now) -> Authenticated:
    """Whose key this is.

    Args:
        conn: a transaction.
        key: as it was sent.
        keyed: what to lock for its caller alone, and find the answer to, in the same step: it is tried, not waited for.
        clock: tells the time.

    Raises:
        NotAuthenticated: it is no key of ours, or expired or revoked; the answer does not tell which.
    """
    known = authenticate_many(conn, [(key, keyed)], clock=clock)[0]
    if known is None:
        raise NotAuthenticated
    return known


def authenticate_many(
    conn: Connection, asked: Sequence[tuple[str, Keyed | None]], *, clock: Clock = utc_now
) -> Sequence[Authenticated | None]:
    """Whose keys these are, in order, as `authenticate` says it; None for what is no key of ours.

    A lock is the transaction's: the same one asked for twice here is had twice.
    """
    now = clock()
    told = [_told(nth, key, keyed) for nth, (key, keyed) in enumerate(asked)]
    rows = direct.fetch_all(conn, _AUTHENTICATE, {"asked": json.dumps(told), "now": now})
    found = {row.nth: _authenticated(row, now) for row in rows if hmac.compare_digest(row.given, row.secret_hash)}
    return [found.get(nth) for nth in range(len(asked))]


def _told(nth: int, key: str, keyed: Keyed | None) -> dict[str, object]:
    parts = _KEY.fullmatch(key)
    told: dict[str, object] = {"nth": nth}
    if parts is not None:
        told |= {"asked_id": parts[1], "given": _hash(parts[2])}
    if keyed is not None:
        told |= {"lock": keyed.lock, "method": keyed.method, "path": keyed.path, "idempotency_key": keyed.key}
        told |= {"since": keyed.since.isoformat()}
    return told


def _authenticated(row: Any, now: datetime) -> Authenticated | None:  # noqa: ANN401 - a named tuple
    if _state(row.revoked_at, row.expires_at, now) is not KeyState.ACTIVE:
        return None
    return Authenticated(
        Caller(row.caller, Scope(row.scope), row.name),
        row.key_id,
        use_is_news=row.last_used_at is None or row.last_used_at < now - LAST_USED_EVERY,
        locked=bool(row.locked),
        kept=KeptAnswer(row.body_hash, row.status, row.headers, row.body) if row.status is not None else None,
    )


def note_use(conn: Connection, key_id: str, *, clock: Clock = utc_now) -> None:
    """Remember when a key was used, to the minute; nobody waits for another who does the same."""
    now = clock()
    conn.execute(
        text("""
            update ops.api_keys set last_used_at = :now where key_id in (
                select key_id from ops.api_keys
                where key_id = :key_id and (last_used_at is null or last_used_at < :before)
                for update skip locked
            )
        """),
        {"key_id": key_id, "now": now, "before": now - LAST_USED_EVERY},
    )


def _find(conn: Connection, key: str) -> str:
    rows = conn.execute(
        text("""
            select key_id from ops.api_keys
            where key_id = :key
                or (name = :key and revoked_at is null and (expires_at is null or expires_at > now()))
        """),
        {"key": key},
    )
    found = [str(key_id) for (key_id,) in rows]
    if not found:
        raise NoSuchKey(key=key[:LONGEST_NAME])
    if len(found) > 1 and key not in found:
        raise AmbiguousKeyName(key=key[:LONGEST_NAME], ids=", ".join(sorted(found)))
    return key if key in found else found[0]


def _source(name: str, scope: Scope, source: str | None) -> str:
    if scope in _OWN_SOURCES:
        if source not in (None, _OWN_SOURCES[scope]):
            raise BadSource(f"A key of the scope {scope} always has the source {_OWN_SOURCES[scope]}.", source=source)
        return _OWN_SOURCES[scope]
    source = name if source is None else source
    if not _SOURCE.fullmatch(source):
        raise BadSource(
            "A source is 1 to 63 of a-z, 0-9, _ and -, the first a letter or digit; give one with --source.",
            source=source[:LONGEST_NAME],
        )
    if source in _RESERVED:
        raise BadSource(f"No partner's source may be {', '.join(sorted(_RESERVED))}.", source=source)
    return source


def _expiry(now: datetime, valid_days: int | None) -> datetime | None:
    if valid_days is None:
        return None
    if not 0 < valid_days <= 36_525:  # noqa: PLR2004  a hundred years
        raise BadExpiry(days=valid_days)
    return now + timedelta(days=valid_days)


def _state(revoked_at: datetime | None, expires_at: datetime | None, now: datetime) -> KeyState:
    if revoked_at is not None:
        return KeyState.REVOKED
    return KeyState.EXPIRED if expires_at is not None and expires_at <= now else KeyState.ACTIVE


def _hash(secret: str) -> str:
    """One round is enough: what has 256 random bits cannot be guessed, however fast the guesses are."""
    return hashlib.sha256(secret.encode()).hexdigest()
