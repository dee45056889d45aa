"""Keeps the differences, one per system and order: opened, seen again, repaired, accepted by a person, closed."""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

import polars as pl
import structlog
from sqlalchemy import Connection, Row, text

from mes.events import snapshots
from mes.reconciliation.model import Finding, Kind, NoSuchDrift, NotRepairable, Remedy, Rules

log = structlog.get_logger(__name__)
PROGRAM = "reconciliation"
_NOTED_AT_ONCE = 10_000  # a JSON array of all differences of millions of orders is more than Postgres takes


@dataclass(frozen=True)
class Drift:
    """A difference that is open, or that a person has accepted."""

    drift_id: int
    system: str
    source: str
    external_id: str
    order_id: UUID | None
    kind: Kind
    ours: str | None
    theirs: str | None
    explanation: str
    remedy: Remedy
    state: str
    opened_at: datetime
    seen_at: datetime
    repairs: int
    repaired_at: datetime | None
    accepted_by: str | None
    accepted_reason: str | None


@dataclass(frozen=True)
class Count:
    """Open differences of a system by kind, and since when the oldest has been open."""

    system: str
    kind: Kind
    differences: int
    oldest: datetime


_FIELDS = (
    "drift_id, system, source, external_id, order_id, kind, ours, theirs, explanation, remedy, state, opened_at, "
    "seen_at, repairs, repaired_at, accepted_by, accepted_reason"
)
_OPEN = "state in ('open', 'person')"


def note(conn: Connection, system: str, findings: Sequence[Finding], rules: Rules) -> None:
    """Open what is new, and see again what is not; whatever a person accepted stays silent until it changes."""
    rows = [
        {
            "source": each.pair.source,
            "external_id": each.pair.external_id,
            "order_id": str(each.pair.order_id) if each.pair.order_id else None,
            "kind": each.kind.value,
            "ours": _said(each.pair.our_status, each.pair.our_version),
            "theirs": _said(each.pair.their_status, each.pair.their_version, each.pair.sent),
            "explanation": each.explanation,
            "remedy": each.remedy.value,
        }
        for each in findings
    ]
    for first in range(0, len(rows), _NOTED_AT_ONCE):
        lot = json.dumps(rows[first : first + _NOTED_AT_ONCE])
        conn.execute(_NOTE, {"rows": lot, "system": system, "attempts": rules.attempts})


def close(conn: Connection, system: str, findings: Sequence[Finding], unseen: pl.DataFrame) -> int:
    """Close what was looked at and not found again; gives how many. `unseen` orders were not looked at."""
    found = [(each.pair.source, each.pair.external_id) for each in findings]
    return conn.execute(
        text("""
            update ops.drift set state = 'closed', closed_at = now(), seen_at = now()
            where system = :system and state <> 'closed' and (source, external_id) not in (
                select * from unnest(cast(:sources as text[]), cast(:numbers as text[]))
            )
        """),
        {
            "system": system,
            "sources": [source for source, _ in found] + unseen["source"].to_list(),
            "numbers": [number for _, number in found] + unseen["external_id"].to_list(),
        },
    ).rowcount


def repair_open(conn: Connection, system: str, rules: Rules) -> int:
    """Begin the repairs that are due, the oldest first and not too many at once; gives how many."""
    due = conn.execute(
        text(f"""
            select {_FIELDS} from ops.drift
            where system = :system and state = 'open' and repairs < :attempts
                and (repaired_at is null or repaired_at < now() - cast(:pause as interval))
            order by opened_at, drift_id limit :limit for update skip locked
        """),
        {
            "system": system,
            "attempts": rules.attempts,
            "pause": max(rules.settle, timedelta(0)),
            "limit": rules.repairs_at_once,
        },
    )
    return _repair(conn, [_drift(row) for row in due], PROGRAM)


def repair(conn: Connection, drift_id: int, by: str) -> None:
    """Repair one now, though it was tried before.

    Raises:
        NoSuchDrift: it is not open.
        NotRepairable: only a person can mend it.
    """
    found = _locked(conn, drift_id)
    if not _repair(conn, [found], by):
        raise NotRepairable(drift_id=drift_id)


def accept(conn: Connection, drift_id: int, by: str, reason: str) -> None:
    """Let a difference be, for a reason; it stays silent until either side changes.

    Raises:
        NoSuchDrift: it is not open.
    """
    _locked(conn, drift_id)
    conn.execute(
        text("""
            update ops.drift set state = 'accepted', accepted_by = :by, accepted_at = now(), accepted_reason = :reason
            where drift_id = :drift_id
        """),
        {"drift_id": drift_id, "by": by, "reason": reason},
    )
    log.info("drift accepted", drift_id=drift_id, by=by, reason=reason)


def listed(conn: Connection, *, system: str | None = None, accepted: bool = False, limit: int = 200) -> Sequence[Drift]:
    """Open differences, the oldest first; those that a person accepted instead, with `accepted`."""
    state = "state = 'accepted'" if accepted else _OPEN
    rows = conn.execute(
        text(f"""
            select {_FIELDS} from ops.drift
            where {state} and (cast(:system as text) is null or system = :system)
            order by state = 'person' desc, opened_at, drift_id limit :limit
        """),
        {"system": system, "limit": limit},
    )
    return [_drift(row) for row in rows]


def counts(conn: Connection) -> Sequence[Count]:
    """Open differences by system and kind; by the partial index, which holds no others."""
    rows = conn.execute(
        text(f"""
            select system, kind, count(*) as differences, min(opened_at) as oldest
            from ops.drift where {_OPEN} group by system, kind order by system, kind
        """)
    )
    return [Count(row.system, Kind(row.kind), row.differences, row.oldest) for row in rows]


def keys(conn: Connection, system: str) -> pl.DataFrame:
    """Orders on which a difference with the system is not closed."""
    rows = conn.execute(
        text("""
            select source, external_id from ops.drift where system = :system and state <> 'closed'
            order by state = 'accepted', seen_at
        """),
        {"system": system},
    ).all()
    return pl.DataFrame([tuple(row) for row in rows], {"source": pl.String, "external_id": pl.String}, orient="row")


def _repair(conn: Connection, found: Sequence[Drift], by: str) -> int:
    """Tell snapshots, wake the inbox; gives how many could be."""
    tellable = [each for each in found if each.remedy is Remedy.SNAPSHOT and each.order_id is not None]
    told = set(snapshots.tell(conn, [each.order_id for each in tellable if each.order_id], "drift"))
    woken = [each for each in found if each.remedy is Remedy.WAKE and _wake(conn, each)]
    begun = [each.drift_id for each in tellable if each.order_id in told] + [each.drift_id for each in woken]
    conn.execute(
        text("""
            update ops.drift set repairs = repairs + 1, repaired_at = now(), repaired_by = :by
            where drift_id = any(:ids)
        """),
        {"ids": begun, "by": by},
    )
    if begun:
        log.info("drift repaired", differences=len(begun), snapshots=len(told), woken=len(woken), by=by)
    return len(begun)


def _wake(conn: Connection, found: Drift) -> bool:
    """Have the inbox look again, and ask at once for what is missing."""
    return bool(
        conn.execute(
            text("""
                update ops.inbox_orders set due_at = clock_timestamp(), seen_version = null, fetched_at = null
                where sender = :sender and source = :source and external_id = :external_id and parked_at is null
            """),
            {"sender": found.system, "source": found.source, "external_id": found.external_id},
        ).rowcount
    )


def _locked(conn: Connection, drift_id: int) -> Drift:
    row = conn.execute(
        text(f"select {_FIELDS} from ops.drift where drift_id = :drift_id and {_OPEN} for update"),
        {"drift_id": drift_id},
    ).one_or_none()
    if row is None:
        raise NoSuchDrift(drift_id=drift_id)
    return _drift(row)


def _drift(row: Row[Any]) -> Drift:
    fields = dict(row._mapping)  # noqa: SLF001 - SQLAlchemy's public name for the row as a mapping
    return Drift(**(fields | {"kind": Kind(row.kind), "remedy": Remedy(row.remedy)}))


def _said(status: str | None, version: int | None, sent: int | None = None) -> str | None:
    parts = [
        status,
        f"version {version}" if version is not None else None,
        f"{sent} events sent" if sent is not None else None,
    ]
    return ", ".join(part for part in parts if part is not None) or None


# a repair had an effect when they say something else; what has none after some attempts is for a person
_NOTE = text("""
insert into ops.drift as kept
    (system, source, external_id, order_id, kind, ours, theirs, explanation, remedy, state)
select :system, source, external_id, order_id, kind, ours, theirs, explanation, remedy,
    case remedy when 'person' then 'person' else 'open' end
from jsonb_to_recordset(cast(:rows as jsonb)) as found(
    source text, external_id text, order_id uuid, kind text, ours text, theirs text, explanation text, remedy text
)
on conflict (system, source, external_id) do update set
    order_id = excluded.order_id, kind = excluded.kind, ours = excluded.ours, theirs = excluded.theirs,
    explanation = excluded.explanation, remedy = excluded.remedy, seen_at = now(), closed_at = null,
    opened_at = case
        when kept.state = 'closed' or kept.state = 'accepted'
            and (kept.kind, kept.ours, kept.theirs) is distinct from (excluded.kind, excluded.ours, excluded.theirs)
        then now() else kept.opened_at
    end,
    repairs = case
        when kept.state = 'closed' or (kept.kind, kept.theirs) is distinct from (excluded.kind, excluded.theirs) then 0
        else kept.repairs
    end,
    state = case
        when kept.state = 'accepted'
            and (kept.kind, kept.ours, kept.theirs) is not distinct from (excluded.kind, excluded.ours, excluded.theirs)
        then 'accepted'
        when excluded.remedy = 'person' or kept.state <> 'closed' and kept.repairs >= :attempts
            and (kept.kind, kept.theirs) is not distinct from (excluded.kind, excluded.theirs)
        then 'person'
        else 'open'
    end
""")
