"""Asks the database for one value, typed."""

from typing import Any

from sqlalchemy import Connection, text


def number(conn: Connection, sql: str, **values: object) -> int:
    """The one whole number that `sql` gives; null is 0."""
    found: Any = conn.execute(text(sql), values).scalar_one()
    return int(found or 0)


def flag(conn: Connection, sql: str, **values: object) -> bool:
    """The one truth value that `sql` gives; null is false."""
    found: Any = conn.execute(text(sql), values).scalar_one()
    return bool(found)
