"""Finds the smallest oriented box around a model, so that no price depends on how the model lies in its file."""

import numpy as np
from numpy.typing import NDArray

from mes.pricing.kernel.compiled import compiled
from mes.pricing.kernel.hull import FLAT, Hull

Floats = NDArray[np.float64]
Faces = NDArray[np.int32]

_MOST_SIDES = 64
"""Planes of the hull that are tried, the largest first; a round hull has thousands that all come to the same."""

_EQUAL = 1e-7
"""Sizes that differ by a smaller share are equal, as of all boxes on a tetrahedron's sides."""

_ROUNDS = 3
_ROUNDING = 1e-12
_MIXED = np.array((1, 40_000_003, 1_600_000_240_000_009))
_SAME_PLANE = 7
"""Digits in which the normals of one plane's triangles agree."""


def box_of(points: Floats, hull: Hull | None) -> tuple[Floats, Floats]:
    """Axes and sides of the smallest box that was found, the longest first.

    One side of the box lies on a side of the hull (O'Rourke, "Finding minimal enclosing boxes", 1985, shows that two
    sides hold an edge each: near enough, and exact for what was drawn as a box); around its normal, the rectangle
    comes from rotating calipers (Toussaint, 1983). Turning about each axis in turn then mends what is left.

    Args:
        points: float64 (V, 3), about the origin.
        hull: their convex hull; None for points in a plane.

    Returns:
        The axes, float64 (3, 3), rows of unit length, right-handed; and the sides along them, float64 (3,).
    """
    axes = (
        _flat_axes(points)
        if hull is None
        else _search(hull.points, hull.faces, hull.neighbours, hull.normals, _sides(hull))
    )
    spread = points if hull is None else hull.points
    sides = np.ptp(spread @ axes.T, axis=0)
    if hull is None:
        sides[sides <= FLAT * sides.max()] = 0.0
    axes = axes[np.argsort(-sides, kind="stable")]
    for axis in axes:
        axis *= np.sign(axis[np.argmax(np.abs(axis) > 0.5)]) or 1.0  # noqa: PLR2004, PLW2901 - in place; leading part
    if np.linalg.det(axes) < 0:
        axes[2] *= -1
    return np.ascontiguousarray(axes), np.sort(sides)[::-1].copy()


def _sides(hull: Hull) -> Floats:
    """The normals of the hull's planes, each once, the largest first."""
    a, b, c = (hull.points[hull.faces[:, corner]] for corner in range(3))
    areas = np.linalg.norm(np.cross(b - a, c - a), axis=1)
    rounded = np.round(hull.normals * 10**_SAME_PLANE).astype(np.int64)
    _, one, place = np.unique(rounded @ _MIXED, return_index=True, return_inverse=True)
    totals = np.bincount(place.ravel(), areas)
    order = np.argsort(-np.round(totals / totals.max(), _SAME_PLANE), kind="stable")[:_MOST_SIDES]
    return np.ascontiguousarray(hull.normals[one[order]])


def _flat_axes(points: Floats) -> Floats:
    """The axes of a plane that holds all points, or of a line."""
    centred = points - points.mean(axis=0)
    _, _, principal = np.linalg.svd(centred.T @ centred)
    axes, _, _ = _around(centred, np.ascontiguousarray(principal[2]))
    return axes


@compiled()
def _plane(normal: Floats) -> tuple[Floats, Floats]:
    """Two directions square to a normal and to each other."""
    least = np.argmin(np.abs(normal))
    u = np.zeros(3)
    u[least] = 1.0
    u -= normal[least] * normal
    u /= np.sqrt((u * u).sum())
    v = np.array([
        normal[1] * u[2] - normal[2] * u[1], normal[2] * u[0] - normal[0] * u[2], normal[0] * u[1] - normal[1] * u[0],
    ])  # fmt: skip
    return u, v


@compiled()
def _left_turn(flat: Floats, a: int, b: int, c: int) -> bool:
    turns: bool = (flat[b, 0] - flat[a, 0]) * (flat[c, 1] - flat[a, 1]) > (flat[b, 1] - flat[a, 1]) * (
        flat[c, 0] - flat[a, 0]
    )
    return turns


@compiled()
def _apart(flat: Floats, one: int, other: int, tiny: float) -> bool:
    apart: bool = max(abs(flat[one, 0] - flat[other, 0]), abs(flat[one, 1] - flat[other, 1])) > tiny
    return apart


@compiled()
def _outline(flat: Floats) -> Floats:
    """Corners of the convex hull of points in a plane (P, 2), counter-clockwise (Andrew's monotone chain, 1979).

    Of points nearer to each other than rounding one is kept: the side between two could point anywhere.
    """
    order = np.argsort(flat[:, 1], kind="mergesort")
    order = order[np.argsort(flat[:, 0][order], kind="mergesort")]
    tiny = _ROUNDING * max(np.ptp(flat[:, 0]), np.ptp(flat[:, 1]))
    chain, size = np.empty(2 * len(order) + 1, np.int64), 0
    for turn in range(2):
        begin = size
        for step in range(len(order)):
            point = order[step] if turn == 0 else order[len(order) - 1 - step]
            while size >= begin + 2 and not _left_turn(flat, chain[size - 2], chain[size - 1], point):
                size -= 1
            if size == begin or _apart(flat, chain[size - 1], point, tiny):
                chain[size] = point
                size += 1
        size -= size > begin + 1  # the last point begins the other chain
    return flat[chain[: max(size, 1)]]


@compiled()
def _farther(outline: Floats, corner: int, x: float, y: float) -> int:
    """The corner of a convex polygon, from this one on, up to which a direction rises."""
    for _ in range(len(outline)):
        after = (corner + 1) % len(outline)
        if (outline[after, 0] - outline[corner, 0]) * x + (outline[after, 1] - outline[corner, 1]) * y <= 0:
            break
        corner = after
    return corner


@compiled()
def _is_better(size: float, girth: float, best: float, best_girth: float) -> bool:
    """Whether a box or rectangle is smaller, or as small and its sides come to less: the same one however it lies."""
    if size < best * (1 - _EQUAL):
        return True
    return size <= best * (1 + _EQUAL) and girth < best_girth * (1 - _EQUAL)


@compiled()
def _rectangle(outline: Floats) -> tuple[float, float, float, float]:
    """Area and half the girth of the smallest rectangle around a convex polygon, and the direction of a side."""
    best, girth, best_x, best_y = np.inf, np.inf, 1.0, 0.0
    right, top, left = 0, 0, 0
    for edge in range(len(outline)):
        after = (edge + 1) % len(outline)
        x, y = outline[after, 0] - outline[edge, 0], outline[after, 1] - outline[edge, 1]
        length = np.sqrt(x * x + y * y)
        if length == 0:
            continue
        x, y = x / length, y / length
        right = _farther(outline, after if edge == 0 else right, x, y)
        top = _farther(outline, right if edge == 0 else top, -y, x)
        left = _farther(outline, top if edge == 0 else left, -x, -y)
        width = (outline[right, 0] - outline[left, 0]) * x + (outline[right, 1] - outline[left, 1]) * y
        depth = (outline[top, 1] - outline[edge, 1]) * x - (outline[top, 0] - outline[edge, 0]) * y
        if _is_better(width * depth, width + depth, best, girth):
            best, girth, best_x, best_y = width * depth, width + depth, x, y
    return best, girth, best_x, best_y


@compiled("Tuple((f8[:,::1], f8, f8))(f8[:,::1], f8[::1])")
def _around(points: Floats, normal: Floats) -> tuple[Floats, float, float]:
    """Axes of the smallest box with one along a normal, and area and half the girth of its side across it."""
    u, v = _plane(normal)
    flat = np.empty((len(points), 2))
    for point in range(len(points)):
        x, y, z = points[point, 0], points[point, 1], points[point, 2]
        flat[point, 0], flat[point, 1] = x * u[0] + y * u[1] + z * u[2], x * v[0] + y * v[1] + z * v[2]
    area, girth, x, y = _rectangle(_outline(flat))
    axes = np.empty((3, 3))
    axes[0], axes[1], axes[2] = normal, x * u + y * v, x * v - y * u
    return axes, area, girth


@compiled()
def _silhouette(points: Floats, faces: Faces, neighbours: Faces, normals: Floats, normal: Floats) -> Floats:
    """Corners of the hull at sides between a face that looks along a direction and one that does not."""
    towards = np.empty(len(faces), np.bool_)
    for face in range(len(faces)):
        towards[face] = normals[face, 0] * normal[0] + normals[face, 1] * normal[1] + normals[face, 2] * normal[2] > 0
    seen, count = np.empty(len(points), np.int64), 0
    marked = np.zeros(len(points), np.bool_)
    for face in range(len(faces)):
        for corner in range(3):
            if towards[face] and not towards[neighbours[face, corner]]:
                for end in (faces[face, (corner + 1) % 3], faces[face, (corner + 2) % 3]):
                    if not marked[end]:
                        marked[end], seen[count] = True, end
                        count += 1
    return points[seen[:count]]


@compiled()
def _height(points: Floats, normal: Floats) -> float:
    low, high = np.inf, -np.inf
    for point in range(len(points)):
        reach = points[point, 0] * normal[0] + points[point, 1] * normal[1] + points[point, 2] * normal[2]
        low, high = min(low, reach), max(high, reach)
    return high - low


@compiled("f8[:,::1](f8[:,::1], i4[:,::1], i4[:,::1], f8[:,::1], f8[:,::1])")
def _search(points: Floats, faces: Faces, neighbours: Faces, normals: Floats, sides: Floats) -> Floats:
    best, girth, axes = np.inf, np.inf, np.eye(3)
    for step in range(len(sides) + 3 * _ROUNDS):
        normal = sides[step].copy() if step < len(sides) else axes[(step - len(sides)) % 3].copy()
        found, area, around = _around(_silhouette(points, faces, neighbours, normals, normal), normal)
        height = _height(points, normal)
        if _is_better(area * height, around + height, best, girth):
            best, girth, axes = area * height, around + height, found
    return axes
