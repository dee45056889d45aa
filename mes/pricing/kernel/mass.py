"""Sums over faces: what each body encloses and spans, and where a point lies with respect to a surface."""

from dataclasses import dataclass
from functools import partial

import numpy as np
from numpy.typing import NDArray

from mes.pricing.kernel.compiled import compiled
from mes.pricing.kernel.side_by_side import cut, side_by_side

Floats = NDArray[np.float64]
Faces = NDArray[np.int32]
Labels = NDArray[np.int32]

NO_AREA = 2.0**-23
"""Height of a face, as a share of the model's size, up to which it has no area: what float32 can't tell from zero."""

SLIVER = 2.0**-17
"""Height of a face, as a share of the model's size, below which rounding to float32 turns its normal about."""

_PARTS = 4
_SMALL, _FEW_BODIES = 20_000, 1_000
_SUMS = 14
_VOLUME, _AREA, _VECTOR, _MOMENT, _LOW, _HIGH = 0, 1, 2, 5, 8, 11


@dataclass(frozen=True, slots=True, eq=False)
class Masses:
    """What faces and bodies measure.

    Attributes:
        normals: float64 (F, 3), pointing out of each face, twice its area long; zero for slivers.
        volumes: float64 (B,), signed, of each body, with respect to the centre of its own area: so neither where it
            stands nor how it is turned changes it even where it is open, and what is flat has none.
        areas: float64 (B,), of each body's faces.
        low, high: float64 (B, 3), corners of each body's box.
        flat: how many faces have no area.
        slivers: how many faces have a zero normal.
    """

    normals: Floats
    volumes: Floats
    areas: Floats
    low: Floats
    high: Floats
    flat: int
    slivers: int


def masses_of(points: Floats, faces: Faces, body: Labels, bodies: int, threads: int = 1) -> Masses:
    """Volume, area and box of each body.

    The volume is the sum of the signed tetrahedra between each triangle and one point (Zhang and Chen, "Efficient
    feature extraction for 2D/3D objects in mesh representation", ICIP 2001).

    Args:
        points: float64 (V, 3), about the origin.
        faces: int32 (F, 3).
        body: int32 (F,), the number of each face's body.
        bodies: how many there are.
        threads: how many cores to use.
    """
    low, high = bounds(points)
    size = float((high - low).max())
    normals = np.empty((len(faces), 3))
    parts = _PARTS if len(faces) > _SMALL and bodies < _FEW_BODIES else 1
    work = [partial(_sum, points, faces, body, bodies, size, normals, *stretch) for stretch in cut(len(faces), parts)]
    found = side_by_side(work, threads)
    sums = np.stack([part for part, _, _ in found])
    total = sums[:, :, :_LOW].sum(axis=0)
    lows, highs = sums[:, :, _LOW:_HIGH].min(axis=0), sums[:, :, _HIGH:].max(axis=0)
    area = np.maximum(total[:, _AREA], np.finfo(float).tiny)
    own = np.einsum("ij,ij->i", total[:, _MOMENT:_LOW], total[:, _VECTOR:_MOMENT]) / area / 18
    return Masses(
        normals, total[:, _VOLUME] / 6 - own, total[:, _AREA] / 2, lows, highs,
        sum(flat for _, flat, _ in found), sum(slivers for _, _, slivers in found),
    )  # fmt: skip


def bounds(points: Floats) -> tuple[Floats, Floats]:
    """The lowest and the highest corner (3,) of the box around points (P, 3)."""
    return _bounds(points)


def flat_faces(points: Floats, faces: Faces) -> NDArray[np.bool_]:
    """Which faces (F,) are so thin that they have no area."""
    a, b, c = (points[faces[:, corner]] for corner in range(3))
    double = np.linalg.norm(np.cross(b - a, c - a), axis=1)
    longest = np.sqrt(
        np.max([((b - a) ** 2).sum(axis=1), ((c - a) ** 2).sum(axis=1), ((c - b) ** 2).sum(axis=1)], axis=0)
    )
    flat: NDArray[np.bool_] = double <= NO_AREA * np.ptp(points, axis=0).max() * longest
    return flat


def winding(points: Floats, faces: Faces, body: Labels, own: int, start: Floats) -> int:
    """How often the other bodies go around a point (3,): signed crossings of the ray from it towards +z."""
    return _winding(points, faces, body, own, start)


def flip(faces: Faces, chosen: NDArray[np.bool_]) -> Faces:
    """The faces (F, 3), the chosen ones (F,) turned over."""
    return np.where(chosen[:, None], faces[:, ::-1], faces)


@compiled("Tuple((f8[::1], f8[::1]))(f8[:,::1])")
def _bounds(points: Floats) -> tuple[Floats, Floats]:
    low, high = np.full(3, np.inf), np.full(3, -np.inf)
    for point in range(len(points)):
        for axis in range(3):
            low[axis], high[axis] = min(low[axis], points[point, axis]), max(high[axis], points[point, axis])
    return low, high


@compiled("Tuple((f8[:,::1], i8, i8))(f8[:,::1], i4[:,::1], i4[::1], i8, f8, f8[:,::1], i8, i8)")
def _sum(
    points: Floats, faces: Faces, body: Labels, bodies: int, size: float, normals: Floats, first: int, last: int
) -> tuple[Floats, int, int]:
    sums = np.zeros((bodies, _SUMS))
    sums[:, _LOW:_HIGH], sums[:, _HIGH:] = np.inf, -np.inf
    flat, slivers = 0, 0
    for face in range(first, last):
        a, b, c = faces[face, 0], faces[face, 1], faces[face, 2]
        ax, ay, az = points[a, 0], points[a, 1], points[a, 2]
        bx, by, bz = points[b, 0], points[b, 1], points[b, 2]
        cx, cy, cz = points[c, 0], points[c, 1], points[c, 2]
        ux, uy, uz = bx - ax, by - ay, bz - az
        vx, vy, vz = cx - ax, cy - ay, cz - az
        nx, ny, nz = uy * vz - uz * vy, uz * vx - ux * vz, ux * vy - uy * vx
        wx, wy, wz = cx - bx, cy - by, cz - bz
        double = np.sqrt(nx * nx + ny * ny + nz * nz)
        longest = np.sqrt(max(ux * ux + uy * uy + uz * uz, vx * vx + vy * vy + vz * vz, wx * wx + wy * wy + wz * wz))
        own = body[face]
        sums[own, _VOLUME] += ax * nx + ay * ny + az * nz
        sums[own, _AREA] += double
        sums[own, _VECTOR] += nx
        sums[own, _VECTOR + 1] += ny
        sums[own, _VECTOR + 2] += nz
        sums[own, _MOMENT] += double * (ax + bx + cx)
        sums[own, _MOMENT + 1] += double * (ay + by + cy)
        sums[own, _MOMENT + 2] += double * (az + bz + cz)
        sums[own, _LOW], sums[own, _HIGH] = min(sums[own, _LOW], ax, bx, cx), max(sums[own, _HIGH], ax, bx, cx)
        sums[own, _LOW + 1], sums[own, _HIGH + 1] = (
            min(sums[own, _LOW + 1], ay, by, cy),
            max(sums[own, _HIGH + 1], ay, by, cy),
        )
        sums[own, _LOW + 2], sums[own, _HIGH + 2] = (
            min(sums[own, _LOW + 2], az, bz, cz),
            max(sums[own, _HIGH + 2], az, bz, cz),
        )
        flat += double <= NO_AREA * size * longest
        if double <= SLIVER * size * longest:
            slivers += 1
            nx, ny, nz = 0.0, 0.0, 0.0
        normals[face, 0], normals[face, 1], normals[face, 2] = nx, ny, nz
    return sums, flat, slivers


@compiled("i8(f8[:,::1], i4[:,::1], i4[::1], i8, f8[::1])")
def _winding(points: Floats, faces: Faces, body: Labels, own: int, start: Floats) -> int:
    x, y, z = start[0], start[1], start[2]
    times = 0
    for face in range(len(faces)):
        if body[face] == own:
            continue
        a, b, c = faces[face, 0], faces[face, 1], faces[face, 2]
        ax, bx, cx = points[a, 0] - x, points[b, 0] - x, points[c, 0] - x
        if (ax < 0 and bx < 0 and cx < 0) or (ax > 0 and bx > 0 and cx > 0):
            continue
        ay, by, cy = points[a, 1] - y, points[b, 1] - y, points[c, 1] - y
        one, two, three = ax * by - ay * bx, bx * cy - by * cx, cx * ay - cy * ax
        if (one > 0 and two > 0 and three > 0) or (one < 0 and two < 0 and three < 0):
            height = (one * (points[c, 2] - z) + two * (points[a, 2] - z) + three * (points[b, 2] - z)) / (
                one + two + three
            )
            if height > 0:
                times += 1 if one > 0 else -1
    return times
