"""Says what would make a piece cheaper, and by how much, where geometry and rates tell; never part of a price."""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from decimal import Decimal
from functools import lru_cache
from math import inf
from operator import itemgetter

import numpy as np
from numpy.typing import NDArray

from mes.pricing.costs.cost_model import Price, as_price
from mes.pricing.costs.single_prices import price_few
from mes.pricing.findings import THIN_SHARE
from mes.pricing.geometry import Geometry, Walls
from mes.pricing.materials import MATERIALS
from mes.pricing.options import Finish, ItemOptions
from mes.pricing.rates.rate_card import RateCard

MOST = 5
"""As many levers are told, best first."""

LEAST_SAVING = Decimal("0.01")
"""Of the price: what saves less is not worth a change."""

THICK_MM = 4.0
"""Solid parts above this are shelled by practice: castable wax guides review them for hollowing."""

SHELL_MM = 1.0
"""Wall that is left around a hollow: guides begin at 0.7 mm; the rest is for filing, polishing and wear."""

SMALLER = 0.95
"""A slightly smaller size: the eye hardly sees 5 %, the metal is 14 % less."""

Floats = NDArray[np.float64]

_STEP = 1e-9  # relative; as long as a stretch of walls of one thickness
_STEPS_MM = (0.5, 0.3, 0.2, 0.1)
_THINNER_MOST = 0.25  # of the median wall: beyond, it is another design
_SHOWN_G = 0.05  # less is told as no change of mass
_AREA_WORTH_THINNING = 0.2  # of all area; less is a detail, not the piece's walls
_SIMPLER = {Finish.PLATED: Finish.POLISHED, Finish.POLISHED: Finish.SATIN, Finish.SATIN: Finish.SANDBLASTED}


@dataclass(frozen=True, slots=True)
class Lever:
    """One change that would make the item cheaper, by itself.

    Attributes:
        code: a stable word for programs.
        label: the change in words, with its figures.
        mass_change_g: of metal, for all pieces of the item; at most 0.
        price_change: USD, negative; for all pieces of the item, for a quantity break per piece.
    """

    code: str
    label: str
    mass_change_g: float
    price_change: Decimal


@dataclass(frozen=True, slots=True)
class _Variant:
    code: str
    words: str
    geometry: Geometry
    options: ItemOptions


def price_with_levers(geometry: Geometry, options: ItemOptions, card: RateCard) -> tuple[Price, tuple[Lever, ...]]:
    """The item's price, as `price_one` makes it, and what would lower it; all priced together.

    Args:
        geometry: the model, at its own size.
        options: what is asked.
        card: the rates.

    Raises:
        CannotPrice: as for `price_one`.
    """
    variants = [*_of_geometry(geometry, options), *_of_options(geometry, options, card)]
    asked = [(geometry, options), *((variant.geometry, variant.options) for variant in variants)]
    rows = price_few(asked, card)
    price = as_price(rows[0])
    found = [
        _lever(variant, price, row["total"], row["unit_price"], row["mass_g"] - rows[0]["mass_g"])
        for variant, row in zip(variants, rows[1:], strict=True)
        if not row["problem"]
    ]
    best = sorted((pair for pair in found if pair[0] >= LEAST_SAVING), key=itemgetter(0), reverse=True)
    return price, tuple(lever for _, lever in best[:MOST])


def thinner_by(piece: Geometry, walls: Walls, step_mm: float, least_mm: float, *, thick_mm: float = THICK_MM) -> float:
    """Volume (mm3) that goes when walls become `step_mm` thinner, but none that would fall below `least_mm`.

    Only walls from `least_mm + step_mm` to `thick_mm` are thinned: by half of the step on either side, around their
    middle. A body that is t thick along its normals has the volume area x t / (2 n), where n is 1 for a plate, a tube
    and, nearly, a shell, 2 for a round wire, 3 for a ball; (1 - step / t)^n of it stays. The walls' area and the
    volume give n. Exact for plate, tube, wire and ball; for a hollow sphere off by t x step / (4 r^2).
    """
    slab = piece.area_mm2 / 2 * _mean(*_between(walls, 0.0, thick_mm))
    curved = _curved(slab, piece.volume_mm3)
    thickness, share = _between(walls, least_mm + step_mm, thick_mm)
    gone = _mean(thickness * (1 - (1 - step_mm / thickness) ** curved), share)
    return piece.area_mm2 / 2 * gone / curved


def hollowed_by(piece: Geometry, walls: Walls, shell_mm: float, *, thick_mm: float = THICK_MM) -> float:
    """Volume (mm3) of the hollow when parts thicker than `thick_mm` become shells of `shell_mm`.

    The core of a body that is t thick is (1 - 2 shell / t)^n of it, with n as in `thinner_by`, for which the thick
    parts have the volume that the other walls leave. Exact for a plate, a round rod, a ball and a cube.
    """
    thickness, share = _between(walls, thick_mm, inf)
    thin = piece.area_mm2 / 2 * _mean(*_between(walls, 0.0, thick_mm))
    slab = piece.area_mm2 / 2 * _mean(thickness, share)
    solid = piece.volume_mm3 - thin
    if not (slab > 0 and solid > 0):
        return 0.0
    curved = _curved(slab, solid)
    cores = _mean(thickness * (1 - 2 * shell_mm / thickness) ** curved, share)
    return min(solid, slab) * piece.area_mm2 / 2 * cores / slab


def _curved(slab_mm3: float, volume_mm3: float) -> float:
    """In how many directions a body is curved, if it were a plate of its area and thickness of `slab_mm3`: 1 to 3."""
    return min(max(slab_mm3 / volume_mm3, 1.0), 3.0) if volume_mm3 > 0 else 1.0


def _between(walls: Walls, least_mm: float, below_mm: float) -> tuple[Floats, Floats]:
    """Thickness (mm) and share of the area, for each stretch of the distribution within these bounds; (N,) each."""
    low, high, density = _stretches(walls)
    first, last = np.maximum(low, least_mm), np.minimum(high, below_mm)
    share = (last - first) * density
    there = share > 0
    return (first[there] + last[there]) / 2, share[there]


@lru_cache(maxsize=64)
def _stretches(walls: Walls) -> tuple[Floats, Floats, Floats]:
    """From and up to which thickness (mm), and the share of the area per mm, for each stretch of the distribution."""
    high, known = np.array(walls.distribution).T
    low, share = np.roll(high, 1), known.copy()
    low[0] = high[0] * (1 - _STEP)
    share[1:] -= known[:-1]
    return low, high, share / (high - low)


def _mean(values: Floats, shares: Floats) -> float:
    return float(values @ shares)


def _of_geometry(geometry: Geometry, options: ItemOptions) -> Iterator[_Variant]:
    """Changes of the model, worked out at its own size; none where its volume or its walls are not known."""
    longest = max(geometry.extents_mm)
    if geometry.walls is None or not geometry.closed or longest <= 0:
        return
    scale = (options.longest_side_mm or longest) / longest
    least_mm = float(MATERIALS[options.material].min_wall_mm)
    measured, thick_mm = geometry.walls, THICK_MM / scale
    if step_mm := _step_mm(measured, least_mm, scale):
        gone = thinner_by(geometry, measured, step_mm / scale, least_mm / scale, thick_mm=thick_mm)
        if gone < geometry.volume_mm3:
            thinner = replace(geometry, volume_mm3=geometry.volume_mm3 - gone)
            yield _Variant("thinner_walls", f"{step_mm:g} mm thinner walls", thinner, options)
    shell_mm = max(SHELL_MM, least_mm)
    if gone := hollowed_by(geometry, measured, shell_mm / scale, thick_mm=thick_mm):
        hollow = replace(geometry, volume_mm3=geometry.volume_mm3 - gone)
        words = f"what is thicker than {THICK_MM:g} mm hollowed out to {shell_mm:g} mm walls, with a drain hole"
        yield _Variant("hollowed", words, hollow, options)
    if measured.share_below(least_mm / SMALLER / scale) < THIN_SHARE:
        size_mm = longest * scale * SMALLER
        words = f"{1 - SMALLER:.0%} smaller, {size_mm:.1f} mm long"
        yield _Variant("smaller", words, geometry, options.model_copy(update={"longest_side_mm": size_mm}))


def _of_options(geometry: Geometry, options: ItemOptions, card: RateCard) -> Iterator[_Variant]:
    if simpler := _SIMPLER.get(options.finish):
        words = f"{simpler} in place of {options.finish}"
        yield _Variant("simpler_finish", words, geometry, options.model_copy(update={"finish": simpler}))
    more = [step.min_quantity for step in card.terms.quantity_breaks if step.min_quantity > options.quantity]
    if more:
        wanted = options.model_copy(update={"quantity": more[0]})
        yield _Variant("quantity_break", f"{more[0]} pieces", geometry, wanted)
    if options.rush:
        yield _Variant("no_rush", "without rush", geometry, options.model_copy(update={"rush": False}))


def _step_mm(walls: Walls, least_mm: float, scale: float) -> float | None:
    """The largest step that leaves most walls alike and castable, of a piece `scale` times as large as the model."""
    most = walls.median_mm * scale * _THINNER_MOST
    thick = walls.share_below(THICK_MM / scale)
    for step in _STEPS_MM:
        if step <= most and thick - walls.share_below((least_mm + step) / scale) >= _AREA_WORTH_THINNING:
            return step
    return None


def _lever(
    variant: _Variant, price: Price, total: Decimal, each: Decimal, mass_change_g: float
) -> tuple[Decimal, Lever]:
    """A lever, and the share of the price that it saves."""
    if variant.code == "quantity_break":
        change = each - price.unit_price
        words = f"{variant.words}: {change:,.2f} {price.currency} per piece"
        return -change / price.unit_price, Lever(variant.code, words, 0.0, change)
    change = total - price.total
    grams = f"{mass_change_g:,.1f} g, " if mass_change_g <= -_SHOWN_G else ""
    words = f"{variant.words}: {grams}{change:,.2f} {price.currency}"
    return -change / price.total, Lever(variant.code, words, mass_change_g, change)
