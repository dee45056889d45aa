"""Measures how richly a surface is shaped: its total absolute mean curvature, from the angles at its edges."""

import math
from functools import partial

import numpy as np
from numpy.typing import NDArray

from mes.pricing.kernel.compiled import compiled
from mes.pricing.kernel.edges import Edges
from mes.pricing.kernel.mass import Masses
from mes.pricing.kernel.side_by_side import cut, side_by_side

Floats = NDArray[np.float64]
Faces = NDArray[np.int32]

_PARTS = 4
_SMALL = 20_000
_STEPS = 16
"""Slivers that lie in a row, at most, before one is left without a normal."""

_SERIES = 0.01
"""Square of the tangent up to which five terms of the arc tangent's series are good to 1e-11."""


def detail_of(points: Floats, faces: Faces, edges: Edges, masses: Masses, threads: int = 1) -> float | None:
    """Total absolute mean curvature over sqrt(4 pi area): 1 for a sphere, at least 1 for what is convex.

    On a polyhedron the mean curvature sits in the edges, length x angle between the normals / 2 each (Steiner's
    formula; Cohen-Steiner and Morvan, "Restricted Delaunay triangulations and normal cycle", SoCG 2003); Minkowski's
    inequality gives the lower bound. Edges of one face or of more than two have no such angle and are left out.

    Args:
        points: float64 (V, 3).
        faces: int32 (F, 3).
        edges: how they meet.
        masses: their area and normals.
        threads: how many cores to use.
    """
    area = float(masses.areas.sum())
    if area <= 0:
        return None
    normals = masses.normals
    if masses.slivers:
        normals = normals.copy()
        _lend_normals(points, faces, edges.twin, normals)
    parts = _PARTS if len(faces) > _SMALL else 1
    work = [partial(_bend, points, faces, edges.twin, normals, *stretch) for stretch in cut(len(faces), parts)]
    return sum(side_by_side(work, threads)) / 2 / math.sqrt(4 * math.pi * area)


@compiled()
def _longest_side(points: Floats, faces: Faces, face: int) -> int:
    longest, found = -1.0, 0
    for corner in range(3):
        start, end = faces[face, corner], faces[face, (corner + 1) % 3]
        x, y, z = (
            points[end, 0] - points[start, 0],
            points[end, 1] - points[start, 1],
            points[end, 2] - points[start, 2],
        )
        if x * x + y * y + z * z > longest:
            longest, found = x * x + y * y + z * z, corner
    return found


@compiled("void(f8[:,::1], i4[:,::1], i4[::1], f8[:,::1])")
def _lend_normals(points: Floats, faces: Faces, twin: NDArray[np.int32], normals: Floats) -> None:
    """Give slivers, whose own normal is a matter of rounding, that of the face across their longest side."""
    for face in range(len(faces)):
        if normals[face, 0] != 0 or normals[face, 1] != 0 or normals[face, 2] != 0:
            continue
        lender = face
        for _ in range(_STEPS):
            across = twin[3 * lender + _longest_side(points, faces, lender)]
            if across < 0:
                break
            lender = across // 3
            if normals[lender, 0] != 0 or normals[lender, 1] != 0 or normals[lender, 2] != 0:
                for axis in range(3):
                    normals[face, axis] = normals[lender, axis]
                break


@compiled("f8(f8[:,::1], i4[:,::1], i4[::1], f8[:,::1], i8, i8)")
def _bend(points: Floats, faces: Faces, twin: NDArray[np.int32], normals: Floats, first: int, last: int) -> float:
    """The sum of length x angle over the edges whose second face is in first..last."""
    total = 0.0
    for face in range(first, last):
        ax, ay, az = normals[face, 0], normals[face, 1], normals[face, 2]
        for corner in range(3):
            other = twin[3 * face + corner]
            if other < 0 or other > 3 * face:
                continue
            bx, by, bz = normals[other // 3, 0], normals[other // 3, 1], normals[other // 3, 2]
            x, y, z = ay * bz - az * by, az * bx - ax * bz, ax * by - ay * bx
            sine, cosine = x * x + y * y + z * z, ax * bx + ay * by + az * bz  # the sine squared
            start, end = faces[face, corner], faces[face, (corner + 1) % 3]
            x, y, z = (
                points[end, 0] - points[start, 0],
                points[end, 1] - points[start, 1],
                points[end, 2] - points[start, 2],
            )
            length = x * x + y * y + z * z  # squared too: one root does for both
            if cosine > 0 and sine < _SERIES * cosine * cosine:
                inverse = 1 / cosine
                square = sine * inverse * inverse
                series = 1 - square * (1 / 3 - square * (1 / 5 - square * (1 / 7 - square / 9)))
                total += np.sqrt(sine * length) * inverse * series
            else:
                total += math.atan2(np.sqrt(sine), cosine) * np.sqrt(length)
    return total
