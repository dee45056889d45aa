"""Runs the SQL scripts that lie beside the code that uses them (`<package>/sql/<name>.sql`)."""

from functools import cache
from importlib.resources import files
from typing import Any

from sqlalchemy import Connection, CursorResult, text


def run(conn: Connection, package: str, name: str, **values: object) -> CursorResult[Any]:
    """Run a script statement by statement (the server takes only one where values are bound); gives the last result.

    A statement ends with a semicolon at a line's end.
    """
    *before, last = _statements(package, name)
    for statement in before:
        conn.execute(text(statement), values)
    return conn.execute(text(last), values)


@cache
def _statements(package: str, name: str) -> tuple[str, ...]:
    script = (files(package) / "sql" / f"{name}.sql").read_text(encoding="utf-8")
    return tuple(statement for statement in script.split(";\n") if statement.strip())
