"""Prices all that a generated history's customers choose from, once, by the real cost model and today's rate card."""

import hashlib
import json
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from pathlib import Path

import numpy as np
import polars as pl
from numpy.typing import NDArray
from sqlalchemy import Connection, Engine, text

from mes.models import intake, sandbox
from mes.models.errors import UnreadableModel
from mes.models.sandbox import Limits
from mes.models.store import ObjectStore
from mes.pricing import geometry_store
from mes.pricing.costs import cost_model
from mes.pricing.costs.rate_frame import rate_frame
from mes.pricing.geometry import KERNEL_VERSION
from mes.pricing.options import parse
from mes.pricing.rates import rate_cards, rate_store
from mes.pricing.rates.rate_cards import NoRateCard
from mes.samples.catalogue import SampleModel, sample_models
from mes.samples.copy_rows import Fields, hundredths, json_texts, texts
from mes.samples.demand import FINISH_SHARES, FINISHES, MATERIAL_SHARES, MATERIALS, TIERS

QUANTITIES = (1, 2, 3, 4, 5, 6, 8, 10)
# of a workshop's models; one family is that of the generated shop, measured in some ten seconds
_FAMILIES, _ONE_FAMILY_BELOW = (7, 8, 9), 100_000
# longest sides asked for, as shares of the drawn one; None is as drawn
_SIZES: tuple[float | None, ...] = (None, 0.95, 1.1)
_SIZE_SHARES = (0.55, 0.25, 0.20)


@dataclass(frozen=True)
class Catalogue:
    """All that is ordered: `weights` has one entry per kind of piece, and so have the kinds' fields.

    Prices are by (kind, tier, quantity, rush), flat; `price_row` finds one, `cents` is for all pieces of the item.
    """

    weights: NDArray[np.float64]
    model_id: Fields
    material: Fields
    finish: Fields
    size: Fields
    cents: NDArray[np.int64]
    breakdown: Fields
    rate_card_id: str
    kernel_version: int
    valid_days: int
    currency: str

    @staticmethod
    def price_row(
        kind: NDArray[np.int64], tier: NDArray[np.int64], quantity: NDArray[np.int64], rush: NDArray[np.bool_]
    ) -> NDArray[np.int64]:
        """Rows of the prices; `tier` and `quantity` are positions in `TIERS` and `QUANTITIES`."""
        rows: NDArray[np.int64] = ((kind * len(TIERS) + tier) * len(QUANTITIES) + quantity) * 2 + rush
        return rows


@dataclass(frozen=True)
class _Model:
    sample: SampleModel
    model_id: str


def prepare(engine: Engine, store: ObjectStore, limits: Limits, *, orders: int, at: datetime) -> Catalogue:
    """Make models, measures and a rate card be there, and price every choice; each in a transaction of its own.

    Raises:
        NoRateCard: there are rate cards, and none is valid at `at`.
    """
    models = _models(engine, store, limits, _FAMILIES[: 1 if orders < _ONE_FAMILY_BELOW else None])
    with engine.begin() as conn:
        if rate_store.is_empty(conn):
            rate_store.load(conn, rate_cards.load_sample())
        card_id = rate_store.id_valid_at(conn, at)
        if card_id is None:
            raise NoRateCard("No rate card is valid at the end of the history; load one, or give another --until.")
        return _priced(conn, models, card_id)


def _models(engine: Engine, store: ObjectStore, limits: Limits, families: Sequence[int]) -> list[_Model]:
    """The sample models, whose bytes, pictures and measures are kept from now on."""
    with tempfile.TemporaryDirectory() as folder:
        models: dict[Path, _Model] = {}
        for family in families:
            root = Path(folder) / str(family)
            for sample in sample_models(family):
                sample.write(root)
                models[root / sample.path] = _Model(sample, _hash(root / sample.path))
        _keep(engine, store, limits, models)
    # one model may come in several families
    return list({model.model_id: model for model in models.values()}.values())


def _keep(engine: Engine, store: ObjectStore, limits: Limits, models: dict[Path, _Model]) -> None:
    with engine.begin() as conn:
        measured: set[str] = set(
            conn.execute(
                text("select model_id from ops.geometries where kernel_version = :kernel and model_id = any(:ids)"),
                {"kernel": KERNEL_VERSION, "ids": [model.model_id for model in models.values()]},
            ).scalars()
        )
    missing = {model.model_id: file for file, model in models.items() if model.model_id not in measured}
    for file, analysis in sandbox.analyse_many(missing.values(), limits):
        if isinstance(analysis, UnreadableModel):
            raise analysis
        intake.put_objects(store, file, analysis)
        with engine.begin() as conn:
            intake.record(conn, analysis, file.name)


def _priced(conn: Connection, models: Sequence[_Model], card_id: str) -> Catalogue:
    card = rate_store.kept(conn, card_id)
    rows, weights, kinds = [], [], []
    for model in models:
        stored = geometry_store.of_version(conn, model.model_id, KERNEL_VERSION)
        if stored is None or not stored.geometry.closed:
            continue
        base = cost_model.item_of(
            stored.geometry, parse({"material": MATERIALS[0], "finish": FINISHES[0], "quantity": 1}), card
        )
        for material, material_share in zip(MATERIALS, MATERIAL_SHARES, strict=True):
            for finish, finish_share in zip(FINISHES, FINISH_SHARES, strict=True):
                for size, size_share in zip(_SIZES, _SIZE_SHARES, strict=True):
                    size_mm = round(2 * size * model.sample.longest_side_mm) / 2 if size is not None else None
                    kinds.append((model.model_id, material, finish, size_mm))
                    weights.append(model.sample.popularity * material_share * finish_share * size_share)
                    rows.append(base | {"material": material, "finish": finish, "longest_side_mm": size_mm})
    priced = _prices(rows, rate_frame([card]))
    unpriced = priced["total"].is_null().to_numpy().reshape(len(kinds), -1).any(axis=1)
    chances = np.where(unpriced, 0.0, np.array(weights))
    sizes = np.array([0.0 if size is None else size for *_, size in kinds])
    return Catalogue(
        weights=np.cumsum(chances / chances.sum()),
        model_id=texts([kind[0] for kind in kinds]),
        material=texts([kind[1] for kind in kinds]),
        finish=texts([kind[2] for kind in kinds]),
        size=hundredths(np.round(sizes * 100).astype(np.int64), sizes == 0),
        cents=(priced["total"].fill_null(0) * 100).cast(pl.Int64).to_numpy(),
        breakdown=json_texts([_line(total) for total in priced["total"]]),
        rate_card_id=card_id,
        kernel_version=KERNEL_VERSION,
        valid_days=card.terms.quote_valid_days,
        currency=str(priced["currency"].drop_nulls()[0]),
    )


def _prices(rows: Sequence[dict[str, object]], rates: pl.DataFrame) -> pl.DataFrame:
    """Every kind with every tier, number of pieces and haste, in the order of `Catalogue.price_row`."""
    kinds = pl.DataFrame(rows, schema=cost_model.ITEM_SCHEMA).drop("tier", "quantity", "rush")
    terms = pl.DataFrame({"tier": TIERS}).join(pl.DataFrame({"quantity": QUANTITIES}), how="cross")
    terms = terms.join(pl.DataFrame({"rush": [False, True]}), how="cross")
    return cost_model.price(kinds.join(terms, how="cross", maintain_order="left_right"), rates, detail=False)


def _line(total: Decimal | None) -> str | None:
    """One line in place of twenty: at ten million orders a hundred bytes of them are 1.4 GB, and are parsed."""
    if total is None:
        return None
    line = {"code": "piece", "label": "Piece", "driver": "", "quantity": "1", "unit": "", "rate": str(total)}
    return json.dumps([line | {"amount": str(total)}], separators=(",", ":"))


def _hash(file: Path) -> str:
    with file.open("rb") as content:
        return hashlib.file_digest(content, "sha256").hexdigest()
