"""Runs the comparison with one system: reads both sides, names what differs, repairs what a program may repair."""

import json
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

import polars as pl
import structlog
from sqlalchemy import Connection, Engine, text

from mes.db import query
from mes.errors import MesError
from mes.reconciliation import drift, explaining, judging, snapshot
from mes.reconciliation.compare import Compared, compare
from mes.reconciliation.model import (
    SYSTEMS,
    Finding,
    Outcome,
    Rules,
    RunUnderWay,
    Scope,
    StatementTooSmall,
)
from mes.reconciliation.sources import Source
from mes.reconciliation.statement import Statement

# of what it stated last, or of what we have of its own orders: less is half of a file, not a quiet day
_LEAST_SHARE = 0.9
_FEW = 20  # of so few orders, any share may be missing
# a night's run that did not come about is made up for by the next one of the day
_ALL_EVERY = timedelta(hours=25)
# a change that was under way when the last run looked, by clocks that may differ
_OVERLAP = timedelta(minutes=5)
# one run with each system at a time; the number is arbitrary and ours
_RUN_LOCK = 7_203_399

log = structlog.get_logger(__name__)
_KEY = ["source", "external_id"]


@dataclass(frozen=True)
class LastRun:
    """How the last run with a system ended; with an `error`, nothing was compared."""

    system: str
    scope: str
    finished_at: datetime
    error: str | None
    stated: int | None
    ours: int | None


@dataclass(frozen=True)
class _Run:
    """A run that has begun."""

    run_id: int
    system: str
    scope: Scope
    started_at: datetime
    since: datetime | None
    last_stated: int | None


@dataclass(frozen=True)
class _Sides:
    """Both sides' settled orders; `unseen` are not settled or could not be asked for; `covered` names whole sources."""

    ours: pl.DataFrame
    theirs: pl.DataFrame
    unseen: pl.DataFrame
    covered: list[str]


@dataclass(frozen=True)
class _Seen:
    """What a run has read and found, before any of it is written."""

    stated: Statement
    sides: _Sides
    compared: Compared
    findings: list[Finding]


def run(
    database: Engine,
    source: Source,
    system: str,
    scope: Scope,
    *,
    rules: Rules | None = None,
    any_size: bool = False,
) -> Outcome:
    """Compare with one system; differences, repairs and the run's own row are one transaction.

    The first run compares all orders, whatever its scope, and so does one when none of the last 25 hours has. With
    `any_size`, a statement that knows far fewer orders than it should is taken for what it is.

    Raises:
        StatementMissing, StatementUnusable, StatementTooSmall: nothing was compared, nor repaired; the run's row says
            so.
        RunUnderWay: another run compares with this system.
    """
    rules = rules or Rules()
    with _turn(database, system):
        begun = _begin(database, system, scope, rules)
        try:
            stated, sides = _read(database, source, begun, rules, any_size=any_size)
            compared = compare(sides.ours, sides.theirs, sides.covered)
            seen = _Seen(stated, sides, compared, _judged(system, compared, sides))
            with database.begin() as conn:
                return _conclude(conn, begun, seen, rules)
        except BaseException as error:
            _fail(database, begun, error)
            raise


def differing_buckets(conn: Connection, run_id: int, limit: int = 50) -> list[dict[str, Any]]:
    """The buckets that differed in a run, with counts, sums of versions and digests of both sides; the first ones."""
    row = conn.execute(
        text("select buckets from ops.reconciliation_runs where run_id = :run_id"), {"run_id": run_id}
    ).one()
    return list(row.buckets or ())[:limit]


def last(conn: Connection) -> list[LastRun]:
    """The last run with each system that has ended; none of a system that was never compared with."""
    rows = conn.execute(
        text("""
            select last.system, last.scope, last.finished_at, last.error, last.stated, last.ours
            from unnest(cast(:systems as text[])) as systems (system)
            cross join lateral (
                select * from ops.reconciliation_runs as runs
                where runs.system = systems.system and state <> 'running' order by run_id desc limit 1
            ) as last
        """),
        {"systems": list(SYSTEMS)},
    )
    return [LastRun(**row._mapping) for row in rows]  # noqa: SLF001 - SQLAlchemy's public name for the row as a mapping


@contextmanager
def _turn(database: Engine, system: str) -> Iterator[None]:
    """The lock belongs to a connection, so whoever is killed lets go of it."""
    values: dict[str, Any] = {"key": _RUN_LOCK, "system": system}
    with database.connect() as conn:
        if not query.flag(conn, "select pg_try_advisory_lock(:key, hashtext(:system))", **values):
            raise RunUnderWay(system=system)
        conn.commit()
        try:
            yield
        finally:
            if not conn.invalidated:
                conn.execute(text("select pg_advisory_unlock(:key, hashtext(:system))"), values)
                conn.commit()


def _begin(database: Engine, system: str, scope: Scope, rules: Rules) -> _Run:
    with database.begin() as conn:
        conn.execute(
            text("""
                update ops.reconciliation_runs set state = 'failed', finished_at = clock_timestamp(),
                    error = 'It was cut short.'
                where system = :system and state = 'running'
            """),
            {"system": system},
        )
        last = conn.execute(_LAST, {"system": system, "all_every": _ALL_EVERY}).one()
        scope = scope if last.whole_stated is not None and not last.whole_is_old else Scope.ALL
        row = conn.execute(
            text("""
                insert into ops.reconciliation_runs (system, scope) values (:system, :scope)
                returning run_id, started_at
            """),
            {"system": system, "scope": scope.value},
        ).one()
    since = last.seen_up_to - rules.settle - _OVERLAP if scope is Scope.RECENT else None
    return _Run(row.run_id, system, scope, row.started_at, since, last.whole_stated)


def _read(database: Engine, source: Source, begun: _Run, rules: Rules, *, any_size: bool) -> tuple[Statement, _Sides]:
    """Their statement first, so that what we have is at least as new."""
    with database.begin() as conn:
        asked = drift.keys(conn, begun.system)
        if begun.since is not None:
            # what changed comes first: where not all can be asked for, the night looks at what is known already
            asked = _once(pl.concat([_changed(conn, begun.since), asked]))
    stated = source.read(begun.system, begun.since, asked)
    keys = asked
    if begun.since is not None:
        keys = _once(pl.concat([asked, stated.orders.filter(pl.col("updated_at") >= begun.since).select(_KEY)]))
    settled_before = begun.started_at - rules.settle
    one_moment = database.connect().execution_options(isolation_level="REPEATABLE READ")
    with one_moment as conn, conn.begin():
        ours = snapshot.read(conn, begun.system, settled_before=settled_before, changed_since=begun.since, keys=keys)
        own = query.number(conn, "select count(*) from ops.orders where source = :system", system=begun.system)
    sides = _sides(begun, stated, ours, keys, settled_before)
    if not any_size:
        if stated.complete:
            _require_size(begun, stated, own)
        else:
            _require_answers(begun, sides)
    return stated, sides


def _sides(begun: _Run, stated: Statement, ours: pl.DataFrame, keys: pl.DataFrame, settled_before: datetime) -> _Sides:
    theirs = stated.orders
    covered = sorted({begun.system, *theirs.filter(pl.col("status").is_not_null())["source"].unique()})
    unseen = [
        stated.unread,
        ours.filter("unsettled").select(_KEY),
        theirs.filter(pl.col("updated_at") > settled_before).select(_KEY),
    ]
    if begun.since is not None:
        wanted = _once(pl.concat([ours.select(_KEY), keys]))
        theirs = theirs.join(wanted, on=_KEY, how="semi")
    if stated.asked is not None:
        known = _once(pl.concat([theirs.select(_KEY), stated.asked.select(_KEY)]))
        unseen.append(pl.concat([ours.select(_KEY), keys]).join(known, on=_KEY, how="anti"))
    hidden = _once(pl.concat(unseen))
    return _Sides(ours.join(hidden, on=_KEY, how="anti"), theirs.join(hidden, on=_KEY, how="anti"), hidden, covered)


def _require_size(begun: _Run, stated: Statement, own: int) -> None:
    """A statement that shrank says nothing about the orders that it lost."""
    its_own = stated.orders.filter(pl.col("source") == begun.system).height
    expected = begun.last_stated if begun.last_stated is not None else own
    found = stated.orders.height if begun.last_stated is not None else its_own
    if (expected and not found) or found < expected * _LEAST_SHARE:
        raise StatementTooSmall(
            f"The statement of {begun.system} knows {found:,} orders, where {expected:,} were expected. Is it half of "
            f"a file? {stated.bad_rows:,} of its rows could not be read. If it is right: `mes drift check --any-size`."
        )


def _require_answers(begun: _Run, sides: _Sides) -> None:
    """Who was asked for some orders and knows hardly any of them is not well: as one whose tables are being filled."""
    asked = sides.ours.filter(pl.col("source").is_in(sides.covered) & pl.col("live_from").is_not_null())
    unknown = asked.join(sides.theirs, on=_KEY, how="anti").height
    if asked.height >= _FEW and unknown > asked.height * (1 - _LEAST_SHARE):
        raise StatementTooSmall(
            f"{begun.system} was asked for {asked.height:,} orders and does not know {unknown:,} of them. Is it being "
            "restored? If that is right: `mes drift check --any-size`."
        )


def _judged(system: str, compared: Compared, sides: _Sides) -> list[Finding]:
    judged = (judging.judge(system, pair, expected_there=pair.source in sides.covered) for pair in compared.pairs)
    return [finding for finding in judged if finding is not None]


def _conclude(conn: Connection, begun: _Run, seen: _Seen, rules: Rules) -> Outcome:
    stated, sides, compared = seen.stated, seen.sides, seen.compared
    explained = explaining.explain(conn, begun.system, seen.findings)
    drift.note(conn, begun.system, explained, rules)
    closed = drift.close(conn, begun.system, explained, sides.unseen)
    repaired = drift.repair_open(conn, begun.system, rules)
    found = dict(Counter(each.kind.value for each in explained))
    conn.execute(
        _DONE,
        {
            "run_id": begun.run_id,
            "seen_up_to": begun.started_at,
            "stated": stated.orders.height,
            "bad_rows": stated.bad_rows,
            "ours": compared.ours,
            "buckets": json.dumps([bucket.told() for bucket in compared.differing]),
            "found": json.dumps(found),
            "repaired": repaired,
        },
    )
    log.info("reconciled", system=begun.system, scope=begun.scope, found=found, repaired=repaired, closed=closed)
    return Outcome(
        run_id=begun.run_id,
        system=begun.system,
        scope=begun.scope,
        started_at=begun.started_at,
        stated=stated.orders.height,
        bad_rows=stated.bad_rows,
        ours=compared.ours,
        buckets=compared.buckets,
        differing_buckets=len(compared.differing),
        found=found,
        repaired=repaired,
        closed=closed,
        first_faults=stated.faults,
    )


def _fail(database: Engine, begun: _Run, error: BaseException) -> None:
    """Say why, for people; what a program did wrong is in its log."""
    why = error.message if isinstance(error, MesError) else f"It failed ({type(error).__name__}); the log says why."
    with database.begin() as conn:
        conn.execute(
            text("""
                update ops.reconciliation_runs set state = 'failed', finished_at = clock_timestamp(), error = :why
                where run_id = :run_id
            """),
            {"run_id": begun.run_id, "why": why},
        )


def _changed(conn: Connection, since: datetime) -> pl.DataFrame:
    rows = conn.execute(text("select source, external_id from ops.orders where changed_at >= :since"), {"since": since})
    return pl.DataFrame([tuple(row) for row in rows], dict.fromkeys(_KEY, pl.String), orient="row")


def _once(keys: pl.DataFrame) -> pl.DataFrame:
    return keys.unique(maintain_order=True)


_LAST = text("""
select
    (
        select seen_up_to from ops.reconciliation_runs
        where system = :system and state = 'done' order by run_id desc limit 1
    ) as seen_up_to,
    (
        select stated from ops.reconciliation_runs
        where system = :system and state = 'done' and scope = 'all' order by run_id desc limit 1
    ) as whole_stated,
    not exists (
        select from ops.reconciliation_runs
        where system = :system and state = 'done' and scope = 'all'
            and started_at > now() - cast(:all_every as interval)
    ) as whole_is_old
""")
_DONE = text("""
update ops.reconciliation_runs set
    state = 'done', finished_at = clock_timestamp(), seen_up_to = :seen_up_to, stated = :stated, bad_rows = :bad_rows,
    ours = :ours, buckets = cast(:buckets as jsonb), found = cast(:found as jsonb), repaired = :repaired
where run_id = :run_id
""")
