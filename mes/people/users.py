"""Keeps the users: makes them, finds them, changes their roles, and ends their access."""

import re
import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import Connection, Row, text

from mes.db import query
from mes.people import passwords, sessions
from mes.people.model import BadUserName, NameTaken, NoSuchUser, Role, User

_NAME = re.compile(r"[^\W\d_][\w .-]{0,62}[\w.-]|[^\W\d_]")


@dataclass(frozen=True)
class ListedUser:
    """A user as `mes users list` shows him; `locked_until` may be past, `last_seen_at` is of his open sessions."""

    user_name: str
    role: Role
    active: bool
    locked_until: datetime | None
    last_seen_at: datetime | None
    created_at: datetime


def create(conn: Connection, user_name: str, role: Role, password: str) -> User:
    """Make a user who may sign in at once.

    Raises:
        BadUserName, BadPassword: it cannot be used; the message says why.
        NameTaken: somebody has it, perhaps in other letter case.
    """
    name = unicodedata.normalize("NFC", user_name.strip())
    if not _NAME.fullmatch(name):
        raise BadUserName
    passwords.require_good(password)
    made = conn.execute(
        text("""
            insert into ops.users (user_name, role, password_hash) values (:user_name, :role, :password_hash)
            on conflict do nothing returning user_name, role, active
        """),
        {"user_name": name, "role": role.value, "password_hash": passwords.hashed(password)},
    ).one_or_none()
    if made is None:
        raise NameTaken(user=name)
    return _user(made)


def get(conn: Connection, user_name: str) -> User:
    """The user of this name, in whatever letter case.

    Raises:
        NoSuchUser: there is none.
    """
    found = conn.execute(
        text("select user_name, role, active from ops.users where lower(user_name) = lower(:user_name)"),
        {"user_name": unicodedata.normalize("NFC", user_name.strip())},
    ).one_or_none()
    if found is None:
        raise NoSuchUser(user=user_name)
    return _user(found)


def every(conn: Connection) -> Sequence[ListedUser]:
    """All users by name."""
    rows = conn.execute(
        text("""
            select users.user_name, users.role, users.active, users.locked_until, users.created_at,
                (select max(sessions.last_seen_at) from ops.user_sessions as sessions
                    where sessions.user_name = users.user_name) as last_seen_at
            from ops.users order by users.user_name
        """)
    )
    return [ListedUser(**{**row, "role": Role(row["role"])}) for row in rows.mappings()]


def exist(conn: Connection) -> bool:
    """Whether there is any user at all."""
    return query.flag(conn, "select exists (select from ops.users)")


def active_operators(conn: Connection, *, lock: bool = False) -> Sequence[str]:
    """Names of the operators who may be given work, sorted.

    With `lock`, none of them can be deactivated before the transaction ends.
    """
    names = conn.execute(
        text(f"""
            select user_name from ops.users where active and role = 'operator'
            order by user_name {"for share" if lock else ""}
        """)
    )
    return list(names.scalars())


def set_password(conn: Connection, user_name: str, password: str) -> User:
    """Give a user another password, which unlocks him, and sign him out everywhere.

    Raises:
        NoSuchUser, BadPassword: as they say.
    """
    user = get(conn, user_name)
    passwords.require_good(password)
    conn.execute(
        text("""
            update ops.users set password_hash = :password_hash, failed_sign_ins = 0, locked_until = null
            where user_name = :user_name
        """),
        {"user_name": user.user_name, "password_hash": passwords.hashed(password)},
    )
    sessions.end_all(conn, user.user_name)
    return user


def set_role(conn: Connection, user_name: str, role: Role) -> User:
    """Change what somebody may do; it acts at once, on open pages too.

    Raises:
        NoSuchUser: there is none of this name.
    """
    user = get(conn, user_name)
    changed = conn.execute(
        text("update ops.users set role = :role where user_name = :user_name returning user_name, role, active"),
        {"user_name": user.user_name, "role": role.value},
    )
    return _user(changed.one())


def activate(conn: Connection, user_name: str) -> User:
    """Let somebody sign in again.

    Raises:
        NoSuchUser: there is none of this name.
    """
    return _set_active(conn, user_name, active=True)


def deactivate(conn: Connection, user_name: str) -> User:
    """End somebody's access, at once and on open pages too; his name stays in the history.

    Raises:
        NoSuchUser: there is none of this name.
    """
    user = _set_active(conn, user_name, active=False)
    sessions.end_all(conn, user.user_name)
    return user


def unlock(conn: Connection, user_name: str) -> User:
    """Let somebody try again at once who was locked out by failed attempts.

    Raises:
        NoSuchUser: there is none of this name.
    """
    user = get(conn, user_name)
    conn.execute(
        text("update ops.users set failed_sign_ins = 0, locked_until = null where user_name = :user_name"),
        {"user_name": user.user_name},
    )
    return user


def _set_active(conn: Connection, user_name: str, *, active: bool) -> User:
    user = get(conn, user_name)
    changed = conn.execute(
        text("update ops.users set active = :active where user_name = :user_name returning user_name, role, active"),
        {"user_name": user.user_name, "active": active},
    )
    return _user(changed.one())


def _user(row: Row[tuple[str, str, bool]]) -> User:
    return User(row.user_name, Role(row.role), active=row.active)
