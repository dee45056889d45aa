"""Checks a name and a password, and slows down whoever guesses."""

import unicodedata
from datetime import datetime, timedelta

from sqlalchemy import Connection, Row, text

from mes.people import passwords
from mes.people.model import Role, User

MAX_FAILURES = 5
LOCKED_FOR = timedelta(minutes=15)


def check(conn: Connection, user_name: str, password: str, now: datetime) -> User | None:
    """The active user whom name and password fit; None otherwise, and None for everybody while he is locked.

    The caller commits in either case: a failure counts, and the fifth in a row locks the user. A name that does not
    exist takes as long as one that does, and gives the same answer.
    """
    known = _find(conn, user_name)
    if known is None or not _may_try(known, now):
        passwords.match_nobody(password)
        return None
    known = _find(conn, user_name, lock=True)  # attempts on one user go one by one, or many at once would count as one
    if known is None or not _may_try(known, now):
        return None
    if not passwords.matches(known.password_hash, password):
        _count_failure(conn, known, now)
        return None
    _welcome(conn, known, password)
    return User(known.user_name, Role(known.role), active=True)


_Known = Row[tuple[str, str, bool, str, int, datetime | None]]


def _find(conn: Connection, user_name: str, *, lock: bool = False) -> _Known | None:
    return conn.execute(
        text(f"""
            select user_name, role, active, password_hash, failed_sign_ins, locked_until from ops.users
            where lower(user_name) = lower(:user_name) {"for update" if lock else ""}
        """),
        {"user_name": unicodedata.normalize("NFC", user_name.strip().replace("\0", ""))},
    ).one_or_none()


def _may_try(known: _Known, now: datetime) -> bool:
    return known.active and (known.locked_until is None or known.locked_until <= now)


def _count_failure(conn: Connection, known: _Known, now: datetime) -> None:
    failures = known.failed_sign_ins + 1
    locks = failures >= MAX_FAILURES
    conn.execute(
        text("""
            update ops.users set failed_sign_ins = :failures, locked_until = :locked_until
            where user_name = :user_name
        """),
        {
            "failures": 0 if locks else failures,
            "locked_until": now + LOCKED_FOR if locks else None,
            "user_name": known.user_name,
        },
    )


def _welcome(conn: Connection, known: _Known, password: str) -> None:
    """Forget failures, and hash anew what was hashed with yesterday's parameters; mostly there is nothing to write."""
    if known.failed_sign_ins or known.locked_until is not None:
        conn.execute(
            text("update ops.users set failed_sign_ins = 0, locked_until = null where user_name = :user_name"),
            {"user_name": known.user_name},
        )
    if passwords.is_outdated(known.password_hash):
        conn.execute(
            text("update ops.users set password_hash = :password_hash where user_name = :user_name"),
            {"user_name": known.user_name, "password_hash": passwords.hashed(password)},
        )
