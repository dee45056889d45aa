"""Writes the generated shop's four feeds as the shop, the CRM and the old MES would export them."""

import copy
import json
from collections import defaultdict
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from mes.samples import life
from mes.samples.catalogue import SampleModel
from mes.samples.demand import DAY_S, FINISHES, MATERIALS, Demand, Items
from mes.samples.life import NOT_YET, STAGES, Lives
from mes.samples.meshes import IntArray

Row = dict[str, Any]

SHOP_ORDERS, CRM_ORDERS = "shop/orders.jsonl", "crm/orders.jsonl"
CRM_EVENTS, LEGACY_HISTORY = "crm/order_events.jsonl", "legacy_mes/status_history.jsonl"

# the old MES forgot to note some of its prices
UNNOTED_PRICES = 0.08
_CRM_STAGES = (life.APPROVED, life.CLOSED)
_LEGACY_STAGES = (life.PRICED, life.STARTED, life.COMPLETED, life.PACKED, life.SHIPPED)


@dataclass(frozen=True)
class Shop:
    """Everything that the exports tell; `bad` holds the indexes of orders whose rows are wrong."""

    models: Sequence[SampleModel]
    demand: Demand
    items: Items
    lives: Lives
    bad: IntArray


class Facts(NamedTuple):
    """Facts of one feed, in the sequence of time; one entry per fact."""

    order: IntArray
    type: NDArray[np.str_]
    occurred_s: IntArray


def bad_row_count() -> int:
    """How many orders' rows are made wrong, each in its own way."""
    return len(_FAULTS)


def write_feeds(shop: Shop, folder: Path, rng: np.random.Generator) -> None:
    """Write the four files below `folder`."""
    ids = _external_ids(shop.demand)
    rows = _order_rows(shop, ids)
    for source, name in (("shop", SHOP_ORDERS), ("crm", CRM_ORDERS)):
        of_source = np.flatnonzero(shop.demand.source == source).tolist()
        _write_lines(folder / name, (json.dumps(rows[order], separators=(",", ":")) for order in of_source))
    subjects = [
        f'"order":{{"source":"{source}","external_id":"{external_id}"}}'
        for source, external_id in zip(shop.demand.source.tolist(), ids, strict=True)
    ]
    _write_lines(folder / CRM_EVENTS, _crm_lines(crm_facts(shop.lives), subjects, rng))
    legacy = _legacy_lines(legacy_facts(shop.lives, rng), subjects)
    # the old MES was stopped while it wrote: the last line comes once more, and only half of it
    half = "".join(line[: len(line) // 2] for line in legacy[-1:])
    _write_lines(folder / LEGACY_HISTORY, legacy, tail=half)


def crm_facts(lives: Lives) -> Facts:
    """What sales wrote: approvals, closings and cancellations."""
    found = [_stage_facts(lives, stage) for stage in _CRM_STAGES]
    cancelled = np.flatnonzero(lives.cancelled_s != NOT_YET)
    names = np.full(len(cancelled), life.CANCELLED)
    return _by_time([*found, Facts(cancelled, names, lives.cancelled_s[cancelled])])


def legacy_facts(lives: Lives, rng: np.random.Generator) -> Facts:
    """What the old MES wrote: production, and most of its prices."""
    facts = _by_time([_stage_facts(lives, stage) for stage in _LEGACY_STAGES])
    standing = lives.status[facts.order] == facts.type
    forgotten = (facts.type == STAGES[life.PRICED]) & ~standing & (rng.random(len(facts.order)) < UNNOTED_PRICES)
    return _picked(facts, np.flatnonzero(~forgotten))


def _stage_facts(lives: Lives, stage: int) -> Facts:
    reached = np.flatnonzero(lives.reached_s[:, stage] != NOT_YET)
    return Facts(reached, np.full(len(reached), STAGES[stage]), lives.reached_s[reached, stage])


def _by_time(parts: Sequence[Facts]) -> Facts:
    orders, types, times_s = zip(*parts, strict=True)
    joined = Facts(np.concatenate(orders), np.concatenate(types), np.concatenate(times_s))
    return _picked(joined, np.lexsort((joined.order, joined.occurred_s)))


def _picked(facts: Facts, rows: IntArray) -> Facts:
    return Facts(facts.order[rows], facts.type[rows], facts.occurred_s[rows])


def _crm_lines(facts: Facts, subjects: Sequence[str], rng: np.random.Generator) -> list[str]:
    told: dict[int, int] = defaultdict(int)
    event_ids = rng.bytes(16 * len(facts.order)).hex()
    lines = []
    for number, (order, name, at) in enumerate(_told(facts)):
        told[order] += 1
        event_id = event_ids[32 * number : 32 * number + 32]
        lines.append(
            f'{{"event_id":"{event_id}",{subjects[order]},"sequence":{told[order]},'
            f'"type":"{name}","occurred_at":"{at}"}}'
        )
    return lines


def _legacy_lines(facts: Facts, subjects: Sequence[str]) -> list[str]:
    return [f'{{{subjects[order]},"type":"{name}","occurred_at":"{at}"}}' for order, name, at in _told(facts)]


def _told(facts: Facts) -> Iterable[tuple[int, str, str]]:
    return zip(facts.order.tolist(), facts.type.tolist(), _iso(facts.occurred_s), strict=True)


def _external_ids(demand: Demand) -> list[str]:
    """Order numbers as people read them aloud, `S-2026-00042`, counted per source and year."""
    years = (demand.placed_s.astype("datetime64[s]").astype("datetime64[Y]")).astype(np.int64) + 1970
    counted: dict[tuple[str, int], int] = defaultdict(int)
    ids = []
    for source, year in zip(demand.source.tolist(), years.tolist(), strict=True):
        counted[source, year] += 1
        ids.append(f"{source[0].upper()}-{year}-{counted[source, year]:05d}")
    return ids


def _order_rows(shop: Shop, ids: Sequence[str]) -> list[Row]:
    demand, lives = shop.demand, shop.lives
    paid_usd = np.bincount(shop.items.order, weights=shop.items.paid_usd, minlength=len(ids))
    customers = [
        {"external_id": customer, "tier": tier}
        for customer, tier in zip(demand.customer.tolist(), demand.tier.tolist(), strict=True)
    ]
    columns = {
        "external_id": ids,
        "placed_at": _iso(demand.placed_s),
        "due_at": _iso(lives.due_s),
        "updated_at": _iso(lives.updated_s),
        "customer": customers,
        "currency": ["USD"] * len(ids),
        "paid": [f"{paid:.2f}" for paid in paid_usd.tolist()],
        "rush": demand.rush.tolist(),
        "items": _items_by_order(shop),
        "status": lives.status.tolist(),
    }
    rows = _rows(columns)
    for order, fault in zip(shop.bad.tolist(), _FAULTS, strict=False):
        rows[order] = fault(rows[order], int(demand.placed_s[order]))
    return rows


def _items_by_order(shop: Shop) -> list[list[Row]]:
    items = shop.items
    columns = {
        "line": items.line.tolist(),
        "model": [shop.models[model].path for model in items.model.tolist()],
        "longest_side_mm": [_number(size) for size in items.longest_side_mm.tolist()],
        "material": [MATERIALS[material] for material in items.material.tolist()],
        "finish": [FINISHES[finish] for finish in items.finish.tolist()],
        "quantity": items.quantity.tolist(),
    }
    found: list[list[Row]] = [[] for _ in range(len(shop.demand.placed_s))]
    for order, row in zip(items.order.tolist(), _rows(columns), strict=True):
        found[order].append(row)
    return found


def _rows(columns: dict[str, list[Any]]) -> list[Row]:
    return [dict(zip(columns, values, strict=True)) for values in zip(*columns.values(), strict=True)]


def _number(size_mm: float) -> float | int | None:
    """A size as JSON has it: nothing for "as drawn", no fraction where there is none."""
    if np.isnan(size_mm):
        return None
    return int(size_mm) if size_mm.is_integer() else size_mm


def _item_fault(**wrong: object) -> Callable[[Row, int], Row]:
    def spoil(row: Row, _placed_s: int) -> Row:
        spoiled = copy.deepcopy(row)
        spoiled["items"][0].update(wrong)
        return spoiled

    return spoil


def _due_before_placed(row: Row, placed_s: int) -> Row:
    return row | {"due_at": _iso(np.array([placed_s - 2 * DAY_S]))[0]}


# what people and old programs really send; each becomes one row that has to be put right by a person
_FAULTS: tuple[Callable[[Row, int], Row], ...] = (
    _item_fault(material="brass"),
    _item_fault(model="rings/archive/2019_wedding_band.stl"),
    _item_fault(model="../../invoices/scan.stl"),
    _due_before_placed,
    _item_fault(quantity="two"),
)


def _iso(times_s: IntArray) -> list[str]:
    return [f"{text}Z" for text in np.datetime_as_string(times_s.astype("datetime64[s]")).tolist()]


def _write_lines(path: Path, lines: Iterable[str], tail: str = "") -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("w", encoding="utf-8", newline="\n") as file:
        file.writelines(f"{line}\n" for line in lines)
        file.write(tail)
