"""What Postgres really read to answer: the statements that a function sends, run again under `explain analyze`."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import psycopg
import pytest
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
    """How much `read` made Postgres do."""
    sent: list[tuple[str, Any]] = []

    execute = psycopg.Cursor.execute

    def remember(cursor: Any, statement: Any, values: Any = None, **options: Any) -> Any:
        sent.append((statement.decode() if isinstance(statement, bytes) else statement, values))
        return execute(cursor, statement, values, **options)

    with pytest.MonkeyPatch.context() as patching:  # SQLAlchemy and we ourselves send by it
        patching.setattr(psycopg.Cursor, "execute", remember)
        read()
    plans = tuple(
        conn.exec_driver_sql(f"explain (analyze, buffers, format json) {statement}", values).scalar_one()[0]["Plan"]
        for statement, values in sent
        if not statement.startswith("set ")
    )
    rows = sum(_rows(node) for plan in plans for node in _scans(plan))
    pages = sum(plan["Shared Hit Blocks"] + plan["Shared Read Blocks"] for plan in plans)
    return Work(rows, pages, plans)


def _scans(node: dict[str, Any]) -> Iterator[dict[str, Any]]:
    if "Relation Name" in node and node["Node Type"] != "ModifyTable":
        yield node
    for child in node.get("Plans", ()):
        yield from _scans(child)


def _rows(node: dict[str, Any]) -> int:
    dropped = node.get("Rows Removed by Filter", 0) + node.get("Rows Removed by Index Recheck", 0)
    return round((node["Actual Rows"] + dropped) * node["Actual Loops"])
