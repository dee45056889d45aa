"""Lands a feed's rows in `raw`, once each, and keeps every month as Parquet."""

from collections.abc import Collection
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from datetime import date, datetime

import polars as pl
from sqlalchemy import Connection, text

from mes.db import tables
from mes.db.copy import copy_frame
from mes.feeds import archive, quarantine
from mes.feeds.catalogue import FEEDS, Feed, Kind
from mes.feeds.check import CheckedRows, check
from mes.feeds.files import FeedFolder, UnreadableFeed
from mes.feeds.profile import profile
from mes.feeds.read import FAULT_COLUMNS, read
from mes.models.store import ObjectStore

_ORDER_CONTENT = (
    "placed_at, due_at, updated_at, customer_external_id, customer_name, tier, currency, paid, rush, status, items"
)
_KEYS = {
    "shop_orders": "external_id, row_hash",
    "crm_orders": "external_id, row_hash",
    "crm_order_events": "event_id",
    "legacy_status_history": "source, external_id, type, occurred_at",
}


@dataclass(frozen=True)
class Landed:
    """What one load did: good rows of the asked months, how many were new or changed, and how many were refused.

    `quarantined` counts all months; `ignored_files` lie beside the feed's files and belong to no feed.
    """

    files: list[str]
    rows: int
    new: int
    changed: int
    repeated: int
    quarantined: int
    ignored_files: list[str] = field(default_factory=list)
    months: dict[str, int] = field(default_factory=dict)
    profile: list[dict[str, str]] = field(default_factory=list)


def months_in(feed: Feed, folder: FeedFolder, *, now: datetime, since: datetime) -> set[date]:
    """The months (first days) that the feed's files hold good rows of."""
    found: set[date] = set()
    for file in folder.files(feed):
        found.update(check(feed, read(feed, file), now=now, since=since).good["month"])
    return found


def readable_months(folder: FeedFolder, *, now: datetime, since: datetime) -> tuple[set[date], dict[str, str]]:
    """The months (first days) that the feeds hold good rows of; and of each feed that cannot be read, why."""
    months: set[date] = set()
    unreadable: dict[str, str] = {}
    for feed in FEEDS:
        try:
            months |= months_in(feed, folder, now=now, since=since)
        except UnreadableFeed as error:
            unreadable[feed.name] = str(error)
    return months, unreadable


def load(
    conn: Connection,
    feed: Feed,
    folder: FeedFolder,
    store: ObjectStore,
    months: Collection[date] | None,
    *,
    now: datetime,
    since: datetime,
) -> Landed:
    """Load the rows of `months` (first days; None: of all) from all of the feed's files, in the caller's transaction.

    Every file is read whole, so the same rows are refused whatever months are asked for. Two loads of one feed wait
    for each other.

    Raises:
        UnreadableFeed: a file cannot be read as a whole; the caller's transaction should roll back.
        DamagedArchive: a month that is kept as Parquet cannot be read; likewise.
    """
    conn.execute(text("select pg_advisory_xact_lock(hashtextextended(:table, 0))"), {"table": feed.table})
    good, bad, files = _read_all(feed, folder, now, since)
    unique, reused = _without_reused_ids(conn, feed, good)
    wanted = set(unique["month"]) if months is None else set(months)
    asked = unique.filter(pl.col("month").is_in(list(wanted)))
    faults = pl.concat([bad, reused])
    # the archive and the profile need this process, not the database: they are made while that is busy
    with ThreadPoolExecutor(max_workers=1, thread_name_prefix="landing") as beside:
        kept = beside.submit(archive.keep, store, feed, asked, wanted)
        profiled = beside.submit(profile, asked.drop("raw"))
        new, changed = _insert(conn, feed, asked)
        # no file at all is more likely a wrong place than a feed without faults
        if files:
            quarantine.replace(conn, feed, quarantine.Stage.READ, faults)
            _note_load(conn, feed, good.height)
        kept.result()
    return Landed(
        files=files,
        rows=asked.height,
        new=new,
        changed=changed,
        repeated=asked.height - new,
        quarantined=faults.height,
        ignored_files=folder.ignored(feed),
        months={str(row[0]): row[1] for row in asked.group_by("month").len().sort("month").iter_rows()},
        profile=profiled.result(),
    )


def _note_load(conn: Connection, feed: Feed, rows: int) -> None:
    conn.execute(
        text("""
            insert into ops.feed_loads (feed, loaded_at, rows) values (:feed, clock_timestamp(), :rows)
            on conflict (feed) do update set loaded_at = excluded.loaded_at, rows = excluded.rows
        """),
        {"feed": feed.name, "rows": rows},
    )


def _read_all(
    feed: Feed, folder: FeedFolder, now: datetime, since: datetime
) -> tuple[pl.DataFrame, pl.DataFrame, list[str]]:
    goods: list[pl.DataFrame] = []
    bads: list[pl.DataFrame] = [pl.DataFrame(schema={**FAULT_COLUMNS, "file": pl.String})]
    files: list[str] = []
    for file in folder.files(feed):
        rows = read(feed, file)
        checked: CheckedRows = check(feed, rows, now=now, since=since)
        goods.append(
            checked.good.with_columns(file=pl.lit(file.path)).join(
                rows.good.select("line", "raw"), on="line", how="left", maintain_order="left"
            )
        )
        bads.append(checked.bad.with_columns(file=pl.lit(file.path)))
        files.append(file.path)
    return pl.concat(goods) if goods else _no_rows(feed), pl.concat(bads), files


def _no_rows(feed: Feed) -> pl.DataFrame:
    table = tables.metadata.tables[feed.table]
    own = [column.name for column in table.columns if column.name not in {"row_hash", "loaded_at", "applied_at"}]
    return pl.DataFrame(schema={**dict.fromkeys(own, pl.String), "month": pl.Date, "raw": pl.String})


def _without_reused_ids(conn: Connection, feed: Feed, frame: pl.DataFrame) -> tuple[pl.DataFrame, pl.DataFrame]:
    """Set aside events whose id already stands for another event: one of the two is wrong, and a person must say."""
    faults = pl.DataFrame(schema={**FAULT_COLUMNS, "file": pl.String})
    if feed.kind is not Kind.EVENT or "event_id" not in frame.columns or frame.is_empty():
        return frame, faults
    content = ["source", "external_id", "sequence", "type", "occurred_at"]
    known = pl.DataFrame(
        [
            tuple(row)
            for row in conn.execute(
                text(f"select event_id, {', '.join(content)} from {feed.table} where event_id = any(:ids)"),
                {"ids": frame["event_id"].to_list()},
            )
        ],
        schema={name: frame.schema[name] for name in ["event_id", *content]},
        orient="row",
    )
    first = pl.concat([known, frame.select("event_id", *content)]).unique("event_id", keep="first", maintain_order=True)
    reused = frame.join(first, on=["event_id", *content], how="anti")
    told = reused.select(
        "line",
        "raw",
        kind=pl.lit("event_id_reused"),
        reason=pl.format("event id '{}' already stands for another event", "event_id"),
        advice=pl.lit("Ask the sender which of the two events is right, and to give the other an id of its own."),
        file="file",
    )
    return frame.join(first, on=["event_id", *content], how="semi"), pl.concat([faults, told])


def _insert(conn: Connection, feed: Feed, frame: pl.DataFrame) -> tuple[int, int]:
    conn.execute(text(f"create temporary table landing (like {feed.table}) on commit drop"))
    for column in ("row_hash", "loaded_at", "applied_at"):
        conn.execute(text(f"alter table landing drop column if exists {column}"))
    copy_frame(conn, frame.drop("raw"), "landing")
    names = ", ".join(name for name in frame.columns if name not in {"raw", "items"})
    if feed.kind is Kind.ORDER:
        names += ", items"
        values = names.removesuffix(", items") + f", items -> 'items', md5(row({_ORDER_CONTENT})::text)"
        columns = names + ", row_hash"
        known = f"exists (select from {feed.table} as kept where kept.external_id = inserted.external_id)"
    else:
        columns = values = names
        known = "false"
    counted = conn.execute(
        text(f"""
        with inserted as (
            insert into {feed.table} ({columns}) select {values} from landing order by file, line
            on conflict ({_KEYS[feed.name]}) do nothing
            returning *
        )
        select count(*), count(*) filter (where {known}) from inserted
    """)
    ).one()
    conn.execute(text("drop table landing"))
    return int(counted[0]), int(counted[1])
