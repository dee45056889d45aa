"""Decides whether a streaming replica is fresh enough to answer a reader, by positions in the write-ahead log."""

import math
from collections.abc import Iterable
from dataclasses import dataclass

from sqlalchemy import Connection, text

from mes.observability.metrics import ReadReason

# of the write-ahead log: XLOG_BLCKSZ, SizeOfXLogShortPHD, SizeOfXLogLongPHD
_PAGE_BYTES, _PAGE_HEADER_BYTES, _SEGMENT_HEADER_BYTES = 8192, 24, 40


@dataclass(frozen=True)
class Primary:
    """Where the primary stands: ends of the written-ahead log, as bytes, and the identifier of its cluster."""

    inserted: int
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
    # of the insert position, since a commit that waits for no disk is seen before it is flushed
    sql = """
        select
            (pg_current_wal_insert_lsn() - '0/0')::bigint as inserted,
            (pg_current_wal_flush_lsn() - '0/0')::bigint as flushed,
            pg_size_bytes(current_setting('wal_segment_size')) as segment_bytes,
            system_identifier
        from pg_control_system()
    """
    row = conn.execute(text(sql)).one()
    return Primary(_end_of_record(row.inserted, row.segment_bytes), row.flushed, row.system_identifier)


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


def _end_of_record(position: int, segment_bytes: int) -> int:
    """The end of the last record.

    Where it ends with a page, the insert position lies behind the header of the next, so that a replica would reach it
    only with the next record: up to 15 s later while the primary is idle, for instance after a backup.
    """
    header = _SEGMENT_HEADER_BYTES if position % segment_bytes < _PAGE_BYTES else _PAGE_HEADER_BYTES
    return position - header if position % _PAGE_BYTES == header else position
