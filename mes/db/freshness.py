"""Decides whether a streaming replica is fresh enough to answer a reader, by positions in the write-ahead log."""

import math
from collections.abc import Iterable
from dataclasses import dataclass

from sqlalchemy import Connection, text

from mes.observability.metrics import ReadReason


@dataclass(frozen=True)
class Primary:
    """Where the primary stands, as positions in its log, bytes: what can be seen there, and what replicas can have."""

    visible: int
    flushed: int
    system: int


@dataclass(frozen=True)
class Replica:
    """Where the replica stands; `replayed` is None when it has never replayed anything."""

    replayed: int | None
    in_recovery: bool
    system: int


@dataclass(frozen=True)
class Sample:
    """At a moment of the monotonic clock, seconds, the primary had written all of its log up to here."""

    at: float
    flushed: int


def lag_s(samples: Iterable[Sample], replayed: int, now: float) -> float:
    """How old the replica's picture of the primary is at most, seconds; infinite when older than all samples.

    It is measured by positions and our own clock alone, so that neither an idle primary nor a wrong clock looks like
    lag, and a replica that is cut off does.
    """
    return now - max((sample.at for sample in samples if sample.flushed <= replayed), default=-math.inf)


def judge(replica: Replica, system: int, must_show: int, lag: float, lag_max: float) -> ReadReason:
    """Whether a replica may answer somebody who must be shown the log up to `must_show`; if not, why."""
    if not replica.in_recovery or replica.replayed is None or replica.system != system:
        return ReadReason.NOT_A_REPLICA
    if replica.replayed < must_show:
        return ReadReason.BEHIND_READER
    return ReadReason.FRESH if lag <= lag_max else ReadReason.LAG


def primary(conn: Connection) -> Primary:
    """Where the primary stands now."""
    # What can be seen has been flushed, unless commits don't wait for that. The insert position alone would do too, but
    # what reads write (pruning) stays unflushed for up to 15 s, in which an idle primary's replica would not reach it.
    sql = """
        select
            (case current_setting('synchronous_commit')
                when 'off' then pg_current_wal_insert_lsn() else pg_current_wal_flush_lsn()
            end - '0/0')::bigint as visible,
            (pg_current_wal_flush_lsn() - '0/0')::bigint as flushed,
            system_identifier
        from pg_control_system()
    """
    row = conn.execute(text(sql)).one()
    return Primary(row.visible, row.flushed, row.system_identifier)


def replica(conn: Connection) -> Replica:
    """Where the replica stands now; what the same connection reads after this is no older."""
    sql = """
        select
            (pg_last_wal_replay_lsn() - '0/0')::bigint as replayed,
            pg_is_in_recovery() as in_recovery,
            system_identifier
        from pg_control_system()
    """
    row = conn.execute(text(sql)).one()
    return Replica(row.replayed, row.in_recovery, row.system_identifier)
