"""Chooses how a model's wax stands on the printer: the way up that needs the least support and height."""

from dataclasses import dataclass
from functools import partial

import numpy as np

from mes.pricing.geometry import Printing
from mes.pricing.kernel.columns import Hanging, Standing, hanging_along
from mes.pricing.kernel.layers import layer_areas
from mes.pricing.kernel.side_by_side import side_by_side

HEIGHT_WEIGHT = 0.1
"""As bad as support that fills a tenth of the convex hull: printing as high as the longest side. Supports cost wax and
the marks that they leave cost finishing, so they weigh more than hours of an unattended printer."""

_AS_GOOD = 1e-4
"""Ways up whose scores differ by less are equally good."""


@dataclass(frozen=True, slots=True)
class _Way:
    """A way up: the box's axis along which the model stands, 1 or -1 for which end is up, and what hangs then."""

    axis: int
    sign: int
    hanging: Hanging


def printing_of(model: Standing, hull_volume: float, threads: int = 1) -> Printing:
    """The best of the six ways in which the model can stand on a side of its oriented box.

    The score is support over the hull's volume + `HEIGHT_WEIGHT` x height over the longest side: without a unit, so a
    model stands the same way at every size. Of equally good ways, the one that is most upright in the file is taken.

    Args:
        model: in its box, in mm.
        hull_volume: of the convex hull; 0 for a flat model.
        threads: how many cores to use.
    """
    work = [partial(hanging_along, model, axis) for axis in range(3)]
    ways = [
        _Way(axis, sign, hanging)
        for axis, both in enumerate(side_by_side(work, threads))
        for sign, hanging in zip((1, -1), both, strict=True)
    ]
    best = _best(ways, model, hull_volume or float(model.sides.max()) ** 3)
    x, y, z = (model.axes[best.axis] * best.sign + 0.0).tolist()
    return Printing(
        height_mm=float(model.sides[best.axis]),
        support_mm3=best.hanging.volume,
        overhang_mm2=best.hanging.area,
        up=(x, y, z),
        layer_areas_mm2=tuple(layer_areas(model, best.axis)[:: best.sign].tolist()),
    )


def _best(ways: list[_Way], model: Standing, volume: float) -> _Way:
    longest = float(model.sides.max())
    scores = [way.hanging.volume / volume + HEIGHT_WEIGHT * float(model.sides[way.axis]) / longest for way in ways]
    good = [way for way, score in zip(ways, scores, strict=True) if score <= min(scores) + _AS_GOOD]
    return max(good, key=lambda way: tuple(np.round(model.axes[way.axis] * way.sign, 6)[::-1].tolist()))
