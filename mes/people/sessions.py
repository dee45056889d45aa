"""Keeps people signed in: a random token in the browser's cookie, and only its hash here."""

import hashlib
import secrets
from datetime import datetime, timedelta

from sqlalchemy import Connection, text

from mes.people.model import Role, User

IDLE_LIMIT = timedelta(hours=2)  # a page that is open asks every few seconds: only a closed one grows old
_TOKEN_BYTES = 32
_NOTED_EVERY = timedelta(minutes=1)  # a write per look would be one every few seconds and page


def start(conn: Connection, user_name: str, now: datetime, lasts: timedelta) -> str:
    """Begin a session that ends after `lasts` at the latest, and forget all that are over.

    Returns:
        The token, 43 letters of base64url, for the browser alone.
    """
    conn.execute(text("delete from ops.user_sessions where expires_at <= :now"), {"now": now})
    token = secrets.token_urlsafe(_TOKEN_BYTES)
    conn.execute(
        text("""
            insert into ops.user_sessions (token_hash, user_name, created_at, last_seen_at, expires_at)
            values (:token_hash, :user_name, :now, :now, :expires_at)
        """),
        {
            "token_hash": _hash(token),
            "user_name": user_name,
            "now": now,
            "expires_at": now + min(lasts, IDLE_LIMIT),
        },
    )
    return token


def user_of(conn: Connection, token: str, now: datetime, lasts: timedelta) -> User | None:
    """The active user whose session this is; None when it is over.

    To be seen moves the session's end on, up to `lasts` after its start.
    """
    row = conn.execute(
        text("""
            select users.user_name, users.role, sessions.created_at, sessions.last_seen_at
            from ops.user_sessions as sessions
            inner join ops.users on users.user_name = sessions.user_name
            where sessions.token_hash = :token_hash and users.active
                and sessions.expires_at > :now and sessions.created_at > :oldest_start
        """),
        {"token_hash": _hash(token), "now": now, "oldest_start": now - lasts},
    ).one_or_none()
    if row is None:
        return None
    if row.last_seen_at < now - _NOTED_EVERY:
        _note_seen(conn, token, now, min(now + IDLE_LIMIT, row.created_at + lasts))
    return User(row.user_name, Role(row.role), active=True)


def end(conn: Connection, token: str) -> None:
    """Sign out where this token is; what is over already stays over."""
    conn.execute(text("delete from ops.user_sessions where token_hash = :token_hash"), {"token_hash": _hash(token)})


def end_all(conn: Connection, user_name: str) -> None:
    """Sign somebody out everywhere."""
    conn.execute(text("delete from ops.user_sessions where user_name = :user_name"), {"user_name": user_name})


def purge(conn: Connection, now: datetime) -> int:
    """Forget sessions that have ended; gives how many."""
    return conn.execute(text("delete from ops.user_sessions where expires_at < :now"), {"now": now}).rowcount


def _note_seen(conn: Connection, token: str, now: datetime, expires_at: datetime) -> None:
    conn.execute(
        text("""
            update ops.user_sessions set last_seen_at = :now, expires_at = :expires_at
            where token_hash = :token_hash and last_seen_at < :now
        """),
        {"token_hash": _hash(token), "now": now, "expires_at": expires_at},
    )


def _hash(token: str) -> str:
    """A token has 256 random bits, so a fast hash without salt hides it."""
    return hashlib.sha256(token.encode("utf-8", "surrogatepass")).hexdigest()
