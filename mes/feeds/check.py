"""Holds each row of a feed against the rules of the business; the rows that pass come out typed."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

import polars as pl

from mes.feeds.catalogue import Feed, Kind
from mes.feeds.read import FAULT_COLUMNS, RowSet
from mes.orders.life import Status
from mes.pricing.materials import MATERIALS
from mes.pricing.options import LONGEST_SIDE_MAX_MM, QUANTITY_MAX, Finish, Tier

TIERS = tuple(Tier)
SOURCES = ("shop", "crm")
LONGEST_ID = 200
LONGEST_NAME = 500
# bytes; an index of Postgres holds 2,704 at most, and no file system has a longer path in use
LONGEST_MODEL = 1_000
# orders are promised within months; a later date is a broken clock or a broken field
LONGEST_PROMISE = timedelta(days=3653)
# senders' clocks may be a little ahead of ours
CLOCK_TOLERANCE = timedelta(hours=1)
_TIME = "time of {}"
_ORDER_TIMES = ("placed_at", "due_at", "updated_at")
_EVENT_TIMES = ("occurred_at",)
_RESEND = "Ask the sender to correct the row and export it again."


@dataclass(frozen=True)
class Rule:
    """A row is refused where `broken` is true (or unknown); `reason` says what is wrong with it."""

    kind: str
    broken: pl.Expr
    reason: pl.Expr
    advice: str = _RESEND


@dataclass(frozen=True)
class CheckedRows:
    """Rows that passed, typed as their landing table; and all that did not (FAULT_COLUMNS)."""

    good: pl.DataFrame
    bad: pl.DataFrame


def check(feed: Feed, rows: RowSet, *, now: datetime, since: datetime) -> CheckedRows:
    """Check and type the rows of one file; times must lie between `since` and `now`."""
    rules = order_rules(now, since) if feed.kind is Kind.ORDER else event_rules(feed, now, since)
    frame = rows.good if feed.kind is Kind.EVENT else _with_item_faults(_without_null_items(rows.good))
    frame = _with_times(frame, _ORDER_TIMES if feed.kind is Kind.ORDER else _EVENT_TIMES)
    verdicts = frame.with_columns(_first_broken(rules).alias("fault"))
    bad = verdicts.filter(pl.col("fault").is_not_null()).select("line", "raw", pl.col("fault").struct.unnest())
    good = verdicts.filter(pl.col("fault").is_null())
    typed = good.select(_order_columns() if feed.kind is Kind.ORDER else _event_columns(feed))
    return CheckedRows(typed, pl.concat([rows.bad, bad.select(FAULT_COLUMNS.keys())]).sort("line"))


def order_rules(now: datetime, since: datetime) -> list[Rule]:
    """The rules for an exported order."""
    customer = pl.col("customer").struct
    return [
        *_key_rules("external_id", pl.col("external_id")),
        *_time_rules("placed_at", now, since),
        *_time_rules("updated_at", now, since),
        Rule(
            "wrong_type", _given("due_at") & _time("due_at").is_null(), _quote("due_at", "is no ISO 8601 time in UTC")
        ),
        Rule(
            "times_out_of_order",
            _given("due_at") & (_time("due_at") < _time("placed_at")),
            pl.format("due at {}, before it was placed at {}", "due_at", "placed_at"),
        ),
        Rule(
            "time_too_late",
            _given("due_at") & (_time("due_at") > _time("placed_at") + LONGEST_PROMISE),
            _quote("due_at", "is more than ten years after it was placed"),
        ),
        *_key_rules("customer.external_id", customer.field("external_id")),
        *_text_rules("customer.name", customer.field("name"), LONGEST_NAME),
        Rule(
            "unknown_tier",
            ~customer.field("tier").fill_null("retail").is_in(TIERS),
            pl.format("customer tier '{}' is none of " + ", ".join(TIERS), customer.field("tier")),
        ),
        Rule(
            "unknown_currency",
            pl.col("currency").fill_null("USD") != "USD",
            pl.format("currency '{}' is not USD", "currency"),
        ),
        Rule(
            "wrong_type",
            _given("paid") & ~_decimal("paid").ge(0).fill_null(value=False),
            _quote("paid", "is no amount of money"),
        ),
        Rule("wrong_type", _given("rush") & _flag("rush").is_null(), _quote("rush", "is neither true nor false")),
        *_status_rules("status"),
        Rule(
            "no_items",
            pl.col("items").list.len().fill_null(0) == 0,
            pl.lit("the order has no items"),
        ),
        Rule(
            "bad_item",
            pl.col("item_fault").is_not_null(),
            pl.col("item_fault").struct.field("reason"),
        ),
    ]


def item_rules() -> list[Rule]:
    """The rules for one item of an exported order (columns of the item, unnested)."""
    return [
        Rule("wrong_type", ~_between("line", 1, 32_767), _quote("line", "is no line number")),
        Rule("missing_model", ~_given("model"), pl.lit("the item names no model")),
        Rule(
            "wrong_type",
            pl.col("model").str.len_bytes() > LONGEST_MODEL,
            pl.lit(f"the model's path is longer than {LONGEST_MODEL:,} bytes"),
        ),
        Rule("wrong_type", _text_fault(pl.col("model")), pl.lit("the model's path holds control characters")),
        Rule("unknown_material", ~_is_known("material", MATERIALS), _unknown("material", MATERIALS)),
        Rule("unknown_finish", ~_is_known("finish", tuple(Finish)), _unknown("finish", tuple(Finish))),
        Rule(
            "wrong_type",
            ~_between("quantity", 1, QUANTITY_MAX),
            _quote("quantity", f"is no whole number from 1 to {QUANTITY_MAX:,}"),
        ),
        Rule(
            "wrong_type",
            _given("longest_side_mm")
            & ~_decimal("longest_side_mm").is_between(0, LONGEST_SIDE_MAX_MM, closed="right").fill_null(value=False),
            _quote("longest_side_mm", f"is no length in mm up to {LONGEST_SIDE_MAX_MM:,}"),
        ),
    ]


def event_rules(feed: Feed, now: datetime, since: datetime) -> list[Rule]:
    """The rules for an exported event."""
    order = pl.col("order").struct
    rules = [
        Rule(
            "unknown_source",
            ~order.field("source").is_in(SOURCES).fill_null(value=False),
            pl.format(
                "order source '{}' is none of " + ", ".join(SOURCES), order.field("source").fill_null("(missing)")
            ),
        ),
        *_key_rules("order.external_id", order.field("external_id")),
        *_status_rules("type"),
        *_time_rules("occurred_at", now, since),
    ]
    if "event_id" in dict(feed.schema):
        rules += [
            *_key_rules("event_id", pl.col("event_id")),
            Rule("wrong_type", ~_between("sequence", 1, 2**31 - 1), _quote("sequence", "is no whole number from 1")),
        ]
    return rules


def _without_null_items(frame: pl.DataFrame) -> pl.DataFrame:
    """Looking for nulls is a twentieth of the work of dropping them, and there are hardly ever any."""
    items = pl.col("items")
    if not frame.select(items.list.eval(pl.element().is_null()).list.any().any()).item():
        return frame
    return frame.with_columns(items.list.drop_nulls())


def _with_times(frame: pl.DataFrame, names: Iterable[str]) -> pl.DataFrame:
    """Add each time as it was understood; the rules ask for it again and again, and each reading costs 1 us a row."""
    return frame.with_columns(
        pl.col(name)
        .str.strip_chars()
        .str.replace(" ", "T")
        .str.to_datetime("%+", time_zone="UTC", strict=False)
        .alias(_TIME.format(name))
        for name in names
    )


def _with_item_faults(frame: pl.DataFrame) -> pl.DataFrame:
    """Add `item_fault` {kind, reason, advice}: of the first item that breaks a rule, saying which."""
    items = (
        frame.select("line", item=pl.col("items"))
        .rename({"line": "row"})
        .explode("item")
        .filter(pl.col("item").is_not_null())
        .with_columns(position=pl.int_range(1, pl.len() + 1).over("row"))
        .unnest("item")
    )
    twice = pl.struct("row", "line").is_duplicated()
    rules = [*item_rules(), Rule("bad_item", twice, pl.format("line {} stands twice", "line"))]
    faults = (
        items.with_columns(_first_broken(rules).alias("item_fault"))
        .filter(pl.col("item_fault").is_not_null())
        .unique("row", keep="first", maintain_order=True)
        .select(
            pl.col("row").alias("line"),
            pl.col("item_fault").struct.with_fields(
                reason=pl.format("item {}: {}", "position", pl.col("item_fault").struct.field("reason"))
            ),
        )
    )
    return frame.join(faults, on="line", how="left", maintain_order="left")


def _first_broken(rules: Iterable[Rule]) -> pl.Expr:
    return pl.coalesce(
        pl.when(rule.broken.fill_null(value=True)).then(
            pl.struct(kind=_kind(rule), reason=rule.reason.fill_null("a value is missing"), advice=pl.lit(rule.advice))
        )
        for rule in rules
    )


def _kind(rule: Rule) -> pl.Expr:
    """An item's fault keeps its own kind."""
    return (
        pl.col("item_fault").struct.field("kind")
        if rule.reason.meta.root_names() == ["item_fault"]
        else pl.lit(rule.kind)
    )


def _key_rules(name: str, value: pl.Expr) -> list[Rule]:
    return [
        Rule(
            "missing_value", value.str.strip_chars().str.len_chars().fill_null(0) == 0, pl.lit(f"`{name}` is missing")
        ),
        *_text_rules(name, value, LONGEST_ID),
    ]


def _text_rules(name: str, value: pl.Expr, longest: int) -> list[Rule]:
    return [
        Rule(
            "wrong_type",
            (value.str.len_chars() > longest).fill_null(value=False),
            pl.lit(f"`{name}` is longer than {longest} characters"),
        ),
        Rule("wrong_type", _text_fault(value), pl.lit(f"`{name}` holds control characters")),
    ]


def _time_rules(name: str, now: datetime, since: datetime) -> list[Rule]:
    return [
        Rule("missing_value", ~_given(name), pl.lit(f"`{name}` is missing")),
        Rule(
            "wrong_type", _time(name).is_null(), _quote(name, "is no ISO 8601 time in UTC, like 2026-11-30T08:15:00Z")
        ),
        Rule("time_in_future", _time(name) > now + CLOCK_TOLERANCE, _quote(name, "lies in the future")),
        Rule(
            "time_too_early",
            _time(name) < since,
            _quote(name, f"is before {since:%Y-%m-%d}, the first day that feeds are kept for"),
            "Correct the time at the sender; if it is right, set MES_FEEDS_SINCE to an earlier month and load again.",
        ),
    ]


def _status_rules(name: str) -> list[Rule]:
    return [Rule("unknown_status", ~_is_known(name, list(Status)), _unknown(name, list(Status)))]


def _given(name: str) -> pl.Expr:
    return pl.col(name).is_not_null() & (pl.col(name).str.strip_chars() != "")


def _time(name: str) -> pl.Expr:
    """ISO 8601 with its zone, as `_with_times` read it; one without could mean anything, so it is refused."""
    return pl.col(_TIME.format(name))


def _decimal(name: str) -> pl.Expr:
    return pl.col(name).str.strip_chars().cast(pl.Decimal(14, 4), strict=False)


def _flag(name: str) -> pl.Expr:
    return pl.col(name).str.to_lowercase().replace_strict({"true": True, "false": False}, default=None)


def _between(name: str, least: int, most: int) -> pl.Expr:
    return pl.col(name).cast(pl.Int64, strict=False).is_between(least, most).fill_null(value=False)


def _is_known(name: str, known: Iterable[str]) -> pl.Expr:
    return pl.col(name).is_in(list(known)).fill_null(value=False)


def _text_fault(value: pl.Expr) -> pl.Expr:
    return value.str.contains(r"[\x00-\x1f]").fill_null(value=False)


def _quote(name: str, fault: str) -> pl.Expr:
    return pl.format("`{}` '{}' {}", pl.lit(name), pl.col(name).fill_null("(missing)"), pl.lit(fault))


def _unknown(name: str, known: Iterable[str]) -> pl.Expr:
    return _quote(name, f"is none of {', '.join(known)}")


def _order_columns() -> Sequence[pl.Expr]:
    customer = pl.col("customer").struct
    return [
        pl.col("external_id").str.strip_chars(),
        _time("placed_at").alias("placed_at"),
        _time("due_at").alias("due_at"),
        _time("updated_at").alias("updated_at"),
        customer.field("external_id").str.strip_chars().alias("customer_external_id"),
        customer.field("name").alias("customer_name"),
        customer.field("tier").fill_null("retail").alias("tier"),
        pl.col("currency").fill_null("USD"),
        _decimal("paid").round(2).cast(pl.Decimal(14, 2)),
        _flag("rush").fill_null(value=False).alias("rush"),
        pl.col("status"),
        _typed_items().alias("items"),
        _month("placed_at"),
        pl.col("line"),
    ]


def _typed_items() -> pl.Expr:
    item = pl.element().struct
    typed = pl.struct(
        line=item.field("line").cast(pl.Int64),
        model=item.field("model").str.strip_chars(),
        material=item.field("material"),
        finish=item.field("finish"),
        quantity=item.field("quantity").cast(pl.Int64),
        longest_side_mm=item.field("longest_side_mm"),
    )
    return pl.struct(pl.col("items").list.eval(typed).alias("items")).struct.json_encode()


def _event_columns(feed: Feed) -> Sequence[pl.Expr]:
    order = pl.col("order").struct
    columns = [
        order.field("source").alias("source"),
        order.field("external_id").str.strip_chars().alias("external_id"),
        pl.col("type"),
        _time("occurred_at").alias("occurred_at"),
        _month("occurred_at"),
        pl.col("line"),
    ]
    if "event_id" in dict(feed.schema):
        columns += [pl.col("event_id").str.strip_chars(), pl.col("sequence").cast(pl.Int32)]
    return columns


def _month(name: str) -> pl.Expr:
    return _time(name).dt.truncate("1mo").dt.date().alias("month")
