"""Writes what shop and CRM send, and lets time pass for what waits in the inbox."""

from datetime import UTC, datetime, timedelta
from typing import Any

from sqlalchemy import Connection, text

NOW = datetime(2026, 11, 29, 12, tzinfo=UTC)


def event(sequence: object, told: object, number: str = "S-1", **changes: Any) -> dict[str, Any]:
    """As a sender writes it."""
    said = {
        "specversion": "1.0",
        "id": f"{number}/{sequence}",
        "source": "/crm",
        "type": "crm.order.changed.v1",
        "sequence": sequence,
        "data": {
            "order": {"source": "shop", "external_id": number},
            "type": told,
            "occurred_at": "2026-11-29T10:00:00Z",
        },
    } | changes
    return {name: value for name, value in said.items() if value is not None}


def later(conn: Connection, seconds: float) -> None:
    """Let time pass for what waits."""
    age = {"age": timedelta(seconds=seconds)}
    conn.execute(text("update ops.inbox set received_at = received_at - :age where state = 'waiting'"), age)
    conn.execute(
        text("""
            update ops.inbox_orders set
                due_at = due_at - :age, gap_since = gap_since - :age, fetched_at = fetched_at - :age
            where due_at is not null
        """),
        age,
    )
