"""Keeps what one piece of every model costs in every metal and finish, computing anew only what depends on a change."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime

import polars as pl
from sqlalchemy import Connection, text

from mes.clock import Clock, utc_now
from mes.db import query
from mes.db.copy import copy_frame, read_frame
from mes.errors import MesError
from mes.pricing.costs import cost_model
from mes.pricing.costs.rate_frame import rate_frame
from mes.pricing.costs.rate_hashes import Pair, rate_hashes
from mes.pricing.materials import MATERIALS
from mes.pricing.options import Finish, Tier
from mes.pricing.rates import rate_store
from mes.pricing.rates.rate_card import RateCard

# 100,000 rows take 0.3 s to price and 60 MB; larger steps gain nothing, and hold their locks for longer
ROWS_AT_ONCE = 100_000
# one refresh at a time, whoever asks; the number is arbitrary and ours
COSTING_LOCK = 7_203_399

_INPUTS: dict[str, pl.DataType | type[pl.DataType]] = {
    "model_id": pl.String,
    "kernel_version": pl.Int32,
    **dict.fromkeys(
        (
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
        ),
        pl.Float64,
    ),
}
_FROM_INPUTS = f"select {', '.join(_INPUTS)} from marts.cost_inputs"
_COSTS = {
    "model_id": "model_id",
    "material": "material",
    "finish": "finish",
    "kernel_version": "kernel_version",
    "mass_g": "mass_g",
    "material_cost": "material_amount",
    "work_cost": "work_amount",
    "unit_price": "unit_price",
    "currency": "currency",
    "problem": "problem",
}

_KEY = ("model_id", "material", "finish")


class CostInputsNotBuilt(MesError):
    """dbt has not built the inputs of unit costs yet; run `mes ingest` or `dbt build` first."""

    code = "cost_inputs_not_built"


@dataclass(frozen=True, slots=True)
class Refreshed:
    """What refreshing did.

    Attributes:
        rate_card: version of the card in force; None where there is none, and then nothing was done.
        rows_new: rows of models that had none.
        rows_measured: rows computed anew as their model was measured anew.
        rows_moved: rows computed anew as a rate moved that they depend on.
        finished: whether nothing is left to do.
    """

    rate_card: str | None
    rows_new: int = 0
    rows_measured: int = 0
    rows_moved: int = 0
    finished: bool = True

    def __add__(self, later: "Refreshed") -> "Refreshed":
        """Both steps as one."""
        return Refreshed(
            later.rate_card,
            self.rows_new + later.rows_new,
            self.rows_measured + later.rows_measured,
            self.rows_moved + later.rows_moved,
            later.finished,
        )


def refresh(conn: Connection, *, clock: Clock = utc_now, rows_at_once: int = ROWS_AT_ONCE) -> Refreshed:
    """Take one step towards a table that holds the costs by today's card: at most `rows_at_once` rows.

    Call it again, each time in a transaction of its own, until it is `finished`; what a step did is kept whatever
    happens to the next. First come models that were measured, then rows whose rates moved, in the order of their
    models. A row changes as a whole. Steps of several callers take turns.

    Raises:
        CostInputsNotBuilt: dbt has not built `marts.cost_inputs`.
    """
    if query.flag(conn, "select to_regclass('marts.cost_inputs') is null"):
        raise CostInputsNotBuilt
    conn.execute(text("select pg_advisory_xact_lock(:key)"), {"key": COSTING_LOCK})
    now = clock()
    card_id = rate_store.id_valid_at(conn, now)
    if card_id is None:
        return Refreshed(None)
    card = rate_store.kept(conn, card_id)
    _note_rates(conn, rate_hashes(card), now)
    return _cost_measured(conn, card, now, rows_at_once) or _move(conn, card, now, rows_at_once)


def _note_rates(conn: Connection, wanted: Mapping[Pair, str], now: datetime) -> None:
    """Begin to move the pairs whose rates are not those of their rows; a pair that is new is costed for all models."""
    conn.execute(
        text("""
            with wanted as (
                select * from jsonb_to_recordset(cast(:wanted as jsonb)) as pair(
                    material text, finish text, rates_hash text
                )
            ), new as (
                insert into ops.cost_rates (material, finish, rates_hash, moved_at)
                select material, finish, rates_hash, :now from wanted
                on conflict do nothing
                returning material
            ), marked as (
                insert into ops.uncosted_models (model_id)
                select distinct model_id from ops.geometries where exists (select from new)
            )
            update ops.cost_rates as rates set rates_hash = wanted.rates_hash, reached = '', moved_at = :now
            from wanted
            where (rates.material, rates.finish) = (wanted.material, wanted.finish)
                and rates.rates_hash <> wanted.rates_hash
        """),
        {
            "wanted": json.dumps(
                [
                    {"material": pair.material, "finish": pair.finish, "rates_hash": rates_hash}
                    for pair, rates_hash in wanted.items()
                ]
            ),
            "now": now,
        },
    )


def _cost_measured(conn: Connection, card: RateCard, now: datetime, rows_at_once: int) -> Refreshed | None:
    """Cost some of the models that were measured, in all metals and finishes; None if there are none."""
    pairs = [Pair(material, finish) for material in MATERIALS for finish in Finish]
    marks = conn.execute(
        text("select mark_id, model_id from ops.uncosted_models order by mark_id limit :most"),
        {"most": max(rows_at_once // len(pairs), 1)},
    ).all()
    if not marks:
        return None
    models = list({row.model_id for row in marks})
    inputs = read_frame(conn, f"{_FROM_INPUTS} where model_id = any(%(models)s)", _INPUTS, models=models)
    _stage(conn, _costs(inputs, pairs, card))
    written = conn.execute(
        text(f"""
            with written as (
                insert into ops.cost_table as kept ({", ".join(_COSTS)}, rates_hash, rate_card_id, refreshed_at)
                select {", ".join(f"costed.{name}" for name in _COSTS)}, rates.rates_hash, :card, :now
                from costed join ops.cost_rates as rates using (material, finish)
                order by costed.model_id, costed.material, costed.finish
                on conflict (model_id, material, finish) do update set
                    {", ".join(f"{name} = excluded.{name}" for name in _written())}
                where (kept.kernel_version, kept.rates_hash) <> (excluded.kernel_version, excluded.rates_hash)
                returning old.model_id is null as is_new
            )
            select count(*) as written, count(*) filter (where is_new) as new from written
        """),
        {"card": card.version, "now": now},
    ).one()
    conn.execute(
        text("delete from ops.uncosted_models where mark_id = any(:marks)"), {"marks": [row.mark_id for row in marks]}
    )
    return Refreshed(card.version, rows_new=written.new, rows_measured=written.written - written.new, finished=False)


def _move(conn: Connection, card: RateCard, now: datetime, rows_at_once: int) -> Refreshed:
    """Cost some of the rows whose rates moved: of all pairs that have come equally far, the next models."""
    behind = conn.execute(
        text("""
            select material, finish, reached from ops.cost_rates
            where reached = (select min(reached) from ops.cost_rates)
        """)
    ).all()
    if not behind:
        return Refreshed(card.version)
    pairs, reached = [Pair(row.material, row.finish) for row in behind], behind[0].reached
    most = max(rows_at_once // len(pairs), 1)
    inputs = read_frame(
        conn,
        f"{_FROM_INPUTS} where model_id > %(reached)s order by model_id limit {most}",
        _INPUTS,
        reached=reached,
    )
    _stage(conn, _costs(inputs, pairs, card))
    last = inputs["model_id"][-1] if inputs.height == most else None
    moved = conn.execute(
        text(f"""
            update ops.cost_table as kept set
                {", ".join(f"{name} = costed.{name}" for name in _COSTS if name not in _KEY)},
                rates_hash = rates.rates_hash, rate_card_id = :card, refreshed_at = :now
            from costed join ops.cost_rates as rates using (material, finish)
            where kept.model_id > :reached and (cast(:last as text) is null or kept.model_id <= :last)
                and (kept.model_id, kept.material, kept.finish) = (costed.model_id, costed.material, costed.finish)
                and (kept.kernel_version, kept.rates_hash) <> (costed.kernel_version, rates.rates_hash)
        """),
        {"card": card.version, "now": now, "reached": reached, "last": last},
    ).rowcount
    conn.execute(
        text("update ops.cost_rates set reached = :last where reached = :reached"), {"last": last, "reached": reached}
    )
    return Refreshed(card.version, rows_moved=moved, finished=False)


def _written() -> list[str]:
    return [name for name in (*_COSTS, "rates_hash", "rate_card_id", "refreshed_at") if name not in _KEY]


def _costs(inputs: pl.DataFrame, pairs: list[Pair], card: RateCard) -> pl.DataFrame:
    """What one piece costs, for each model and each pair."""
    asked = inputs.join(pl.DataFrame(pairs, schema=["material", "finish"], orient="row"), how="cross").with_columns(
        rate_card=pl.lit(card.version),
        quantity=pl.lit(1),
        tier=pl.lit(Tier.RETAIL.value),
        rush=pl.lit(value=False),
        longest_side_mm=None,
        engraving_characters=pl.lit(0),
        stones=None,
    )
    priced = cost_model.price(asked, rate_frame([card]), detail=False)
    return priced.select(pl.col(source).alias(name) for name, source in _COSTS.items())


def _stage(conn: Connection, costs: pl.DataFrame) -> None:
    """Have the rows in a temporary table `costed`, until the transaction ends or the next come."""
    conn.execute(text("drop table if exists pg_temp.costed"))
    conn.execute(
        text("""
            create temporary table costed on commit drop as
            select model_id, material, finish, kernel_version, mass_g, material_cost, work_cost, unit_price, currency,
                problem
            from ops.cost_table where false
        """)
    )
    copy_frame(conn, costs, "costed")
