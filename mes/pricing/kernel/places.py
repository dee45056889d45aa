"""Picks the places that are told of a fault: a few, far apart, the same ones whatever the order of faces."""

import numpy as np
from numpy.typing import NDArray

from mes.pricing.geometry import Point
from mes.pricing.kernel.compiled import compiled

Floats = NDArray[np.float64]

MOST = 8
_AS_FAR = 1 - 1e-9


def spread(places: Floats) -> tuple[Point, ...]:
    """At most `MOST` of the places (P, 3): the lowest, then always the one that is farthest from those picked."""
    if not len(places):
        return ()
    picked = places[_spread(np.ascontiguousarray(places), MOST, _AS_FAR)] + 0.0
    return tuple((float(x), float(y), float(z)) for x, y, z in picked)


@compiled()
def _is_lower(places: Floats, one: int, other: int) -> bool:
    for axis in (2, 1, 0):
        if places[one, axis] != places[other, axis]:
            lower: bool = places[one, axis] < places[other, axis]
            return lower
    return False


@compiled("i8[::1](f8[:,::1], i8, f8)")
def _spread(places: Floats, most: int, as_far: float) -> NDArray[np.int64]:
    picked, distance = np.empty(most, np.int64), np.full(len(places), np.inf)
    farthest = np.inf
    for count in range(most):
        best = -1
        for place in range(len(places)):
            if distance[place] >= farthest * as_far and (best < 0 or _is_lower(places, place, best)):
                best = place
        picked[count] = best
        farthest = 0.0
        for place in range(len(places)):
            x, y, z = (
                places[place, 0] - places[best, 0],
                places[place, 1] - places[best, 1],
                places[place, 2] - places[best, 2],
            )
            distance[place] = min(distance[place], x * x + y * y + z * z)
            farthest = max(farthest, distance[place])
        if farthest == 0:
            return picked[: count + 1].copy()
    return picked
