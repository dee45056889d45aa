"""Writes the feeds that batch ingest is measured with."""

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from mes.clock import utc_now
from mes.samples import demand, shop
from mes.samples.catalogue import SampleModel, sample_models
from mes.samples.demand import DAY_S, Demand, Items

# a young workshop's two months: most orders wait, some have moved on; what the exports declare is all that is known
PERIOD_DAYS = 60
_STATUSES = {
    "SUBMITTED": 0.62,
    "PRICE_CALCULATED": 0.20,
    "MANUFACTURING_APPROVED": 0.09,
    "MANUFACTURING_STARTED": 0.06,
    "MANUFACTURING_COMPLETED": 0.02,
    "PACKAGING": 0.01,
}


@dataclass(frozen=True)
class FeedLoad:
    """Folders of models and of the feeds that name them."""

    models: Path
    feeds: Path


def lives(folder: Path, orders: int, seed: int) -> FeedLoad:
    """Orders of 18 months with their whole lives, told by all four feeds: some nine rows an order."""
    sample = shop.generate(folder, seed=seed, orders=orders, now=utc_now())
    return FeedLoad(sample.models, sample.feeds)


def exports(folder: Path, orders: int, seed: int) -> FeedLoad:
    """Orders of one or two items as shop and CRM export them while the workshop is working, in one file each."""
    models = sample_models(seed)
    for model in models:
        model.write(folder / "models")
    rng = np.random.default_rng([seed, 3])
    now_s = int(utc_now().timestamp())
    drawn = demand.draw_demand(rng, orders, now_s)
    items = demand.draw_items(rng, drawn, models)
    lines = _lines(rng, drawn, _items_by_order(items, models, orders), now_s)
    for source in ("shop", "crm"):
        path = folder / "feeds" / source / "orders.jsonl"
        path.parent.mkdir(parents=True)
        own = (line for line, origin in zip(lines, drawn.source.tolist(), strict=True) if origin == source)
        path.write_text("".join(f"{line}\n" for line in own), encoding="utf-8")
    return FeedLoad(folder / "models", folder / "feeds")


LOADS: dict[str, Callable[[Path, int, int], FeedLoad]] = {"exports": exports, "lives": lives}


def _items_by_order(items: Items, models: Sequence[SampleModel], orders: int) -> list[list[dict[str, object]]]:
    found: list[list[dict[str, object]]] = [[] for _ in range(orders)]
    for index, order in enumerate(items.order.tolist()):
        if len(found[order]) < 2:
            size_mm = items.longest_side_mm[index]
            found[order].append(
                {
                    "line": len(found[order]) + 1,
                    "model": models[items.model[index]].path,
                    "longest_side_mm": None if np.isnan(size_mm) else float(size_mm),
                    "material": demand.MATERIALS[items.material[index]],
                    "finish": demand.FINISHES[items.finish[index]],
                    "quantity": int(items.quantity[index]),
                }
            )
    return found


def _lines(rng: np.random.Generator, drawn: Demand, items: list[list[dict[str, object]]], now_s: int) -> list[str]:
    orders = len(items)
    placed_s = now_s - (now_s - drawn.placed_s) * PERIOD_DAYS // demand.HISTORY_DAYS
    updated_s = placed_s + ((now_s - placed_s) * rng.random(orders)).astype(np.int64)
    due_s = placed_s + rng.integers(14, 45, orders) * DAY_S
    status = rng.choice(list(_STATUSES), size=orders, p=list(_STATUSES.values()))
    columns = (
        *(np.datetime_as_string(times.astype("datetime64[s]")).tolist() for times in (placed_s, due_s, updated_s)),
        *(column.tolist() for column in (drawn.customer, drawn.tier, drawn.source, drawn.rush, status)),
        np.round(rng.uniform(80, 4_000, orders), 2).tolist(),
        items,
    )
    return [
        json.dumps(
            {
                "external_id": f"{source[0].upper()}-{number:07d}",
                "placed_at": f"{placed}Z",
                "due_at": f"{due}Z",
                "updated_at": f"{updated}Z",
                "customer": {"external_id": customer, "name": f"Customer {customer}", "tier": tier},
                "currency": "USD",
                "paid": f"{paid:.2f}",
                "rush": rush,
                "status": declared,
                "items": own,
            },
            separators=(",", ":"),
        )
        for number, (placed, due, updated, customer, tier, source, rush, declared, paid, own) in enumerate(
            zip(*columns, strict=True), start=1
        )
    ]
