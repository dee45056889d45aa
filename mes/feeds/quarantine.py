"""Keeps the rows that could not be used, each with file, line, reason and what to do, until they are mended."""

from enum import StrEnum

import polars as pl
from sqlalchemy import Connection, text

from mes.db.copy import copy_frame
from mes.feeds.catalogue import Feed

LONGEST_CONTENT = 2_000
LONGEST_REASON = 500


class Stage(StrEnum):
    """Where a row was refused; one that waits is good, but of no use before its order comes."""

    READ = "read"
    APPLY = "apply"
    WAIT = "wait"


def replace(conn: Connection, feed: Feed, stage: Stage, faults: pl.DataFrame, files: list[str] | None = None) -> int:
    """Make `faults` (`file`, `line`, `raw`, `kind`, `reason`, `advice`) the open ones of these files at this stage.

    Without `files`, of all files of the feed, those that are gone among them. The same fault again keeps its first
    date; what is no longer found is resolved. Gives how many are open.
    """
    conn.execute(text("create temporary table found (like ops.quarantine) on commit drop"))
    conn.execute(
        text(
            "alter table found drop column quarantine_id, alter first_seen_at drop not null, "
            "alter last_seen_at drop not null, alter content_hash drop not null"
        )
    )
    copy_frame(
        conn,
        faults.select(
            pl.lit(feed.name).alias("feed"),
            "file",
            "line",
            pl.lit(stage.value).alias("stage"),
            "kind",
            _storable("reason", LONGEST_REASON),
            "advice",
            _storable("raw", LONGEST_CONTENT).alias("content"),
        ),
        "found",
    )
    conn.execute(
        text("""
        insert into ops.quarantine (feed, file, line, stage, kind, reason, advice, content, content_hash)
        select feed, file, line, stage, kind, reason, advice, content, md5(content) from found
        on conflict (feed, file, line, stage, content_hash) do update
            set last_seen_at = now(), resolved_at = null,
                kind = excluded.kind, reason = excluded.reason, advice = excluded.advice
    """)
    )
    conn.execute(
        text("""
            update ops.quarantine as kept set resolved_at = now()
            where feed = :feed and stage = :stage and resolved_at is null
              and (cast(:files as text[]) is null or file = any(cast(:files as text[])))
              and not exists (
                select from found
                where found.file = kept.file and found.line = kept.line and md5(found.content) = kept.content_hash)
        """),
        {"feed": feed.name, "stage": stage.value, "files": files},
    )
    conn.execute(text("drop table found"))
    return faults.height


def _storable(name: str, longest: int) -> pl.Expr:
    """Cut short, and without the NUL that Postgres' text cannot hold; a reason may quote it."""
    return pl.col(name).str.slice(0, longest).str.replace_all("\x00", "\\u0000", literal=True)


def open_by_kind(conn: Connection, feed: Feed) -> dict[str, int]:
    """How many rows of a feed wait to be mended, by kind."""
    rows = conn.execute(
        text("""
            select kind, count(*) as waiting from ops.quarantine
            where feed = :feed and resolved_at is null group by kind order by kind
        """),
        {"feed": feed.name},
    )
    return {row.kind: row.waiting for row in rows}
