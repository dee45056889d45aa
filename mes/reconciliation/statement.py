"""Reads what another system says of the orders that it knows, wherever it says so, whatever its quality."""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC

import polars as pl

from mes.feeds.catalogue import Feed, Kind
from mes.feeds.files import FeedFile, FeedFolder, UnreadableFeed
from mes.feeds.read import read
from mes.orders.life import Status
from mes.reconciliation.model import StatementMissing, StatementUnusable

SCHEMA = {
    "source": pl.String,
    "external_id": pl.String,
    "status": pl.String,
    "version": pl.Int64,
    "sent": pl.Int64,
    "updated_at": pl.Datetime("us", "UTC"),
}
LARGEST_FILE = 4 * 1024**3
_FAULTS_KEPT = 20
_LAST = 2**31 - 1
_TEXT = pl.String()
_STATED = pl.Struct(dict.fromkeys(("external_id", "status", "updated_at", "source", "version", "sent"), _TEXT))
_ORDER = pl.Struct({"source": _TEXT, "external_id": _TEXT})
_NUMBERED = pl.Struct({"order": _ORDER, "sequence": _TEXT})


@dataclass(frozen=True)
class Statement:
    """Orders as SCHEMA has them, each once; `bad_rows` could not be read, `faults` says why of the first.

    `unread` are the orders that those rows name: nobody knows what is stated of them.
    `asked`: it states no more than these orders and what changed lately; None when it states all that the system knows.
    """

    orders: pl.DataFrame
    unread: pl.DataFrame
    bad_rows: int = 0
    faults: tuple[str, ...] = ()
    asked: pl.DataFrame | None = None

    @property
    def complete(self) -> bool:
        """Whether an order that it does not name is not known there."""
        return self.asked is None


def from_files(system: str, location: str) -> Statement:
    """What a system's exports say: `<system>/orders`, and the numbers of its own events, `<system>/order_events`.

    Raises:
        StatementMissing: there is no export of orders.
        StatementUnusable: a file as a whole is not what its name says.
    """
    folder = FeedFolder(location, setting=f"MES_{system.upper()}_STATEMENT_URL")
    orders = Feed("statement", system, f"{system}/orders", Kind.ORDER, _STATED, "updated_at")
    events = Feed("statement_events", system, f"{system}/order_events", Kind.EVENT, _NUMBERED, "occurred_at")
    try:
        stated = [_read(orders, file) for file in folder.files(orders)]
        if not stated:
            raise StatementMissing(f"No file {orders.stem}*.jsonl, .csv or .parquet lies at {location}.")
        numbered = [_read(events, file) for file in folder.files(events)]
    except UnreadableFeed as error:
        raise StatementUnusable(str(error)) from error
    found = pl.concat([rows for rows, _ in stated]).with_columns(pl.col("source").fill_null(system))
    sent = pl.concat([rows for rows, _ in numbered]) if numbered else pl.DataFrame(schema={"order": _ORDER})
    faults = [fault for _, some in (*stated, *numbered) for fault in some]
    return clean(found, faults, sent=_last_sent(sent))


def clean(rows: pl.DataFrame, faults: Iterable[str], *, sent: pl.DataFrame | None = None) -> Statement:
    """Typed rows of text rows, each order once (as last updated); what cannot be is set aside."""
    typed = rows.select(
        pl.col("source").str.strip_chars(),
        pl.col("external_id").str.strip_chars(),
        pl.col("status").str.strip_chars().replace("", None).alias("status"),
        *(pl.col(name).str.strip_chars().replace("", None).alias(name) for name in ("version", "sent")),
        _moment().alias("updated_at"),
        pl.col("updated_at").is_not_null().alias("dated"),
    ).with_columns(*(pl.col(name).cast(pl.Int64, strict=False).alias(f"{name}_number") for name in ("version", "sent")))
    checked = typed.with_columns(fault=_fault())
    bad = checked.filter(pl.col("fault").is_not_null())
    good = checked.filter(pl.col("fault").is_null()).select(
        *("source", "external_id", "status"),
        pl.col("version_number").alias("version"),
        pl.col("sent_number").alias("sent"),
        "updated_at",
    )
    latest = good.sort("updated_at", nulls_last=False, maintain_order=True).unique(
        ["source", "external_id"], keep="last", maintain_order=True
    )
    told = [*faults, *(f"{who}: {fault}" for who, fault in bad.select("external_id", "fault").iter_rows())]
    unread = bad.filter(_is_named()).select("source", "external_id").unique(maintain_order=True)
    return Statement(_with_sent(latest, sent), unread, len(told), tuple(told[:_FAULTS_KEPT]))


def _read(feed: Feed, file: FeedFile) -> tuple[pl.DataFrame, list[str]]:
    if len(file.content) > LARGEST_FILE:
        raise StatementUnusable(f"{file.path} is larger than {LARGEST_FILE:,} bytes.")
    rows = read(feed, file)
    faults = [f"{file.path}, line {line}: {reason}" for line, reason in rows.bad.select("line", "reason").iter_rows()]
    return rows.good.drop("line", "raw"), faults


def _moment() -> pl.Expr:
    return pl.col("updated_at").str.strip_chars().str.to_datetime(time_unit="us", time_zone=str(UTC), strict=False)


def _is_named() -> pl.Expr:
    return pl.all_horizontal(
        pl.col(name).str.len_chars().is_between(1, 200) & ~pl.col(name).str.contains(r"\p{Cc}")
        for name in ("source", "external_id")
    ).fill_null(value=False)


def _fault() -> pl.Expr:
    return (
        pl.when(~_is_named())
        .then(pl.lit("`external_id` must be printable text of 1 to 200 characters"))
        .when(pl.col("status").is_not_null() & ~pl.col("status").is_in([status.value for status in Status]))
        .then(pl.lit(f"`status` must be one of {', '.join(Status)}"))
        .when(pl.col("dated") & pl.col("updated_at").is_null())
        .then(pl.lit("`updated_at` must be a time with its zone, like 2026-11-22T08:15:00Z"))
        .when(~_counts("version") | ~_counts("sent"))
        .then(pl.lit("`version` and `sent` must be whole numbers from 0"))
        .otherwise(None)
    )


def _counts(name: str) -> pl.Expr:
    return pl.col(name).is_null() | pl.col(f"{name}_number").is_between(0, _LAST).fill_null(value=False)


def _last_sent(events: pl.DataFrame) -> pl.DataFrame:
    """The highest number that they have given an event of each order."""
    empty = {"source": pl.String, "external_id": pl.String, "last": pl.Int64}
    if events.is_empty():
        return pl.DataFrame(schema=empty)
    return (
        events.select(
            pl.col("order").struct.field("source"),
            pl.col("order").struct.field("external_id"),
            pl.col("sequence").cast(pl.Int64, strict=False).alias("last"),
        )
        .drop_nulls()
        .filter(pl.col("last").is_between(1, _LAST))
        .group_by("source", "external_id")
        .agg(pl.col("last").max())
    )


def _with_sent(orders: pl.DataFrame, sent: pl.DataFrame | None) -> pl.DataFrame:
    """Orders of which only events are known are stated, too, without a status."""
    if sent is None or sent.is_empty():
        return orders.select(*SCHEMA).cast(SCHEMA)  # type: ignore[arg-type]
    both = orders.join(sent, on=["source", "external_id"], how="full", coalesce=True)
    return both.with_columns(pl.max_horizontal("sent", "last").alias("sent")).select(*SCHEMA).cast(SCHEMA)  # type: ignore[arg-type]
