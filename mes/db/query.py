"""Asks the database for one value, typed."""

from datetime import datetime
from typing import Any

from sqlalchemy import Connection, text

from mes.db import direct


def number(conn: Connection, sql: str, **values: object) -> int:
    """The one whole number that `sql` gives; null is 0."""
    found: Any = conn.execute(text(sql), values).scalar_one()
    return int(found or 0)


def flag(conn: Connection, sql: str, **values: object) -> bool:
    """The one truth value that `sql` gives; null is false."""
    found: Any = conn.execute(text(sql), values).scalar_one()
    return bool(found)


def now(conn: Connection) -> datetime:
    """The database's time, the same for all processes, when this transaction began."""
    found: datetime = conn.execute(text("select now()")).scalar_one()
    return found


def plan_once(conn: Connection) -> None:
    """Plan statements for any values, once per connection, from here to the transaction's end.

    For statements whose every filter has its index, so that values change nothing: choosing among the order list's
    indexes anew takes longer than reading a page.
    """
    direct.execute(conn, _PLAN_ONCE, {})


def plan_each(conn: Connection) -> None:
    """Let Postgres look at the values again: the beginning of a text is found by an index only when it is known."""
    direct.execute(conn, _PLAN_EACH, {})


_PLAN_ONCE = text("set local plan_cache_mode = force_generic_plan")
_PLAN_EACH = text("set local plan_cache_mode = auto")
