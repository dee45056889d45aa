"""Says what would make a piece cheaper, and by how much, where geometry and rates tell; never part of a price."""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from decimal import Decimal
from math import inf, pow  # noqa: A004 - of floats alone
from operator import itemgetter

from mes.pricing.cost_model import Price, as_price, price_few
from mes.pricing.findings import THIN_SHARE
from mes.pricing.geometry import Geometry, Walls, scaled
from mes.pricing.materials import MATERIALS
from mes.pricing.options import Finish, ItemOptions
from mes.pricing.rate_card import RateCard

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
    price = as_price(rows.row(0, named=True))
    totals, prices, masses = (rows[column].to_list() for column in ("total", "unit_price", "mass_g"))
    found = [
        _lever(variant, price, total, each, mass_g - masses[0])
        for variant, total, each, mass_g in zip(variants, totals[1:], prices[1:], masses[1:], strict=True)
        if total is not None
    ]
    best = sorted((pair for pair in found if pair[0] >= LEAST_SAVING), key=itemgetter(0), reverse=True)
    return price, tuple(lever for _, lever in best[:MOST])


def thinner_by(piece: Geometry, walls: Walls, step_mm: float, least_mm: float) -> float:
    """Volume (mm3) that goes when walls become `step_mm` thinner, but none that would fall below `least_mm`.

    Only walls from `least_mm + step_mm` to `THICK_MM` are thinned: by half of the step on either side, around their
    middle. A body that is t thick along its normals has the volume area x t / (2 n), where n is 1 for a plate, a tube
    and, nearly, a shell, 2 for a round wire, 3 for a ball; (1 - step / t)^n of it stays. The walls' area and the
    volume give n. Exact for plate, tube, wire and ball; for a hollow sphere off by t x step / (4 r^2).
    """
    slab = piece.area_mm2 / 2 * sum(thickness * share for thickness, share in _between(walls, 0.0, THICK_MM))
    curved = _curved(slab, piece.volume_mm3)
    gone = sum(
        share * thickness * (1 - pow(1 - step_mm / thickness, curved))
        for thickness, share in _between(walls, least_mm + step_mm, THICK_MM)
    )
    return piece.area_mm2 / 2 * gone / curved


def hollowed_by(piece: Geometry, walls: Walls, shell_mm: float) -> float:
    """Volume (mm3) of the hollow when parts thicker than `THICK_MM` become shells of `shell_mm`.

    The core of a body that is t thick is (1 - 2 shell / t)^n of it, with n as in `thinner_by`, for which the thick
    parts have the volume that the other walls leave. Exact for a plate, a round rod, a ball and a cube.
    """
    thick = list(_between(walls, THICK_MM, inf))
    thin = piece.area_mm2 / 2 * sum(thickness * share for thickness, share in _between(walls, 0.0, THICK_MM))
    slab = piece.area_mm2 / 2 * sum(thickness * share for thickness, share in thick)
    solid = piece.volume_mm3 - thin
    if not (slab > 0 and solid > 0):
        return 0.0
    curved = _curved(slab, solid)
    cores = sum(share * thickness * pow(1 - 2 * shell_mm / thickness, curved) for thickness, share in thick)
    return min(solid, slab) * piece.area_mm2 / 2 * cores / slab


def _curved(slab_mm3: float, volume_mm3: float) -> float:
    """In how many directions a body is curved, if it were a plate of its area and thickness of `slab_mm3`: 1 to 3."""
    return min(max(slab_mm3 / volume_mm3, 1.0), 3.0) if volume_mm3 > 0 else 1.0


def _between(walls: Walls, least_mm: float, below_mm: float) -> Iterator[tuple[float, float]]:
    """Thickness (mm) and share of the area, for each stretch of the distribution within these bounds."""
    low, known = walls.distribution[0][0], 0.0
    for high, share in walls.distribution:
        first, last = max(low, least_mm), min(high, below_mm)
        if first < last:
            yield (first + last) / 2, (share - known) * (last - first) / (high - low)
        elif low == high and least_mm <= low < below_mm and share > known:
            yield low, share - known
        low, known = high, share


def _of_geometry(geometry: Geometry, options: ItemOptions) -> Iterator[_Variant]:
    """Changes of the model; none where its volume or its walls are not known."""
    size = options.longest_side_mm
    piece = scaled(geometry, size) if size and max(geometry.extents_mm) > 0 else geometry
    if piece.walls is None or not piece.closed:
        return
    least_mm = float(MATERIALS[options.material].min_wall_mm)
    same_size = options.model_copy(update={"longest_side_mm": None})
    step_mm = _step_mm(piece.walls, least_mm)
    if step_mm and (gone := thinner_by(piece, piece.walls, step_mm, least_mm)) < piece.volume_mm3:
        thinner = replace(piece, volume_mm3=piece.volume_mm3 - gone)
        yield _Variant("thinner_walls", f"{step_mm:g} mm thinner walls", thinner, same_size)
    shell_mm = max(SHELL_MM, least_mm)
    if gone := hollowed_by(piece, piece.walls, shell_mm):
        hollow = replace(piece, volume_mm3=piece.volume_mm3 - gone)
        words = f"what is thicker than {THICK_MM:g} mm hollowed out to {shell_mm:g} mm walls, with a drain hole"
        yield _Variant("hollowed", words, hollow, same_size)
    if piece.walls.share_below(least_mm / SMALLER) < THIN_SHARE:
        longest = max(piece.extents_mm) * SMALLER
        words = f"{1 - SMALLER:.0%} smaller, {longest:.1f} mm long"
        yield _Variant("smaller", words, scaled(piece, longest), same_size)


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


def _step_mm(walls: Walls, least_mm: float) -> float | None:
    """The largest step that leaves most walls alike and castable."""
    most = walls.median_mm * _THINNER_MOST
    thick = walls.share_below(THICK_MM)
    for step in _STEPS_MM:
        if step <= most and thick - walls.share_below(least_mm + step) >= _AREA_WORTH_THINNING:
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
