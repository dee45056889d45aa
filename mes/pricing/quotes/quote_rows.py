"""Reads what items are priced from and keeps their quotes; the only SQL that gives an order's item its price."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from datetime import timedelta
from typing import Any

import polars as pl
from sqlalchemy import Connection, text

from mes.db import query
from mes.db.copy import copy_frame, read_frame
from mes.errors import MesError
from mes.pricing.costs.cost_model import breakdown
from mes.pricing.costs.stone_lines import STONES
from mes.pricing.options import Engraving
from mes.pricing.rates.rate_card import RateCard

# below, a parameter is quicker than a temporary table, which also leaves rows in the catalogue behind
ROWS_WORTH_COPYING = 500

_MEASURES = (
    "volume_mm3",
    "area_mm2",
    "extent_x_mm",
    "extent_y_mm",
    "extent_z_mm",
    "box_length_mm",
    "box_width_mm",
    "box_height_mm",
    "print_height_mm",
    "support_mm3",
    "detail",
)
_INPUTS: dict[str, pl.DataType | type[pl.DataType]] = {
    "order_id": pl.String,
    "line": pl.Int32,
    "model_id": pl.String,
    "kernel_version": pl.Int32,
    **dict.fromkeys(_MEASURES, pl.Float64),
    "material": pl.String,
    "finish": pl.String,
    "quantity": pl.Int64,
    "longest_side_mm": pl.Float64,
    "stones": pl.String,
    "engraving": pl.String,
    "rush": pl.Boolean,
    "tier": pl.String,
    "rate_card": pl.String,
    "placed_at": pl.String,
    "quote_id": pl.String,
}
# the time comes as ISO 8601, whatever DateStyle says
_SOURCES = {"rate_card": "rate_card_id", "placed_at": "to_json(placed_at) #>> '{}'"}
_SELECT = ", ".join(_SOURCES.get(name, name) for name in _INPUTS)


class InputsNotBuilt(MesError):
    """dbt has not built the pricing inputs yet; run `mes ingest` or `dbt build` first."""

    code = "inputs_not_built"


def require_inputs(conn: Connection) -> None:
    """Make sure that dbt has built `marts.pricing_inputs`.

    Raises:
        InputsNotBuilt: it has not.
    """
    if query.flag(conn, "select to_regclass('marts.pricing_inputs') is null"):
        raise InputsNotBuilt


def read(conn: Connection, which: str, **values: object) -> pl.DataFrame:
    """All that the prices of some items depend on, one row each, by order and line.

    Adds to the columns of the cost model's items `order_id`, `line`, `model_id`, `kernel_version`, `placed_at`,
    `quote_id` (null: no price yet), and `stones_json` and `engraving_json` as they are kept.

    Args:
        conn: the caller's transaction.
        which: a condition over `marts.pricing_inputs`, with `%(name)s` for a value.
        values: by name.
    """
    rows = f"select {_SELECT} from marts.pricing_inputs where {which} order by order_id, line"
    frame = read_frame(conn, rows, _INPUTS, **values)
    return frame.with_columns(
        pl.col("stones").str.json_decode(STONES) if frame["stones"].count() else pl.lit(None, STONES).alias("stones"),
        pl.col("engraving").map_elements(_characters, return_dtype=pl.Int64).fill_null(0).alias("engraving_characters"),
        pl.col("engraving").alias("engraving_json"),
        pl.col("stones").alias("stones_json"),
        pl.col("placed_at").str.to_datetime("%+", time_zone="UTC"),
    )


def keep(conn: Connection, priced: pl.DataFrame, cards: Mapping[str, RateCard]) -> None:
    """Keep quotes, each superseding the older ones of its item and becoming the item's price.

    Args:
        conn: the caller's transaction.
        priced: rows of `read` that `price` priced with `detail`, and `priced_at`, from when on they are valid.
        cards: those that the rows name, by version.
    """
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
        (pl.col("priced_at") + pl.col("rate_card").replace_strict(valid_days, return_dtype=pl.Duration("us"))).alias(
            "valid_until"
        ),
    ).with_columns(pl.Series("breakdown", [_as_json(row) for row in priced.iter_rows(named=True)], dtype=pl.String))
    if rows.height <= ROWS_WORTH_COPYING:
        source = "jsonb_populate_recordset(null::ops.quotes, cast(:rows as jsonb))"
        conn.execute(text(_insert(rows.columns, source)), {"rows": _rows_as_json(rows)})
        return
    conn.execute(text("create temporary table quoted (like ops.quotes including defaults) on commit drop"))
    copy_frame(conn, rows, "quoted")
    conn.execute(text(_insert(rows.columns, "quoted")))
    conn.execute(text("drop table quoted"))


def _insert(columns: Sequence[str], source: str) -> str:
    """A caller's quote that an item was ordered at belongs to no order, and is superseded by its id."""
    names = ", ".join(columns)
    return f"""
        with made as materialized (
            insert into ops.quotes ({names}) select {names} from {source} returning quote_id, order_id, line
        ), superseded as (
            update ops.quotes as older set superseded_by = made.quote_id
            from made
            where older.order_id = made.order_id and older.line = made.line and older.superseded_by is null
        ), ordered_at as (
            update ops.quotes as older set superseded_by = made.quote_id
            from made join ops.order_items as item using (order_id, line)
            where older.quote_id = item.quote_id and older.order_id is null and older.superseded_by is null
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


def _characters(engraving: str) -> int:
    return Engraving.model_validate_json(engraving).characters
