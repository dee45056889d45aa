"""Gives every item of an order its quote, from dbt's pricing inputs; many at once, by the same definition as one."""

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import timedelta
from typing import Any
from uuid import UUID

import polars as pl
import structlog
from sqlalchemy import Connection, text

from mes.clock import Clock, utc_now
from mes.db import query
from mes.db.copy import copy_frame, read_frame
from mes.errors import MesError
from mes.orders import repository, service
from mes.orders.life import FINISHED_STATUSES, EventType, Status, System
from mes.orders.model import Actor, NewEvent
from mes.pricing import rate_store
from mes.pricing.cost_model import PROBLEMS, breakdown, price
from mes.pricing.options import Engraving
from mes.pricing.rate_card import RateCard
from mes.pricing.rate_frame import rate_frame
from mes.pricing.stone_lines import STONES

log = structlog.get_logger(__name__)

# a row with its breakdown takes some 3 kB: this keeps a batch under 100 MB
BATCH = 25_000
# below, a parameter is quicker than a temporary table, which also leaves rows in the catalogue behind
ROWS_WORTH_COPYING = 500
# an item is quoted once, whoever asks at the same time; the number is arbitrary and ours
QUOTING_LOCK = 7_203_395
PRICER = Actor(System.MES, "pricing")
NO_RATE_CARD = "No rate card was valid when the order was placed; load one that covers the day (`mes rates load`)."

_INPUTS: dict[str, pl.DataType | type[pl.DataType]] = {
    "order_id": pl.String,
    "line": pl.Int32,
    "model_id": pl.String,
    "kernel_version": pl.Int32,
    "volume_mm3": pl.Float64,
    "area_mm2": pl.Float64,
    "extent_x_mm": pl.Float64,
    "extent_y_mm": pl.Float64,
    "extent_z_mm": pl.Float64,
    "closed": pl.Boolean,
    "facing": pl.String,
    "open_edges": pl.Int64,
    "material": pl.String,
    "finish": pl.String,
    "quantity": pl.Int64,
    "longest_side_mm": pl.Float64,
    "stones": pl.String,
    "engraving": pl.String,
    "rush": pl.Boolean,
    "tier": pl.String,
    "rate_card": pl.String,
    "status": pl.String,
    "is_open": pl.Boolean,
    "placed_at": pl.String,
}
_SELECT = ", ".join("rate_card_id as rate_card" if name == "rate_card" else name for name in _INPUTS)


class InputsNotBuilt(MesError):
    """dbt has not built the pricing inputs yet; run `mes ingest` or `dbt build` first."""

    code = "inputs_not_built"


@dataclass(frozen=True)
class Quoted:
    """What one pass did: quotes made, orders that moved on or were held, and items without a price by problem."""

    quotes: int
    priced_orders: int
    held_orders: int
    problems: dict[str, int]


def quote_items(
    conn: Connection,
    order_ids: Sequence[UUID] | None = None,
    *,
    clock: Clock = utc_now,
    progress: Callable[[int], None] = lambda _done: None,
) -> Quoted:
    """Price all items that have no quote yet: of the open ones among `order_ids`, or of all orders.

    All of it happens in the caller's transaction. A submitted order whose items are all priced moves to
    PRICE_CALCULATED. An open order whose price cannot be trusted (the model is open or inside out, or there is no
    price) is held for a person. History and finished orders get their quotes silently. Open orders are locked first, so
    nobody prices one twice; one that somebody else has locked is waited for if it was named, and left to him if not.

    Raises:
        InputsNotBuilt: dbt has not built `marts.pricing_inputs`.
    """
    if query.flag(conn, "select to_regclass('marts.pricing_inputs') is null"):
        raise InputsNotBuilt
    if order_ids is None:
        conn.execute(text("select pg_advisory_xact_lock(:key)"), {"key": QUOTING_LOCK})
    ours = _lock_open(conn, order_ids)
    inputs = _unpriced(conn, ours, finished_too=order_ids is None)
    cards = rate_store.by_id(conn, inputs["rate_card"].drop_nulls().unique().to_list())
    rates = rate_frame(list(cards.values()))
    problems: dict[str, int] = {}
    reasons: dict[str, dict[str, str]] = {}
    quotes = 0
    for batch in inputs.iter_slices(BATCH):
        priced = price(batch, rates)
        good = priced.filter(pl.col("problem").is_null())
        _write(conn, good, cards)
        for order_id, line, problem in priced.drop_nulls("problem").select("order_id", "line", "problem").iter_rows():
            problems[problem] = problems.get(problem, 0) + 1
            reasons.setdefault(order_id, {})[str(line)] = PROBLEMS[problem]
        quotes += good.height
        progress(quotes)
    outcomes = _conclude(conn, ours, reasons, clock)
    return Quoted(quotes, outcomes["priced"], outcomes["held"], problems)


def _lock_open(conn: Connection, order_ids: Sequence[UUID] | None) -> list[UUID]:
    """Lock the open ones of these orders, or of all that wait for a price; gives which, by id."""
    finished = [status.value for status in FINISHED_STATUSES]
    which = "order_id = any(:ids)"
    if order_ids is None:
        which = """(
            order_id in (select order_id from ops.order_items where quote_id is null)
            or status = 'SUBMITTED' and held_since is null
        )"""
    rows = conn.execute(
        text(f"""
            select order_id from ops.orders
            where {which} and status <> all (cast(:finished as ops.order_status[]))
            order by order_id for no key update {"skip locked" if order_ids is None else ""}
        """),
        {"finished": finished} | ({"ids": list(order_ids)} if order_ids is not None else {}),
    )
    return [row.order_id for row in rows]


def _unpriced(conn: Connection, ours: Sequence[UUID], *, finished_too: bool) -> pl.DataFrame:
    which = "quote_id is null and (order_id = any(%(ids)s::uuid[])" + (" or not is_open)" if finished_too else ")")
    # `placed_at` comes as ISO 8601, whatever DateStyle says
    select = _SELECT.replace("placed_at", "to_json(placed_at) #>> '{}'")
    rows = f"select {select} from marts.pricing_inputs where {which} order by order_id, line"
    frame = read_frame(conn, rows, _INPUTS, ids=[str(order_id) for order_id in ours])
    return frame.with_columns(
        pl.col("stones").str.json_decode(STONES) if frame["stones"].count() else pl.lit(None, STONES).alias("stones"),
        pl.col("engraving").map_elements(_characters, return_dtype=pl.Int64).fill_null(0).alias("engraving_characters"),
        pl.col("engraving").alias("engraving_json"),
        pl.col("stones").alias("stones_json"),
        pl.col("placed_at").str.to_datetime("%+", time_zone="UTC"),
    )


def _characters(engraving: str) -> int:
    return Engraving.model_validate_json(engraving).characters


def _write(conn: Connection, priced: pl.DataFrame, cards: dict[str, RateCard]) -> None:
    if priced.is_empty():
        return
    valid_days = {card_id: timedelta(days=card.terms.quote_valid_days) for card_id, card in cards.items()}
    rows = priced.select(
        "order_id",
        "line",
        "model_id",
        "kernel_version",
        pl.col("rate_card").alias("rate_card_id"),
        "material",
        "finish",
        "quantity",
        "longest_side_mm",
        "rush",
        "tier",
        pl.col("stones_json").alias("stones"),
        pl.col("engraving_json").alias("engraving"),
        "total",
        "currency",
        (pl.col("placed_at") + pl.col("rate_card").replace_strict(valid_days, return_dtype=pl.Duration("us"))).alias(
            "valid_until"
        ),
    ).with_columns(pl.Series("breakdown", [_as_json(row) for row in priced.iter_rows(named=True)], dtype=pl.String))
    if rows.height <= ROWS_WORTH_COPYING:
        source = "jsonb_populate_recordset(null::ops.quotes, cast(:rows as jsonb))"
        conn.execute(text(_keep(rows.columns, source)), {"rows": _rows_as_json(rows)})
        return
    conn.execute(text("create temporary table quoted (like ops.quotes including defaults) on commit drop"))
    copy_frame(conn, rows, "quoted")
    conn.execute(text(_keep(rows.columns, "quoted")))
    conn.execute(text("drop table quoted"))


def _keep(columns: Sequence[str], source: str) -> str:
    """Quotes made of a source's rows, each superseding the older ones of its item and becoming the item's price."""
    names = ", ".join(columns)
    return f"""
        with made as materialized (
            insert into ops.quotes ({names}) select {names} from {source} returning quote_id, order_id, line
        ), superseded as (
            update ops.quotes as older set superseded_by = made.quote_id
            from made
            where older.order_id = made.order_id and older.line = made.line and older.superseded_by is null
        )
        update ops.order_items as item set quote_id = made.quote_id
        from made where item.order_id = made.order_id and item.line = made.line
    """


def _rows_as_json(rows: pl.DataFrame) -> str:
    parts = {"stones", "engraving", "breakdown"}  # JSON already
    return json.dumps(
        [
            {name: json.loads(value) if name in parts and value else value for name, value in row.items()}
            for row in rows.iter_rows(named=True)
        ],
        default=str,
    )


def _as_json(row: dict[str, Any]) -> str:
    return json.dumps([asdict(line) for line in breakdown(row)], default=str)


def _conclude(
    conn: Connection, open_orders: Sequence[UUID], reasons: Mapping[str, Mapping[str, str]], clock: Clock
) -> dict[str, int]:
    """Move or hold the open orders that were looked at; one by one, since each is a decision with its event."""
    done = {"priced": 0, "held": 0}
    for order_id in open_orders:
        order = repository.lock(conn, order_id)
        total, was, doubts = _state(conn, order_id, reasons.get(str(order_id), {}))
        if (
            total is not None
            and was is not None
            and was != total
            and order.status not in {Status.INITIATED, Status.SUBMITTED}
        ):
            event = NewEvent(EventType.REPRICED, clock(), PRICER, data={"total": {"from": str(was), "to": str(total)}})
            order = repository.change(conn, order, order, event)
        if total is not None and order.status is Status.SUBMITTED and not order.held:
            order = service.transition(conn, order_id, Status.PRICE_CALCULATED, PRICER, clock=clock)
            done["priced"] += 1
            log.info("order priced", order_id=str(order_id), total=str(total), version=order.version)
        if doubts and not order.held:
            service.hold(conn, order_id, PRICER, doubts, clock=clock)
            done["held"] += 1
            log.info("order held", order_id=str(order_id), reason=doubts)
    return done


def _state(conn: Connection, order_id: UUID, reasons: Mapping[str, str]) -> tuple[Any, Any, str]:
    row = conn.execute(
        text("""
            select
                case when bool_and(quotes.quote_id is not null) then sum(quotes.total) end as total,
                case when bool_and(older.total is not null) then sum(older.total) end as was,
                coalesce(string_agg(doubt.reason, '; ' order by items.line), '') as doubts
            from marts.pricing_inputs as items
            left join ops.quotes using (quote_id)
            left join lateral (
                select total from ops.quotes as earlier
                where earlier.order_id = items.order_id and earlier.line = items.line
                    and earlier.superseded_by = items.quote_id
                limit 1
            ) as older on true
            cross join lateral (
                select 'item ' || items.line || ': ' || case
                    when not items.closed then
                        'the model is open at ' || items.open_edges || ' edges, so its volume and price are a guess'
                    when items.facing <> 'outward' then
                        'the model is turned inside out (' || items.facing || '), so its volume and price are a guess'
                    when items.rate_card_id is null then :no_rate_card
                    when items.quote_id is null then 'there is no price for it: '
                        || coalesce(cast(:reasons as jsonb) ->> cast(items.line as text), :unknown)
                end as reason
            ) as doubt
            where items.order_id = :order_id
        """),
        {
            "order_id": order_id,
            "no_rate_card": NO_RATE_CARD,
            "reasons": json.dumps(dict(reasons)),
            "unknown": PROBLEMS["bad_geometry"],
        },
    ).one()
    return row.total, row.was, row.doubts
