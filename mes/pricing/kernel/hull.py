"""Finds the convex hull of a model's points: most are thrown away unseen, scipy's qhull gets the few that are left."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.spatial import ConvexHull, QhullError  # type: ignore[import-untyped]

from mes.pricing.kernel.compiled import compiled

Floats = NDArray[np.float64]

_COARSE, _CELLS, _FINE, _FINER = 4, 32, 32, 64
"""Cells along each side of the cube on which directions are told apart: for lists of planes, and for first points."""

_FEW = 10_000
"""Points from which on pruning is worth its own hull."""

EXACT = 1e-6
"""What stands out less, as a share of the size, is float32's rounding, as of many points on a model's flat sides."""

_MANY, ROUND = 20_000, 5e-4
"""Points outside a first hull from which on a model is that round, and what stands out less is its roundness."""

FLAT = 1e-6
"""Thickness over length below which a model is flat: ten times the rounding of float32."""


@dataclass(frozen=True, slots=True, eq=False)
class Hull:
    """A convex polyhedron of triangles.

    Attributes:
        points: float64 (H, 3), its corners.
        faces: int32 (N, 3), indices into `points`.
        neighbours: int32 (N, 3), the face across the side opposite to each corner.
        normals: float64 (N, 3), of unit length, outward.
        volume: what it encloses.
    """

    points: Floats
    faces: NDArray[np.int32]
    neighbours: NDArray[np.int32]
    normals: Floats
    volume: float


def hull_of(points: Floats) -> Hull | None:
    """The convex hull; None for points that lie in a plane.

    Exact but for what stands out by less than float32 can tell; to 0.05 % for a round model of very many points.

    Args:
        points: float64 (V, 3), about the origin.
    """
    candidates = points if len(points) <= _FEW else points[_farthest(points, np.zeros(3), _FINE)]
    spread = np.linalg.svd(candidates - candidates.mean(axis=0), compute_uv=False)
    if len(spread) < 3 or spread[2] <= FLAT * spread[0]:  # noqa: PLR2004 - dimensions
        return None
    try:
        hull = ConvexHull(candidates)
        if len(points) <= _FEW:
            return _plain(hull)
        outside = _outside(points, hull, EXACT)
        if len(outside) > _MANY:
            hull = ConvexHull(np.concatenate((outside[_farthest(outside, np.zeros(3), _FINER)], _corners(hull))))
            outside = _outside(outside, hull, ROUND)
        if not len(outside):
            return _plain(hull)
        return _plain(ConvexHull(np.concatenate((outside, _corners(hull)))))
    except QhullError:
        return None


def _corners(hull: ConvexHull) -> Floats:
    corners: Floats = hull.points[hull.vertices]
    return corners


def _outside(points: Floats, rough: ConvexHull, tolerance: float) -> Floats:
    """The points that lie outside a rough hull, few as a rule.

    A point is inside where no plane's function (its height over the plane by the centre's depth under it) exceeds 1.
    Those functions are linear, so a cell's corners bound them over the cell, and few planes can be the highest in it.
    """
    centre = _corners(rough).mean(axis=0)
    depth = np.maximum(-(rough.equations[:, :3] @ centre + rough.equations[:, 3]), np.finfo(float).tiny)
    planes = np.ascontiguousarray(rough.equations[:, :3] / depth[:, None])
    return points[_beyond(points, centre, planes, *_highest(planes), tolerance)]


def _plain(hull: ConvexHull) -> Hull:
    new = np.full(len(hull.points), -1, np.int32)
    new[hull.vertices] = np.arange(len(hull.vertices), dtype=np.int32)
    return Hull(
        np.ascontiguousarray(hull.points[hull.vertices]),
        np.ascontiguousarray(new[hull.simplices]),
        np.ascontiguousarray(hull.neighbors.astype(np.int32)),
        np.ascontiguousarray(hull.equations[:, :3]),
        float(hull.volume),
    )


@compiled()
def _cell(x: float, y: float, z: float, cells: int) -> tuple[int, int, int, float]:
    """The side of the cube that a direction goes through, where, and its length by the cube's measure."""
    ax, ay, az = abs(x), abs(y), abs(z)
    if ax >= ay and ax >= az:
        side, length, u, v = (0 if x > 0 else 3), ax, y, z
    elif ay >= az:
        side, length, u, v = (1 if y > 0 else 4), ay, x, z
    else:
        side, length, u, v = (2 if z > 0 else 5), az, x, y
    if length == 0:
        return 0, 0, 0, 0.0
    scale = cells / (2 * length)
    return side, min(int((u + length) * scale), cells - 1), min(int((v + length) * scale), cells - 1), length


@compiled("i8[::1](f8[:,::1], f8[::1], i8)")
def _farthest(points: Floats, centre: Floats, cells: int) -> NDArray[np.int64]:
    """In each direction's cell, the point that is farthest out; of equal ones the lowest."""
    best = np.full((6, cells, cells), -1, np.int64)
    reach = np.full((6, cells, cells), -1.0)
    for point in range(len(points)):
        x, y, z = points[point, 0] - centre[0], points[point, 1] - centre[1], points[point, 2] - centre[2]
        side, u, v, _ = _cell(x, y, z, cells)
        far = x * x + y * y + z * z
        if far > reach[side, u, v]:
            best[side, u, v], reach[side, u, v] = point, far
    return best.ravel()[best.ravel() >= 0]


@compiled()
def _lattice(side: int, u: int, v: int, cells: int) -> tuple[float, float, float]:
    """A corner of the cells on a side of the cube."""
    out, p, q = (1.0 if side < 3 else -1.0), 2.0 * u / cells - 1.0, 2.0 * v / cells - 1.0  # noqa: PLR2004
    if side % 3 == 0:
        return out, p, q
    return (p, out, q) if side % 3 == 1 else (p, q, out)


@compiled()
def _highest_in(
    planes: Floats, known: NDArray[np.int32], side: int, u: int, v: int, cells: int
) -> tuple[NDArray[np.int32], float]:
    """Of the planes that are known to be the highest in a larger cell, those that can be in this one, and how high."""
    high = np.full(len(known), -np.inf)
    low = np.full(len(known), np.inf)
    for corner in range(4):
        x, y, z = _lattice(side, u + corner // 2, v + corner % 2, cells)
        for place in range(len(known)):
            plane = known[place]
            height = planes[plane, 0] * x + planes[plane, 1] * y + planes[plane, 2] * z
            low[place], high[place] = min(low[place], height), max(high[place], height)
    return known[high >= low.max()], high.max()


@compiled("Tuple((f8[::1], i8[::1], i4[::1]))(f8[:,::1])")
def _highest(planes: Floats) -> tuple[Floats, NDArray[np.int64], NDArray[np.int32]]:
    """For each cell of the cube: how high planes are in it, where its list of the highest begins; and those lists."""
    most, begin = np.empty(6 * _CELLS * _CELLS), np.zeros(6 * _CELLS * _CELLS + 1, np.int64)
    listed, count = np.empty(1024, np.int32), 0
    all_planes = np.arange(len(planes)).astype(np.int32)
    larger = [all_planes for _ in range(6 * _COARSE * _COARSE)]
    for cell in range(len(larger)):
        side, u, v = cell // (_COARSE * _COARSE), cell // _COARSE % _COARSE, cell % _COARSE
        larger[cell] = _highest_in(planes, all_planes, side, u, v, _COARSE)[0]
    for cell in range(6 * _CELLS * _CELLS):
        side, u, v = cell // (_CELLS * _CELLS), cell // _CELLS % _CELLS, cell % _CELLS
        known = larger[(side * _COARSE + u * _COARSE // _CELLS) * _COARSE + v * _COARSE // _CELLS]
        found, most[cell] = _highest_in(planes, known, side, u, v, _CELLS)
        while count + len(found) > len(listed):
            listed = np.concatenate((listed, np.empty_like(listed)))
        listed[count : count + len(found)] = found
        count += len(found)
        begin[cell + 1] = count
    return most, begin, listed[:count].copy()


@compiled("i8[::1](f8[:,::1], f8[::1], f8[:,::1], f8[::1], i8[::1], i4[::1], f8)")
def _beyond(
    points: Floats,
    centre: Floats,
    planes: Floats,
    most: Floats,
    begin: NDArray[np.int64],
    listed: NDArray[np.int32],
    tolerance: float,
) -> NDArray[np.int64]:
    found, count = np.empty(len(points), np.int64), 0
    for point in range(len(points)):
        x, y, z = points[point, 0] - centre[0], points[point, 1] - centre[1], points[point, 2] - centre[2]
        side, u, v, length = _cell(x, y, z, _CELLS)
        cell = (side * _CELLS + u) * _CELLS + v
        if length * most[cell] <= 1:
            continue
        for place in range(begin[cell], begin[cell + 1]):
            plane = listed[place]
            if planes[plane, 0] * x + planes[plane, 1] * y + planes[plane, 2] * z > 1 + tolerance:
                found[count] = point
                count += 1
                break
    return found[:count].copy()
