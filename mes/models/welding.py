"""Welds points at exactly the same position, in one pass of compiled code over whatever holds them."""

import secrets
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mes.pricing.kernel.compiled import compiled
from mes.pricing.kernel.side_by_side import cut, side_by_side

SOUND, NOT_A_NUMBER, TOO_FAR, NO_SUCH_POINT = range(4)
"""What a weld says of its input; the vertices and faces of any but a sound one are worthless."""

_SMALL = 50_000
"""Triangles up to which one table fits a core's own memory."""

Floats = NDArray[np.float64]
Faces = NDArray[np.int32]
Table = NDArray[np.int32]
Point = tuple[float, float, float]
Keys = tuple[np.uint64, np.uint64, np.uint64, np.uint64]
Welded = tuple[Floats, Faces, int]

_KEYS: Keys = tuple(np.uint64(secrets.randbits(64) | 1) for _ in range(4))  # type: ignore[assignment]
"""Drawn anew in each process: nobody can prepare a file whose points all fall into one place. No result shows them."""


def weld_soup(corners: NDArray[np.float32] | Floats, farthest: float, threads: int = 1) -> Welded:
    """Vertices (V, 3) in order of appearance, faces (F, 3) and what is to be said of triangles given by corners.

    Open addressing, 20 ns a corner; it never holds a copy of the corners. Large models are welded in halves, which
    two threads may do at once, and whose smaller tables fit a core's own memory better even if one does both.

    Args:
        corners: float32 or float64 (F, 3, 3), in any layout, such as a view over a memory map.
        farthest: the largest absolute coordinate that is sound.
        threads: how many cores to use.
    """
    faces = np.empty((len(corners), 3), np.int32)
    halves = cut(len(corners), 2 if len(corners) > _SMALL else 1)
    work = [partial(_weld_half, corners[first:last], faces[first:last], farthest) for first, last in halves]
    found = side_by_side(work, threads)
    vertices, table, say = found[0]
    for (first, last), (more, _, said) in zip(halves[1:], found[1:], strict=True):
        say = say or said
        if say == SOUND:
            together = np.concatenate((vertices, np.empty_like(more)))
            known = _merge(together, len(vertices), table, more, faces[first:last], _KEYS)
            vertices = together[:known]
    return vertices, faces, say


def weld_points(points: Floats, faces: Faces | NDArray[np.int64], farthest: float) -> Welded:
    """The same of faces that already share points; points that no face uses are dropped.

    Args:
        points: float64 (N, 3).
        faces: int32 or int64 (F, 3), indices into `points`.
        farthest: the largest absolute coordinate that is sound, of all points.
    """
    welded = np.empty((len(faces), 3), np.int32)
    most = min(len(points), 3 * len(faces))
    table, vertices = np.full(_places_for(most), -1, np.int32), np.empty((most, 3))
    say = _soundness(points, farthest)
    if say != SOUND:
        return vertices[:0], welded, say
    known = _weld_points(points, faces, welded, table, vertices, _KEYS)
    return vertices[: max(known, 0)], welded, SOUND if known >= 0 else NO_SUCH_POINT


def _places_for(vertices: int) -> int:
    """How large a table is for so many vertices: a power of two, so that at most half of its places are taken."""
    return max(256, 1 << (2 * vertices - 1).bit_length())


def _weld_half(corners: NDArray[Any], faces: Faces, farthest: float) -> tuple[Floats, Table, int]:
    """The vertices, the table that finds them, and what is to be said; fills in the faces.

    Both come from numpy, which asks for huge pages: fewer misses than with numba's.
    """
    places = _places_for(len(corners) // 2)  # a closed mesh has half as many vertices as faces
    table, vertices, known, face = np.full(places, -1, np.int32), np.empty((places // 2, 3)), 0, 0
    while True:
        face, known, say = _weld_soup(corners, faces, face, farthest, table, vertices, known, _KEYS)
        if face == len(corners) or say != SOUND:
            return vertices[:known], table, say
        vertices = np.concatenate((vertices, np.empty_like(vertices)))
        table = np.full(2 * len(table), -1, np.int32)
        _enter(vertices, known, table, _KEYS)


@compiled("b1(i4[:,::1])")
def any_spans_surface(faces: Faces) -> bool:
    """Whether any face has three different corners."""
    for face in range(len(faces)):
        a, b, c = faces[face, 0], faces[face, 1], faces[face, 2]
        if a not in (b, c) and b != c:
            return True
    return False


@compiled()
def _scatter(point: Point, keys: Keys, places: int) -> np.uint64:
    """Where in a table of so many places, a power of two, to look for a point first."""
    mixed = np.float64(point[0]).view(np.uint64) * keys[0]
    mixed += np.float64(point[1]).view(np.uint64) * keys[1]
    mixed += np.float64(point[2]).view(np.uint64) * keys[2]
    scattered: np.uint64 = ((mixed ^ (mixed >> np.uint64(32))) * keys[3]) >> np.uint64(32)
    return scattered & np.uint64(places - 1)


@compiled()
def _seek(table: Table, vertices: Floats, point: Point, place: np.uint64) -> np.uint64:
    """The place in the table of the vertex at this point, or the free one where it would be."""
    last = np.uint64(len(table) - 1)
    while True:
        vertex = table[place]
        if vertex < 0:
            return place
        if vertices[vertex, 0] == point[0] and vertices[vertex, 1] == point[1] and vertices[vertex, 2] == point[2]:
            return place
        place = (place + np.uint64(1)) & last


_KEYED = "UniTuple(u8, 4)"


@compiled(f"void(f8[:,::1], i8, i4[::1], {_KEYED})")
def _enter(vertices: Floats, known: int, table: Table, keys: Keys) -> None:
    """Put the known vertices into an empty table."""
    last = np.uint64(len(table) - 1)
    for vertex in range(known):
        place = _scatter((vertices[vertex, 0], vertices[vertex, 1], vertices[vertex, 2]), keys, len(table))
        while table[place] >= 0:
            place = (place + np.uint64(1)) & last
        table[place] = vertex


@compiled()
def _is_sound(x: float, y: float, z: float, farthest: float) -> bool:
    return (abs(x) <= farthest) & (abs(y) <= farthest) & (abs(z) <= farthest)


@compiled()
def _complaint(x: float, y: float, z: float) -> int:
    return TOO_FAR if np.isfinite(x) and np.isfinite(y) and np.isfinite(z) else NOT_A_NUMBER


_SOUP = f"Tuple((i8, i8, i8))(Array({{}}, 3, 'A', True), i4[:,::1], i8, f8, i4[::1], f8[:,::1], i8, {_KEYED})"


@compiled(_SOUP.format("float32"), _SOUP.format("float64"))
def _weld_soup(
    corners: NDArray[Any],
    faces: Faces,
    begin: int,
    farthest: float,
    table: Table,
    vertices: Floats,
    known: int,
    keys: Keys,
) -> tuple[int, int, int]:
    """Fill in the faces from `begin` on until there is no room; up to which, how many vertices, what is to be said."""
    for face in range(begin, len(corners)):
        if known + 3 > len(vertices):
            return face, known, SOUND
        for corner in range(3):
            x, y, z = corners[face, corner, 0], corners[face, corner, 1], corners[face, corner, 2]
            if not _is_sound(x, y, z, farthest):
                return face, known, _complaint(x, y, z)
            point = (np.float64(x) + 0.0, np.float64(y) + 0.0, np.float64(z) + 0.0)  # -0.0 becomes 0.0
            place = _seek(table, vertices, point, _scatter(point, keys, len(table)))
            vertex = table[place]
            if vertex < 0:
                vertices[known, 0], vertices[known, 1], vertices[known, 2] = point
                table[place] = vertex = known
                known += 1
            faces[face, corner] = vertex
    return len(corners), known, SOUND


@compiled(f"i8(f8[:,::1], i8, i4[::1], f8[:,::1], i4[:,::1], {_KEYED})")
def _merge(vertices: Floats, known: int, table: Table, more: Floats, faces: Faces, keys: Keys) -> int:
    """Append the second half's vertices that are not of the first and renumber its faces; how many vertices then."""
    number = np.empty(len(more), np.int32)
    for vertex in range(len(more)):
        point = (more[vertex, 0], more[vertex, 1], more[vertex, 2])
        number[vertex] = table[_seek(table, vertices, point, _scatter(point, keys, len(table)))]
        if number[vertex] < 0:
            number[vertex] = known
            vertices[known, 0], vertices[known, 1], vertices[known, 2] = point
            known += 1
    for face in range(len(faces)):
        for corner in range(3):
            faces[face, corner] = number[faces[face, corner]]
    return known


@compiled("i8(Array(float64, 2, 'A', True), f8)")
def _soundness(points: Floats, farthest: float) -> int:
    for point in range(len(points)):
        if not _is_sound(points[point, 0], points[point, 1], points[point, 2], farthest):
            return _complaint(points[point, 0], points[point, 1], points[point, 2])
    return SOUND


_POINTS = f"i8(Array(float64, 2, 'A', True), Array({{}}, 2, 'A', True), i4[:,::1], i4[::1], f8[:,::1], {_KEYED})"


@compiled(_POINTS.format("int32"), _POINTS.format("int64"))
def _weld_points(points: Floats, faces: NDArray[Any], welded: Faces, table: Table, vertices: Floats, keys: Keys) -> int:
    """Fill in the welded faces and the vertices; how many those are, or -1 where a face names no point."""
    vertex_of, known = np.full(len(points), -1, np.int32), 0
    for face in range(len(faces)):
        for corner in range(3):
            at = faces[face, corner]
            if at < 0 or at >= len(points):
                return -1
            if vertex_of[at] < 0:
                point = (points[at, 0] + 0.0, points[at, 1] + 0.0, points[at, 2] + 0.0)
                place = _seek(table, vertices, point, _scatter(point, keys, len(table)))
                if table[place] < 0:
                    table[place] = known
                    vertices[known, 0], vertices[known, 1], vertices[known, 2] = point
                    known += 1
                vertex_of[at] = table[place]
            welded[face, corner] = vertex_of[at]
    return known
