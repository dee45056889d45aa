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

_KEYS = np.array([secrets.randbits(64) | 1 for _ in range(4)], np.uint64)
"""Drawn anew in each process: nobody can prepare a file whose points all fall into one place. No result shows them."""

Welded = tuple[NDArray[np.float64], NDArray[np.int32], int]


def weld_soup(corners: NDArray[np.float32] | NDArray[np.float64], farthest: float, threads: int = 1) -> Welded:
    """Vertices (V, 3) in order of appearance, faces (F, 3) and what is to be said of triangles given by corners.

    Open addressing, 25 ns a corner; it never holds a copy of the corners. Large models are welded in halves, which
    two threads may do at once and whose smaller tables fit a core's own memory better even if one does both.

    Args:
        corners: float32 or float64 (F, 3, 3), in any layout, such as a view over a memory map.
        farthest: the largest absolute coordinate that is sound.
        threads: how many cores to use.
    """
    faces = np.empty((len(corners), 3), np.int32)
    halves = cut(len(corners), 2 if len(corners) > _SMALL else 1)
    work = [partial(_weld_soup, corners[first:last], faces[first:last], farthest, _KEYS) for first, last in halves]
    found = side_by_side(work, threads)
    vertices, table, say = found[0]
    for (first, last), (more, _, said) in zip(halves[1:], found[1:], strict=True):
        say = say or said
        vertices = _merge(vertices, table, more, faces[first:last], _KEYS) if say == SOUND else vertices
    return vertices, faces, say


def weld_points(points: NDArray[np.float64], faces: NDArray[np.int32] | NDArray[np.int64], farthest: float) -> Welded:
    """The same of faces that already share points; points that no face uses are dropped.

    Args:
        points: float64 (N, 3).
        faces: int32 or int64 (F, 3), indices into `points`.
        farthest: the largest absolute coordinate that is sound, of all points.
    """
    return _weld_points(points, faces, farthest, _KEYS)


@compiled("b1(i4[:,::1])")
def any_spans_surface(faces: NDArray[np.int32]) -> bool:
    """Whether any face has three different corners."""
    for face in range(len(faces)):
        a, b, c = faces[face, 0], faces[face, 1], faces[face, 2]
        if a not in (b, c) and b != c:
            return True
    return False


@compiled()
def _scatter(x: float, y: float, z: float, keys: NDArray[np.uint64]) -> np.uint64:
    """A position's hash, good in its highest bits."""
    mixed = np.float64(x).view(np.uint64) * keys[0]
    mixed += np.float64(y).view(np.uint64) * keys[1]
    mixed += np.float64(z).view(np.uint64) * keys[2]
    scattered: np.uint64 = (mixed ^ (mixed >> np.uint64(32))) * keys[3]
    return scattered


@compiled()
def _table_of(vertices: NDArray[np.float64], bits: int, keys: NDArray[np.uint64]) -> NDArray[np.int32]:
    """A table of 2**bits places with these vertices in it."""
    table = np.full(1 << bits, -1, np.int32)
    last, shift = np.uint64((1 << bits) - 1), np.uint64(64 - bits)
    for vertex in range(len(vertices)):
        place = _scatter(vertices[vertex, 0], vertices[vertex, 1], vertices[vertex, 2], keys) >> shift
        while table[place] >= 0:
            place = (place + np.uint64(1)) & last
        table[place] = vertex
    return table


@compiled()
def _seek(
    table: NDArray[np.int32], vertices: NDArray[np.float64], point: tuple[float, float, float], scattered: np.uint64
) -> np.uint64:
    """The place in the table of the vertex at this point, or the free one where it would be."""
    last = np.uint64(len(table) - 1)
    place = scattered & last
    while True:
        vertex = table[place]
        if vertex < 0:
            return place
        if vertices[vertex, 0] == point[0] and vertices[vertex, 1] == point[1] and vertices[vertex, 2] == point[2]:
            return place
        place = (place + np.uint64(1)) & last


@compiled()
def _with_room(vertices: NDArray[np.float64], count: int) -> NDArray[np.float64]:
    larger = np.empty((count, 3))
    larger[: len(vertices)] = vertices
    return larger


@compiled()
def _is_sound(x: float, y: float, z: float, farthest: float) -> bool:
    return (abs(x) <= farthest) & (abs(y) <= farthest) & (abs(z) <= farthest)


@compiled()
def _complaint(x: float, y: float, z: float) -> int:
    return TOO_FAR if np.isfinite(x) and np.isfinite(y) and np.isfinite(z) else NOT_A_NUMBER


@compiled()
def _bits_for(vertices: int) -> int:
    bits = 8
    while (1 << bits) < 2 * vertices:
        bits += 1
    return bits


_SOUP = "Tuple((f8[:,::1], i4[::1], i8))(Array({}, 3, 'A', True), i4[:,::1], f8, Array(uint64, 1, 'C'))"


@compiled(_SOUP.format("float32"), _SOUP.format("float64"))
def _weld_soup(
    corners: NDArray[Any], faces: NDArray[np.int32], farthest: float, keys: NDArray[np.uint64]
) -> tuple[NDArray[np.float64], NDArray[np.int32], int]:
    """Fill in the faces; returns the vertices and the table that finds them."""
    bits = _bits_for(len(corners) // 2)  # a closed mesh has half as many vertices as faces
    vertices, known = np.empty((1 << (bits - 1), 3)), 0
    table = _table_of(vertices[:known], bits, keys)
    for face in range(len(corners)):
        if known + 3 > len(vertices):
            bits += 1
            table, vertices = _table_of(vertices[:known], bits, keys), _with_room(vertices, 2 * len(vertices))
        for corner in range(3):
            x, y, z = corners[face, corner, 0], corners[face, corner, 1], corners[face, corner, 2]
            if not _is_sound(x, y, z, farthest):
                return vertices[:0], table, _complaint(x, y, z)
            point = (x + 0.0, y + 0.0, z + 0.0)  # -0.0 becomes 0.0
            place = _seek(table, vertices, point, _scatter(*point, keys) >> np.uint64(64 - bits))
            if table[place] < 0:
                table[place] = known
                vertices[known, 0], vertices[known, 1], vertices[known, 2] = point
                known += 1
            faces[face, corner] = table[place]
    return vertices[:known], table, SOUND


@compiled("f8[:,::1](f8[:,::1], i4[::1], f8[:,::1], i4[:,::1], Array(uint64, 1, 'C'))")
def _merge(
    vertices: NDArray[np.float64],
    table: NDArray[np.int32],
    more: NDArray[np.float64],
    faces: NDArray[np.int32],
    keys: NDArray[np.uint64],
) -> NDArray[np.float64]:
    """All vertices, those of the second half that are not of the first after it; renumbers the second half's faces."""
    shift, known = np.uint64(64), len(vertices)
    while np.uint64(1) << (np.uint64(64) - shift) < len(table):
        shift -= np.uint64(1)
    together, number = _with_room(vertices, known + len(more)), np.empty(len(more), np.int32)
    for vertex in range(len(more)):
        point = (more[vertex, 0], more[vertex, 1], more[vertex, 2])
        number[vertex] = table[_seek(table, vertices, point, _scatter(*point, keys) >> shift)]
        if number[vertex] < 0:
            number[vertex] = known
            together[known, 0], together[known, 1], together[known, 2] = point
            known += 1
    for face in range(len(faces)):
        for corner in range(3):
            faces[face, corner] = number[faces[face, corner]]
    return together[:known]


@compiled()
def _soundness(points: NDArray[np.float64], farthest: float) -> int:
    for point in points:
        if not _is_sound(point[0], point[1], point[2], farthest):
            return _complaint(point[0], point[1], point[2])
    return SOUND


_POINTS = (
    "Tuple((f8[:,::1], i4[:,::1], i8))"
    "(Array(float64, 2, 'A', True), Array({}, 2, 'A', True), f8, Array(uint64, 1, 'C'))"
)


@compiled(_POINTS.format("int32"), _POINTS.format("int64"))
def _weld_points(points: NDArray[np.float64], faces: NDArray[Any], farthest: float, keys: NDArray[np.uint64]) -> Welded:
    bits = _bits_for(min(len(points), 3 * len(faces)))
    vertices, known = np.empty((1 << (bits - 1), 3)), 0
    table = _table_of(vertices[:known], bits, keys)
    welded, vertex_of = np.empty((len(faces), 3), np.int32), np.full(len(points), -1, np.int32)
    say = _soundness(points, farthest)
    if say != SOUND:
        return vertices[:0], welded, say
    for face in range(len(faces)):
        for corner in range(3):
            at = faces[face, corner]
            if at < 0 or at >= len(points):
                return vertices[:0], welded, NO_SUCH_POINT
            if vertex_of[at] < 0:
                point = (points[at, 0] + 0.0, points[at, 1] + 0.0, points[at, 2] + 0.0)
                place = _seek(table, vertices, point, _scatter(*point, keys) >> np.uint64(64 - bits))
                if table[place] < 0:
                    table[place] = known
                    vertices[known, 0], vertices[known, 1], vertices[known, 2] = point
                    known += 1
                vertex_of[at] = table[place]
            welded[face, corner] = vertex_of[at]
    return vertices[:known], welded, SOUND
