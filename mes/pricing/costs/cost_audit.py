"""Holds the cost table against what it should be: single quotes, and the rates in force."""

from dataclasses import dataclass
from secrets import token_hex

from sqlalchemy import Connection, text

from mes.clock import Clock, utc_now
from mes.db import query
from mes.pricing import geometry_store
from mes.pricing.costs.cost_model import CannotPrice
from mes.pricing.costs.rate_hashes import rate_hashes
from mes.pricing.costs.single_prices import price_one
from mes.pricing.geometry import Geometry
from mes.pricing.options import ItemOptions
from mes.pricing.rates import rate_store
from mes.pricing.rates.rate_card import RateCard


@dataclass(frozen=True, slots=True)
class Behind:
    """How many rows are not as they should be: computed by other rates or an older measurement, or not there."""

    stale: int
    missing: int


def behind(conn: Connection, *, clock: Clock = utc_now) -> Behind:
    """Count what is left to do; reads the whole table. Nothing is, where no card is in force."""
    card_id = rate_store.id_valid_at(conn, clock())
    if card_id is None:
        return Behind(0, 0)
    hashes = rate_hashes(rate_store.kept(conn, card_id))
    row = conn.execute(
        text("""
            with wanted as (
                select * from unnest(cast(:materials as text[]), cast(:finishes as text[]), cast(:hashes as text[]))
                    as pair(material, finish, rates_hash)
            ), newest as (
                select model_id, max(kernel_version) as kernel_version from ops.geometries group by model_id
            )
            select
                count(costs.model_id) filter (
                    where (costs.rates_hash, costs.kernel_version)
                        is distinct from (wanted.rates_hash, newest.kernel_version)
                ) as stale,
                count(*) filter (where costs.model_id is null) as missing
            from newest cross join wanted
            left join ops.cost_table as costs using (model_id, material, finish)
        """),
        {
            "materials": [pair.material for pair in hashes],
            "finishes": [pair.finish for pair in hashes],
            "hashes": list(hashes.values()),
        },
    ).one()
    return Behind(row.stale, row.missing)


def differing(conn: Connection, *, models: int = 20, clock: Clock = utc_now) -> list[str]:
    """Recompute the rows of some models one by one; gives those that differ, in words.

    The models are those that follow a random place among the ids, which are hashes; all of them where there are few.
    """
    card_id = rate_store.id_valid_at(conn, clock())
    if card_id is None:
        return []
    card = rate_store.kept(conn, card_id)
    start = token_hex(32) if query.number(conn, "select count(*) from ops.models") > 2 * models else ""
    rows = conn.execute(
        text("""
            select costs.* from (
                select distinct model_id from ops.geometries where model_id > :start order by model_id limit :models
            ) as chosen join ops.cost_table as costs using (model_id)
        """),
        {"start": start, "models": models},
    ).mappings()
    found: dict[str, Geometry] = {}
    told = []
    for row in rows:
        model_id = row["model_id"]
        if model_id not in found:
            kept = geometry_store.of_version(conn, model_id, row["kernel_version"])
            if kept is None:
                raise AssertionError("a unit cost of a measurement that is not there")
            found[model_id] = kept.geometry
        says = _single(found[model_id], row["material"], row["finish"], card)
        held = row["problem"] or str(row["unit_price"])
        if says != held:
            told.append(f"{model_id} {row['material']} {row['finish']}: {held} in the table, {says} as a single quote")
    return told


def _single(geometry: Geometry, material: str, finish: str, card: RateCard) -> str:
    """The unit price, or the problem, of a single plain piece."""
    options = ItemOptions.model_validate({"material": material, "finish": finish, "quantity": 1, "tier": "retail"})
    try:
        return str(price_one(geometry, options, card).unit_price)
    except CannotPrice as error:
        return str(error.facts["problem"])
