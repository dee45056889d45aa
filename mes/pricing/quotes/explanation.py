"""Explains a price in lines of plain text: what was measured, how each line comes about, what would lower it."""

from collections.abc import Iterator, Sequence

from mes.pricing.costs.cost_lines import HOW
from mes.pricing.costs.cost_model import Line, Price
from mes.pricing.costs.levers import Lever
from mes.pricing.findings import Finding, of_piece
from mes.pricing.geometry import Geometry, scaled
from mes.pricing.materials import MATERIALS
from mes.pricing.options import ItemOptions
from mes.pricing.rates.rate_card import RateCard

_NAME_WIDTH, _AMOUNT_WIDTH = 32, 12
_PLACES = 3  # of a finding; the console's picture shows them all


def page(
    geometry: Geometry, options: ItemOptions, card: RateCard, price: Price, levers: Sequence[Lever]
) -> Iterator[str]:
    """The lines of the page.

    Args:
        geometry: the model, at its own size.
        options: what is asked.
        card: the rates that it was priced by.
        price: what was made of these.
        levers: what would lower it.
    """
    size = options.longest_side_mm
    piece = scaled(geometry, size) if size and max(geometry.extents_mm) > 0 else geometry
    yield "One piece"
    yield from _measures(piece, options)
    if findings := of_piece(geometry, options.material, size):
        yield "\nFindings (places in the file's own coordinates)"
        for finding in findings:
            yield from _finding(finding)
    yield f"\nPrice of {options.quantity} by rate card {card.name} {card.version}, valid from {card.valid_from}"
    for line in price.lines:
        yield from _line(line, price.currency)
    yield f"  {'Total':<{_NAME_WIDTH}}{price.total:>{_AMOUNT_WIDTH},} {price.currency}"
    yield f"  {'Each':<{_NAME_WIDTH}}{price.unit_price:>{_AMOUNT_WIDTH},} {price.currency}"
    if levers:
        yield "\nWhat would make it cheaper, each by itself"
        yield from (f"  {lever.label}" for lever in levers)


def _measures(piece: Geometry, options: ItemOptions) -> Iterator[str]:
    material = MATERIALS[options.material]
    mass_g = piece.volume_mm3 / 1000 * float(material.density_g_cm3)
    yield _measure("mass", f"{mass_g:,.2f} g of {material.label}, {material.density_g_cm3} g/cm3")
    yield _measure("volume", f"{piece.volume_mm3:,.2f} mm3{'' if piece.closed else ', a guess: the model is open'}")
    yield _measure("area", f"{piece.area_mm2:,.2f} mm2")
    yield _measure("size", _sides(piece.extents_mm))
    if piece.box_mm:
        yield _measure("smallest box", _sides(piece.box_mm))
    if piece.walls:
        thin = piece.walls.share_below(float(material.min_wall_mm))
        yield _measure(
            "walls",
            f"thinnest {piece.walls.thinnest_mm:.2f} mm, median {piece.walls.median_mm:.2f} mm; {thin:.1%} of the area "
            f"under the {material.min_wall_mm} mm that {material.label} needs",
        )
    if piece.printing:
        yield _measure(
            "wax print", f"{piece.printing.height_mm:.2f} mm high, {piece.printing.support_mm3:,.1f} mm3 support"
        )
    if piece.detail is not None:
        yield _measure("detail", f"{piece.detail:.2f} (a ball has 1)")


def _measure(name: str, words: str) -> str:
    return f"  {name:<14}{words}"


def _sides(sides: Sequence[float]) -> str:
    return f"{' x '.join(f'{side:,.2f}' for side in sides)} mm"


def _finding(finding: Finding) -> Iterator[str]:
    yield f"  {finding.severity}: {finding.message} {finding.advice}"
    if finding.coordinates:
        places = "; ".join(", ".join(f"{number:.2f}" for number in place) for place in finding.coordinates[:_PLACES])
        more = len(finding.coordinates) - _PLACES
        yield f"    at {places}{f'; and {more} more' if more > 0 else ''}"


def _line(line: Line, currency: str) -> Iterator[str]:
    yield f"  {line.label:<{_NAME_WIDTH}}{line.amount:>{_AMOUNT_WIDTH},} {currency}"
    yield f"    {line.quantity.normalize():f} {line.unit} x {line.rate.normalize():f}; {line.driver}"
    yield f"    {HOW[line.code]}"
