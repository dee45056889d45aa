"""Measures what hangs over nothing, along one axis both ways: areas exactly, and by columns what stands in between."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from mes.pricing.kernel.compiled import compiled

Floats = NDArray[np.float64]
Faces = NDArray[np.int32]

COLUMNS = 128
"""Columns along each side of the box: 0.16 mm apart on a ring of 20 mm, and only what stands in between is theirs."""

STEEP = 0.5
"""Square of the cosine of 45 degrees, beyond which resins and waxes do not hang without support."""

ON_PLATE = 1e-4
"""Distance from the plate, as a share of the longest side, within which a face stands on it."""

ROUNDING = 1e-6
"""Side of a box, as a share of the longest, up to which the model is flat."""

_WORK, _WORK_PER_FACE = 2_000_000, 2
"""Crossings that are looked at, at most; a hostile model with more of them gets fewer columns."""

_FEW = 24


@dataclass(frozen=True, slots=True, eq=False)
class Standing:
    """A model in its oriented box.

    Attributes:
        points: float64 (V, 3), along the box's axes, in steps: columns' centres are at whole numbers, the box begins
            at -0.5.
        faces: int32 (F, 3), outward.
        normals: float64 (F, 3), in the axes of the file, twice each face's area long.
        axes: float64 (3, 3), rows of unit length: the box's axes in those of the file.
        sides: float64 (3,), of the box.
    """

    points: Floats
    faces: Faces
    normals: Floats
    axes: Floats
    sides: Floats


def stand(points: Floats, faces: Faces, normals: Floats, axes: Floats) -> Standing:
    """Put a model (points float64 (V, 3)) into its box."""
    turned, low, high = _turn(points, axes)
    sides = high - low
    sides[sides <= ROUNDING * sides.max()] = 0.0
    _rule(turned, low, COLUMNS / np.where(sides > 0, sides, np.inf))
    return Standing(turned, faces, normals, axes, sides)


def overhangs(model: Standing, first: int, last: int) -> Floats:
    """Area that hangs over nothing, and the volume from it straight down to the plate: float64 (3, 2, 2).

    By axis; for the way up along it and the way down; area, then volume. Of the faces first..last.
    """
    step = model.sides / COLUMNS
    near = ON_PLATE * float(model.sides.max()) / np.where(step > 0, step, 1.0)
    sums: Floats = _project(model.points, model.faces, model.normals, model.axes, near, COLUMNS, first, last)
    sums[:, :, 1] *= step[:, None]
    return sums


def near_columns(model: Standing, first: int, last: int) -> NDArray[np.uint8]:
    """For each of the faces first..last, the axes along which columns may cross it: the bits 1, 2 and 4."""
    return _near_columns(model.points, model.faces, first, last)


def between(model: Standing, axis: int, near: NDArray[np.uint8]) -> Floats:
    """How much of the volume under overhangs, along an axis and upside down, is not free but taken (2,).

    Columns count it, each by the crossings of its centre (as in rasterisation: at shared sides none is missed or
    counted twice).

    Args:
        model: in its box.
        axis: 0, 1 or 2.
        near: uint8 (F,), what `near_columns` says of all faces.
    """
    step = model.sides / COLUMNS
    if step.min() == 0:
        return np.zeros(2)
    faces = np.flatnonzero(near & (1 << axis)).astype(np.int32)
    plate = ON_PLATE * float(model.sides.max()) / float(step[axis])
    columns, points = COLUMNS, model.points
    while not (found := _cross(points, model.faces, model.normals, faces, model.axes, axis, plate, columns))[2]:
        columns, points, plate = columns // 2, (points + 0.5) / 2 - 0.5, plate / 2
        faces = np.arange(len(model.faces), dtype=np.int32)
    taken: Floats = _walk(*found[:2], columns) * (COLUMNS / columns) ** 3 * step.prod()
    return taken


@compiled("Tuple((f8[:,::1], f8[::1], f8[::1]))(f8[:,::1], f8[:,::1])")
def _turn(points: Floats, axes: Floats) -> tuple[Floats, Floats, Floats]:
    """Points in the box's axes, and the corners of their box."""
    turned = np.empty_like(points)
    low, high = np.full(3, np.inf), np.full(3, -np.inf)
    for point in range(len(points)):
        x, y, z = points[point, 0], points[point, 1], points[point, 2]
        for axis in range(3):
            along = x * axes[axis, 0] + y * axes[axis, 1] + z * axes[axis, 2]
            turned[point, axis] = along
            low[axis], high[axis] = min(low[axis], along), max(high[axis], along)
    return turned, low, high


@compiled("void(f8[:,::1], f8[::1], f8[::1])")
def _rule(turned: Floats, low: Floats, per_mm: Floats) -> None:
    for point in range(len(turned)):
        for axis in range(3):
            turned[point, axis] = (turned[point, axis] - low[axis]) * per_mm[axis] - 0.5


@compiled()
def _hangs(normals: Floats, face: int, axes: Floats, axis: int) -> tuple[int, float]:
    """1 where a face hangs when its axis points up, 2 where it hangs when it points down, else 0; twice its shadow."""
    x, y, z = normals[face, 0], normals[face, 1], normals[face, 2]
    along = x * axes[axis, 0] + y * axes[axis, 1] + z * axes[axis, 2]
    if along * along <= STEEP * (x * x + y * y + z * z) * (1 + 1e-9):
        return 0, 0.0
    return 1 if along < 0 else 2, abs(along)


@compiled()
def _stands(points: Floats, corners: tuple[int, int, int], axis: int, plate: float, near: float) -> bool:
    a, b, c = points[corners[0], axis], points[corners[1], axis], points[corners[2], axis]
    stands: bool = max(abs(a - plate), abs(b - plate), abs(c - plate)) <= near
    return stands


@compiled("f8[:,:,::1](f8[:,::1], i4[:,::1], f8[:,::1], f8[:,::1], f8[::1], i8, i8, i8)")
def _project(
    points: Floats, faces: Faces, normals: Floats, axes: Floats, near: Floats, columns: int, first: int, last: int
) -> Floats:
    """What `overhangs` gives, heights in steps."""
    sums = np.zeros((3, 2, 2))
    for face in range(first, last):
        for axis in range(3):
            way, shadow = _hangs(normals, face, axes, axis)
            if way == 0:
                continue
            corners = (faces[face, 0], faces[face, 1], faces[face, 2])
            plate = -0.5 if way == 1 else columns - 0.5
            if _stands(points, corners, axis, plate, near[axis]):
                continue
            middle = (points[corners[0], axis] + points[corners[1], axis] + points[corners[2], axis]) / 3
            x, y, z = normals[face, 0], normals[face, 1], normals[face, 2]
            sums[axis, way - 1, 0] += np.sqrt(x * x + y * y + z * z) / 2
            sums[axis, way - 1, 1] += shadow / 2 * abs(middle - plate)
    return sums


@compiled("u1[::1](f8[:,::1], i4[:,::1], i8, i8)")
def _near_columns(points: Floats, faces: Faces, first: int, last: int) -> NDArray[np.uint8]:
    near = np.empty(last - first, np.uint8)
    for face in range(first, last):
        a, b, c = faces[face, 0], faces[face, 1], faces[face, 2]
        x, y, z = points[a, 0], points[a, 1], points[a, 2]
        lx, ly, lz = (
            min(x, points[b, 0], points[c, 0]),
            min(y, points[b, 1], points[c, 1]),
            min(z, points[b, 2], points[c, 2]),
        )
        hx, hy, hz = (
            max(x, points[b, 0], points[c, 0]),
            max(y, points[b, 1], points[c, 1]),
            max(z, points[b, 2], points[c, 2]),
        )
        in_x, in_y, in_z = np.ceil(lx) < np.ceil(hx), np.ceil(ly) < np.ceil(hy), np.ceil(lz) < np.ceil(hz)
        near[face - first] = (in_y & in_z) * 1 + (in_z & in_x) * 2 + (in_x & in_y) * 4
    return near


@compiled()
def _passes(points: Floats, one: int, other: int, u: int, v: int, row: int) -> float:
    """Where along u the side between two points passes a row: the same number from both its faces."""
    if points[one, v] > points[other, v]:
        one, other = other, one
    share = (row - points[one, v]) / (points[other, v] - points[one, v])
    at: float = points[one, u] + share * (points[other, u] - points[one, u])
    return at


@compiled()
def _span(points: Floats, corners: tuple[int, int, int], u: int, v: int, row: int) -> tuple[int, int]:
    """The first column of a row that a face covers, and the one after the last."""
    begin, end = np.inf, -np.inf
    for corner in range(3):
        one, other = corners[corner], corners[(corner + 1) % 3]
        if (points[one, v] < row) != (points[other, v] < row):
            at = _passes(points, one, other, u, v, row)
            begin, end = min(begin, at), max(end, at)
    if begin == np.inf:
        return 0, 0
    return int(np.ceil(begin)), int(np.ceil(end))


@compiled()
def _rows(points: Floats, corners: tuple[int, int, int], u: int, v: int) -> tuple[int, int]:
    """The first row that may cross a face, and the one after the last; none where it lies between columns."""
    a, b, c = points[corners[0], u], points[corners[1], u], points[corners[2], u]
    if np.ceil(min(a, b, c)) == np.ceil(max(a, b, c)):
        return 0, 0
    a, b, c = points[corners[0], v], points[corners[1], v], points[corners[2], v]
    return int(np.ceil(min(a, b, c))), int(np.ceil(max(a, b, c)))


@compiled()
def _plane(points: Floats, corners: tuple[int, int, int], u: int, v: int, axis: int) -> tuple[float, float, float]:
    """Twice the area of a face's shadow, positive where it looks up, and its slopes along u and v."""
    a, b, c = corners
    bu, bv, bz = points[b, u] - points[a, u], points[b, v] - points[a, v], points[b, axis] - points[a, axis]
    cu, cv, cz = points[c, u] - points[a, u], points[c, v] - points[a, v], points[c, axis] - points[a, axis]
    area = bu * cv - bv * cu
    return area, (bz * cv - bv * cz) / area, (bu * cz - bz * cu) / area


@compiled("Tuple((i4[::1], f8[:,::1], b1))(f8[:,::1], i4[:,::1], f8[:,::1], i4[::1], f8[:,::1], i8, f8, i8)")
def _cross(
    points: Floats,
    faces: Faces,
    normals: Floats,
    chosen: NDArray[np.int32],
    axes: Floats,
    axis: int,
    near: float,
    columns: int,
) -> tuple[NDArray[np.int32], Floats, bool]:
    """Each crossing's column, and (N, 2) its height and kind; False where there are too many.

    The kind is 1 where the column leaves material upwards, -1 where it enters, + 10 x what `_hangs` says.
    """
    u, v = (axis + 1) % 3, (axis + 2) % 3
    most = _WORK + _WORK_PER_FACE * len(faces) if columns > 1 else np.int64(1) << 62
    column, crossing, count, work = np.empty(4096, np.int32), np.empty((4096, 2)), 0, 0
    for face in chosen:
        corners = (faces[face, 0], faces[face, 1], faces[face, 2])
        first, last = _rows(points, corners, u, v)
        if first == last:
            continue
        area, slope_u, slope_v = _plane(points, corners, u, v, axis)
        way, _ = _hangs(normals, face, axes, axis)
        way *= not _stands(points, corners, axis, -0.5 if way == 1 else columns - 0.5, near)
        heights = (points[corners[0], axis], points[corners[1], axis], points[corners[2], axis])
        for row in range(first, last if area != 0 else first):
            begin, end = _span(points, corners, u, v, row)
            work += 1 + end - begin
            if work > most:
                return column[:0], crossing[:0], False
            while count + end - begin > len(column):
                column = np.concatenate((column, np.empty_like(column)))
                crossing = np.concatenate((crossing, np.empty_like(crossing)))
            for place in range(begin, end):
                height = (
                    heights[0] + slope_u * (place - points[corners[0], u]) + slope_v * (row - points[corners[0], v])
                )
                column[count] = row * columns + place
                crossing[count, 0] = min(max(height, min(heights)), max(heights))
                crossing[count, 1] = 10.0 * way + (1.0 if area > 0 else -1.0)
                count += 1
    return column[:count].copy(), crossing[:count].copy(), True


@compiled()
def _by_column(column: NDArray[np.int32], crossing: Floats, columns: int) -> tuple[NDArray[np.int64], Floats]:
    """Where each column ends, and all crossings by column and height."""
    ends = np.zeros(columns + 1, np.int64)
    for place in range(len(column)):
        ends[column[place] + 1] += 1
    for place in range(columns):
        ends[place + 1] += ends[place]
    ordered = np.empty_like(crossing)
    for place in range(len(column)):
        to = ends[column[place]]
        ordered[to, 0], ordered[to, 1] = crossing[place, 0], crossing[place, 1]
        ends[column[place]] += 1
    begin = 0
    for place in range(columns):
        if ends[place] > begin + 1:
            _sort(ordered[begin : ends[place]])
        begin = ends[place]
    return ends, ordered


@compiled()
def _sort(part: Floats) -> None:
    """In place, by height."""
    if len(part) > _FEW:
        part[:] = part[np.argsort(part[:, 0], kind="mergesort")]
        return
    for at in range(1, len(part)):
        height, kind, hole = part[at, 0], part[at, 1], at
        while hole > 0 and part[hole - 1, 0] > height:
            part[hole, 0], part[hole, 1] = part[hole - 1, 0], part[hole - 1, 1]
            hole -= 1
        part[hole, 0], part[hole, 1] = height, kind


@compiled()
def _filled(part: Floats, way: int, columns: int) -> float:
    """How much of one column, below its overhangs, is not free: 0 for the way up that the axis points, 1 for down."""
    filled, inside, below = 0.0, 0, 0.0
    for step in range(len(part)):
        at = step if way == 0 else len(part) - 1 - step
        reach = part[at, 0] + 0.5 if way == 0 else columns - 0.5 - part[at, 0]
        hangs = int(part[at, 1] + 5) // 10
        if (part[at, 1] > 10 * hangs) == (way == 0):
            inside, below = max(inside - 1, 0), reach
            continue
        if hangs == way + 1:
            filled += below if inside == 0 else reach
        inside += 1
    return filled


@compiled("f8[::1](i4[::1], f8[:,::1], i8)")
def _walk(column: NDArray[np.int32], crossing: Floats, columns: int) -> Floats:
    """Sums over columns of what is not free below overhangs, upright and upside down (2,), in cubed steps."""
    ends, ordered = _by_column(column, crossing, columns * columns)
    filled, begin = np.zeros(2), 0
    for place in range(columns * columns):
        if ends[place] == begin:
            continue
        for way in range(2):
            filled[way] += _filled(ordered[begin : ends[place]], way, columns)
        begin = ends[place]
    return filled
