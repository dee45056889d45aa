"""Cuts a model into layers: the area of each tells how long it is printed."""

import numpy as np
from numpy.typing import NDArray

from mes.pricing.kernel.columns import COLUMNS, Standing
from mes.pricing.kernel.compiled import compiled

Floats = NDArray[np.float64]
Faces = NDArray[np.int32]

LAYERS = 64


def layer_areas(model: Standing, axis: int, first: int, last: int) -> Floats:
    """What faces first..last add to the areas (LAYERS,) of the cuts at the middle of equally high layers along an axis.

    From the lowest up. Each cut's area is the sum over its line segments of half the cross product of their ends
    (Green's theorem), so it is exact for the triangles.
    """
    step = model.sides / COLUMNS
    if step[axis] == 0:
        return np.zeros(LAYERS)
    areas: Floats = _cut(model.points, model.faces, axis, COLUMNS, first, last)
    areas *= step[(axis + 1) % 3] * step[(axis + 2) % 3]
    return areas


@compiled("f8[::1](f8[:,::1], i4[:,::1], i8, i8, i8, i8)")
def _cut(points: Floats, faces: Faces, axis: int, height: int, first_face: int, last_face: int) -> Floats:
    """The areas in squared steps, of a model so many steps high."""
    middle, thickness = (height - 1) / 2, height / LAYERS
    u, v = (axis + 1) % 3, (axis + 2) % 3
    areas = np.zeros(LAYERS)
    for face in range(first_face, last_face):
        a, b, c = faces[face, 0], faces[face, 1], faces[face, 2]
        low = min(points[a, axis], points[b, axis], points[c, axis])
        high = max(points[a, axis], points[b, axis], points[c, axis])
        first = max(int(np.floor((low + 0.5) / thickness - 0.5)), 0)
        last = min(int(np.ceil((high + 0.5) / thickness - 0.5)), LAYERS - 1)
        for layer in range(first, last + 1):
            at = (layer + 0.5) * thickness - 0.5
            if not low < at <= high:
                continue
            alone, one, other = a, b, c  # the corner that has a side of the plane to itself, and the next in turn
            while (points[one, axis] >= at) != (points[other, axis] >= at):
                alone, one, other = one, other, alone
            share = (at - points[alone, axis]) / (points[one, axis] - points[alone, axis])
            pu = points[alone, u] + share * (points[one, u] - points[alone, u]) - middle
            pv = points[alone, v] + share * (points[one, v] - points[alone, v]) - middle
            share = (at - points[alone, axis]) / (points[other, axis] - points[alone, axis])
            qu = points[alone, u] + share * (points[other, u] - points[alone, u]) - middle
            qv = points[alone, v] + share * (points[other, v] - points[alone, v]) - middle
            cross = (pu * qv - pv * qu) / 2
            areas[layer] += cross if points[alone, axis] >= at else -cross
    return areas
