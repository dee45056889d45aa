"""Chooses how a model's wax stands on the printer: the way up that needs the least support and height."""

from dataclasses import dataclass
from functools import partial

import numpy as np

from mes.pricing.geometry import Printing
from mes.pricing.kernel.columns import Standing, between, near_columns, overhangs
from mes.pricing.kernel.layers import layer_areas
from mes.pricing.kernel.side_by_side import cut, side_by_side

HEIGHT_WEIGHT = 0.1
"""As bad as support that fills a tenth of the convex hull: printing as high as the longest side. Supports cost wax and
the marks that they leave cost finishing, so they weigh more than hours of an unattended printer."""

_AS_GOOD = 1e-4
"""Ways up whose scores differ by less are equally good."""


_PARTS = 4
_SMALL = 20_000


@dataclass(frozen=True, slots=True)
class Way:
    """A way up.

    Attributes:
        axis: of the box, along which the model stands.
        sign: 1 or -1, for which end of it is up.
        area: of what hangs over nothing.
        support: volume under that, down to what is below.
    """

    axis: int
    sign: int
    area: float
    support: float


def printing_of(model: Standing, hull_volume: float, threads: int = 1) -> Printing:
    """The best of the six ways in which the model can stand on a side of its oriented box.

    The score is support over the hull's volume + `HEIGHT_WEIGHT` x height over the longest side: without a unit, so a
    model stands the same way at every size. Of equally good ways, the one that is most upright in the file is taken.

    Args:
        model: in its box, in mm.
        hull_volume: of the convex hull; 0 for a flat model.
        threads: how many cores to use.
    """
    best = _best(ways_up(model, threads), model, hull_volume or float(model.sides.max()) ** 3)
    work = [partial(layer_areas, model, best.axis, *part) for part in _parts(model)]
    areas = np.sum(side_by_side(work, threads), axis=0)
    x, y, z = (model.axes[best.axis] * best.sign + 0.0).tolist()
    return Printing(
        height_mm=float(model.sides[best.axis]),
        support_mm3=best.support,
        overhang_mm2=best.area,
        up=(x, y, z),
        layer_areas_mm2=tuple(np.maximum(areas, 0.0)[:: best.sign].tolist()),
    )


def ways_up(model: Standing, threads: int = 1) -> list[Way]:
    """All six ways to stand, along each axis of the box and upside down.

    The volume between each overhanging face and the plate is exact; what stands in between is taken away by columns.
    """
    parts = _parts(model)
    sums = np.sum(side_by_side([partial(overhangs, model, *part) for part in parts], threads), axis=0)
    near = np.concatenate(side_by_side([partial(near_columns, model, *part) for part in parts], threads))
    taken = side_by_side([partial(between, model, axis, near) for axis in range(3)], threads)
    return [
        Way(axis, sign, float(sums[axis, way, 0]), max(float(sums[axis, way, 1] - taken[axis][way]), 0.0))
        for axis in range(3)
        for way, sign in enumerate((1, -1))
    ]


def _parts(model: Standing) -> list[tuple[int, int]]:
    return cut(len(model.faces), _PARTS if len(model.faces) > _SMALL else 1)


def _best(ways: list[Way], model: Standing, volume: float) -> Way:
    longest = float(model.sides.max())
    scores = [way.support / volume + HEIGHT_WEIGHT * float(model.sides[way.axis]) / longest for way in ways]
    good = [way for way, score in zip(ways, scores, strict=True) if score <= min(scores) + _AS_GOOD]
    return max(good, key=lambda way: tuple(np.round(model.axes[way.axis] * way.sign, 6)[::-1].tolist()))
