"""Picks the places that are told of a fault: a few, far apart, the same ones whatever the order of faces."""

import numpy as np
from numpy.typing import NDArray

from mes.pricing.geometry import Point

MOST = 8


def spread(places: NDArray[np.float64]) -> tuple[Point, ...]:
    """At most `MOST` of the places (P, 3): the lowest, then always the one that is farthest from those picked."""
    if not len(places):
        return ()
    picked = [int(np.lexsort(places.T)[0])]
    distance = np.full(len(places), np.inf)
    while len(picked) < MOST:
        distance = np.minimum(distance, np.linalg.norm(places - places[picked[-1]], axis=1))
        farthest = distance.max()
        if farthest <= 0:
            break
        equal = np.flatnonzero(distance >= farthest * (1 - 1e-9))
        picked.append(int(equal[np.lexsort(places[equal].T)[0]]))
    return tuple((float(x), float(y), float(z)) for x, y, z in places[picked] + 0.0)
