"""Writes what shop and CRM state of orders, as their exports do, and compares with it."""

import json
from collections.abc import Iterable
from datetime import timedelta
from pathlib import Path
from typing import Any

from sqlalchemy import Connection, Engine, text

from mes.reconciliation import runs
from mes.reconciliation.model import Outcome, Rules, Scope
from mes.reconciliation.sources import Files
from tests.workshop import write_lines

AT_ONCE = Rules(settle=timedelta(0))
"""Nothing is under way when the test looks."""


def states(folder: Path, *orders: dict[str, Any], system: str = "shop", sent: Iterable[tuple[str, int]] = ()) -> Path:
    """A system's exports: its orders, and the numbers of its events by the shop's order."""
    write_lines(folder / system / "orders.jsonl", [json.dumps(order) for order in orders])
    events = [
        {"event_id": f"{number}/{nth}", "order": {"source": "shop", "external_id": number}, "sequence": nth}
        for number, last in sent
        for nth in range(1, last + 1)
    ]
    write_lines(folder / system / "order_events.jsonl", [json.dumps(event) for event in events])
    return folder


def known_there(conn: Connection, source: str = "shop", *, versions: bool = True) -> list[dict[str, Any]]:
    """What a system that has heard all would state."""
    rows = conn.execute(
        text("""
            select source, external_id, status::text as status, version, '2026-11-29T10:00:00Z' as updated_at
            from ops.orders where source = :source order by external_id
        """),
        {"source": source},
    )
    return [{name: value for name, value in row.items() if versions or name != "version"} for row in rows.mappings()]


def reconcile(
    engine: Engine, folder: Path, system: str = "shop", scope: Scope = Scope.ALL, rules: Rules = AT_ONCE, **how: Any
) -> Outcome:
    """One run by the exports in a folder."""
    return runs.run(engine, Files(str(folder)), system, scope, rules=rules, **how)
