"""What Postgres really read to answer: the statements that a function sends, run again under `explain analyze`."""

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import psycopg
import pytest
from psycopg import sql
from sqlalchemy import Connection


@dataclass(frozen=True)
class Work:
    """Rows that scans read, kept or not, and pages (8 kB) that they touched, of all statements together."""

    rows: int
    pages: int
    plans: tuple[dict[str, Any], ...]

    def told(self) -> str:
        """The scans, for a failure's message."""
        return "\n".join(
            f"{node.get('Index Name') or node.get('Relation Name')}: {node['Node Type']}, {_rows(node)} rows"
            for plan in self.plans
            for node in _scans(plan)
        )


def work(conn: Connection, read: Callable[[], object]) -> Work:
    """How much `read` made Postgres do, by the plans for any values where the transaction asks for those."""
    sent: list[tuple[str, Any]] = []
    execute = psycopg.Cursor.execute

    def remember(cursor: Any, statement: Any, values: Any = None, **options: Any) -> Any:
        sent.append((statement.decode() if isinstance(statement, bytes) else statement, values))
        return execute(cursor, statement, values, **options)

    with pytest.MonkeyPatch.context() as patching:  # SQLAlchemy and we ourselves send by it
        patching.setattr(psycopg.Cursor, "execute", remember)
        read()
    plans = tuple(_plan(conn, *each) for each in sent if not each[0].startswith("set "))
    rows = sum(_rows(node) for plan in plans for node in _scans(plan))
    pages = sum(plan["Shared Hit Blocks"] + plan["Shared Read Blocks"] for plan in plans)
    return Work(rows, pages, plans)


def _plan(conn: Connection, statement: str, values: Any) -> dict[str, Any]:
    driver = conn.connection.driver_connection
    names = list(dict.fromkeys(re.findall(r"%\((\w+)\)s", statement)))
    with driver.cursor() as cursor:
        before = _prepared(cursor)
        cursor.execute(statement, values, prepare=True)
        (name,) = (_prepared(cursor) - before) or {_named(cursor, statement)}
        given = sql.SQL(", ").join(sql.Literal(values[each]) for each in names)
        called = sql.SQL("execute {} ({})" if names else "execute {}").format(sql.Identifier(name), given)
        ((plan,),) = cursor.execute(sql.SQL("explain (analyze, buffers, format json) {}").format(called)).fetchall()
    return plan[0]["Plan"]


def _prepared(cursor: Any) -> set[str]:
    return {name for (name,) in cursor.execute("select name from pg_prepared_statements", prepare=False).fetchall()}


def _named(cursor: Any, statement: str) -> str:
    """Of one that was prepared before: psycopg numbers its parameters by their first use."""
    order: dict[str, int] = {}
    numbered = re.sub(r"%\((\w+)\)s", lambda found: f"${order.setdefault(found[1], len(order) + 1)}", statement)
    ((name,),) = cursor.execute(
        "select name from pg_prepared_statements where statement = %s order by prepare_time desc limit 1",
        [numbered.replace("%%", "%")],
        prepare=False,
    ).fetchall()
    return name


def _scans(node: dict[str, Any]) -> Iterator[dict[str, Any]]:
    if "Relation Name" in node and node["Node Type"] != "ModifyTable":
        yield node
    for child in node.get("Plans", ()):
        yield from _scans(child)


def _rows(node: dict[str, Any]) -> int:
    dropped = node.get("Rows Removed by Filter", 0) + node.get("Rows Removed by Index Recheck", 0)
    return round((node["Actual Rows"] + dropped) * node["Actual Loops"])
