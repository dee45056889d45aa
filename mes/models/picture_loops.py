"""The picture's loops over triangles and samples, compiled: a million triangles in a tenth of a second."""

import math

import numpy as np
from numpy.typing import NDArray

from mes.pricing.kernel.compiled import compiled

SAMPLES = 2
"""Samples per pixel and axis, averaged: smooth outlines at four times the work."""

_CREASE = math.cos(math.radians(38.0))
"""Faces that meet at a smaller angle are shaded as one smooth surface; edges of a cut stay sharp."""

_TINY = 1e-12
_TONES = np.array(((66, 42, 18), (150, 104, 42), (221, 174, 90), (250, 222, 156), (255, 250, 236)), np.float64)
"""From shade to light: the reflections of polished yellow gold in a studio."""

_TONE_AT = np.array((0.0, 0.25, 0.55, 0.82, 1.0))
_KEY_LIGHT = (-0.45078957, 0.62108786, 0.64112295)
_RIM_LIGHT = (0.86747240, 0.28915747, 0.40482045)

Floats = NDArray[np.float64]
Ints = NDArray[np.int32]
Bytes = NDArray[np.uint8]
Point = tuple[float, float, float]
Triangle = tuple[Point, Point, Point]


# Helpers come first in this file: signatures have the loops compiled where they stand.


@compiled()
def _seen(vertices: Floats, placed: Floats, vertex: int) -> Point:
    x = vertices[vertex, 0] - placed[0, 0]
    y = vertices[vertex, 1] - placed[0, 1]
    z = vertices[vertex, 2] - placed[0, 2]
    return (
        x * placed[1, 0] + y * placed[1, 1] + z * placed[1, 2] + placed[4, 0],
        x * placed[2, 0] + y * placed[2, 1] + z * placed[2, 2] + placed[4, 1],
        x * placed[3, 0] + y * placed[3, 1] + z * placed[3, 2] + placed[4, 2],
    )


@compiled()
def _on_screen(vertices: Floats, faces: Ints, placed: Floats, face: int) -> Triangle:
    return (
        _seen(vertices, placed, faces[face, 0]),
        _seen(vertices, placed, faces[face, 1]),
        _seen(vertices, placed, faces[face, 2]),
    )


@compiled()
def _normal(a: Point, b: Point, c: Point) -> Point:
    """Twice the area long."""
    px, py, pz = b[0] - a[0], b[1] - a[1], b[2] - a[2]
    qx, qy, qz = c[0] - a[0], c[1] - a[1], c[2] - a[2]
    return py * qz - pz * qy, pz * qx - px * qz, px * qy - py * qx


@compiled()
def _face_normal(vertices: Floats, faces: Ints, placed: Floats, face: int) -> Point:
    a, b, c = _on_screen(vertices, faces, placed, face)
    return _normal(a, b, c)


@compiled()
def _slopes(normal: Point) -> tuple[float, float]:
    """How depth changes along x and y; 0 for faces seen edge-on, which cover next to nothing."""
    if abs(normal[2]) <= _TINY:
        return 0.0, 0.0
    return -normal[0] / normal[2], -normal[1] / normal[2]


@compiled()
def _span(a: Point, b: Point, c: Point, y: float) -> tuple[float, float]:
    """Where a triangle begins and ends on the horizontal line at y; nowhere if it does not meet it."""
    left, right = np.inf, -np.inf
    for start, end in ((a, b), (b, c), (c, a)):
        if (start[1] <= y) != (end[1] <= y):
            x = start[0] + (y - start[1]) * (end[0] - start[0]) / (end[1] - start[1])
            left, right = min(left, x), max(right, x)
    return (left, right) if left <= right else (0.0, 0.0)


@compiled()
def _smooth_corners(  # noqa: PLR0917 - compiled loops take each array by itself
    faces: Ints, flat: Floats, start: Ints, around: Ints, face: int, corners: Floats
) -> None:
    """Normals at a face's corners (3, 3): of the faces around that bend gently from it, weighted by area."""
    own = flat[face]
    length = math.sqrt(own[0] * own[0] + own[1] * own[1] + own[2] * own[2])
    for corner in range(3):
        x, y, z = 0.0, 0.0, 0.0
        vertex = faces[face, corner]
        for place in range(start[vertex], start[vertex + 1]):
            other = flat[around[place]]
            size = math.sqrt(other[0] * other[0] + other[1] * other[1] + other[2] * other[2])
            along = own[0] * other[0] + own[1] * other[1] + own[2] * other[2]
            if along > _CREASE * length * size:
                x, y, z = x + other[0], y + other[1], z + other[2]
        size = max(math.sqrt(x * x + y * y + z * z), _TINY)
        corners[corner, 0], corners[corner, 1], corners[corner, 2] = x / size, y / size, z / size


@compiled()
def _between(triangle: Triangle, corners: Floats, x: float, y: float) -> Point:
    """The normal at a point of the screen within a triangle, between those at its corners (3, 3)."""
    a, b, c = triangle
    whole = (b[0] - a[0]) * (c[1] - a[1]) - (b[1] - a[1]) * (c[0] - a[0])
    if abs(whole) <= _TINY:
        return corners[0, 0], corners[0, 1], corners[0, 2]
    second = min(max(((x - a[0]) * (c[1] - a[1]) - (y - a[1]) * (c[0] - a[0])) / whole, 0.0), 1.0)
    third = min(max(((b[0] - a[0]) * (y - a[1]) - (b[1] - a[1]) * (x - a[0])) / whole, 0.0), 1.0)
    first = min(max(1.0 - second - third, 0.0), 1.0)
    return (
        first * corners[0, 0] + second * corners[1, 0] + third * corners[2, 0],
        first * corners[0, 1] + second * corners[1, 1] + third * corners[2, 1],
        first * corners[0, 2] + second * corners[1, 2] + third * corners[2, 2],
    )


@compiled()
def _light(normal: Point) -> float:
    """How much light (0 to 1) comes from a surface, whichever side of it is seen."""
    length = math.sqrt(normal[0] * normal[0] + normal[1] * normal[1] + normal[2] * normal[2])
    length = math.copysign(max(length, _TINY), normal[2])
    x, y, z = normal[0] / length, -normal[1] / length, normal[2] / length  # y up from here on
    key = min(max(x * _KEY_LIGHT[0] + y * _KEY_LIGHT[1] + z * _KEY_LIGHT[2], 0.0), 1.0)
    rim = min(max(x * _RIM_LIGHT[0] + y * _RIM_LIGHT[1] + z * _RIM_LIGHT[2], 0.0), 1.0)
    key_4 = key * key * key * key
    key_12 = key_4 * key_4 * key_4
    shine = key_12 * key_12 * key_4
    light = 0.12 + 0.48 * key + 0.22 * (0.5 + 0.5 * y) + 0.20 * rim - 0.10 * (1 - z) + 0.30 * shine
    return min(max(light, 0.0), 1.0)


@compiled()
def _tone(light: float) -> Point:
    """The colour, 0 to 255, of a light."""
    step = 0
    while step < len(_TONE_AT) - 2 and light > _TONE_AT[step + 1]:
        step += 1
    share = (light - _TONE_AT[step]) / (_TONE_AT[step + 1] - _TONE_AT[step])
    low, high = _TONES[step], _TONES[step + 1]
    return (
        low[0] + (high[0] - low[0]) * share,
        low[1] + (high[1] - low[1]) * share,
        low[2] + (high[2] - low[2]) * share,
    )


@compiled()
def _colour(pixel: Bytes, tones: Point, hits: int) -> None:
    """Average the tones of the samples that were hit; the others leave the ground to be seen."""
    if hits:
        for channel in range(3):
            pixel[channel] = np.uint8(tones[channel] / hits + 0.5)
        pixel[3] = np.uint8(hits * 255.0 / (SAMPLES * SAMPLES) + 0.5)


@compiled("UniTuple(f8[::1], 2)(f8[:,::1], f8[:,::1])")
def bounds(vertices: Floats, placed: Floats) -> tuple[Floats, Floats]:
    """Lowest and highest coordinates (3,) on the screen of all vertices (V, 3)."""
    low, high = np.full(3, np.inf), np.full(3, -np.inf)
    for vertex in range(len(vertices)):
        seen = _seen(vertices, placed, vertex)
        for axis in range(3):
            low[axis] = min(low[axis], seen[axis])
            high[axis] = max(high[axis], seen[axis])
    return low, high


@compiled("void(f8[:,::1], i4[:,::1], f8[:,::1], f4[:,::1], i4[:,::1])")
def cover(vertices: Floats, faces: Ints, placed: Floats, depth: NDArray[np.float32], nearest: Ints) -> None:
    """Enter each face into the samples whose centres it covers, where it is nearer than what was there.

    Goes row by row through each face: thin slanted triangles, of which cut rings are full, fill little of their boxes.

    Args:
        vertices: (V, 3), in file units.
        faces: (F, 3).
        placed: (5, 3), from file units to samples: origin, axes, offset.
        depth: (S, S), depth of the nearest face so far, -inf where there is none.
        nearest: (S, S), its number, -1 where there is none.
    """
    side = len(depth)
    for face in range(len(faces)):
        a, b, c = _on_screen(vertices, faces, placed, face)
        first = max(math.ceil(min(a[1], b[1], c[1]) - 0.5), 0)
        last = min(math.ceil(max(a[1], b[1], c[1]) - 0.5), side)
        if first >= last:
            continue
        slope_x, slope_y = _slopes(_normal(a, b, c))
        low, high = min(a[2], b[2], c[2]), max(a[2], b[2], c[2])
        for row in range(first, last):
            y = row + 0.5
            left, right = _span(a, b, c, y)
            start, end = max(math.ceil(left - 0.5), 0), min(math.ceil(right - 0.5), side)
            for column in range(start, end):
                z = a[2] + (column + 0.5 - a[0]) * slope_x + (y - a[1]) * slope_y
                z = min(max(z, low), high)  # slivers' slopes run away
                if z > depth[row, column]:
                    depth[row, column] = z
                    nearest[row, column] = face


@compiled("UniTuple(i4[::1], 2)(i4[:,::1], i8)")
def faces_around(faces: Ints, vertices: int) -> tuple[Ints, Ints]:
    """The faces at each vertex: `start` (V + 1,) into `around` (3 F,)."""
    start = np.zeros(vertices + 1, np.int32)
    for face in range(len(faces)):
        for corner in range(3):
            start[faces[face, corner] + 1] += 1
    for vertex in range(vertices):
        start[vertex + 1] += start[vertex]
    free = start[:-1].copy()
    around = np.empty(3 * len(faces), np.int32)
    for face in range(len(faces)):
        for corner in range(3):
            vertex = faces[face, corner]
            around[free[vertex]] = face
            free[vertex] += 1
    return start, around


@compiled("void(f8[:,::1], i4[:,::1], f8[:,::1], i4[:,::1], u1[:,:,::1])")
def shade_flat(vertices: Floats, faces: Ints, placed: Floats, nearest: Ints, pixels: Bytes) -> None:
    """Colour each pixel (P, P, 4) by the faces at its samples, each of one tone."""
    tone, last = (0.0, 0.0, 0.0), -1
    for row in range(len(pixels)):
        for column in range(len(pixels)):
            tones, hits = (0.0, 0.0, 0.0), 0
            for sample in range(SAMPLES * SAMPLES):
                face = nearest[row * SAMPLES + sample // SAMPLES, column * SAMPLES + sample % SAMPLES]
                if face < 0:
                    continue
                if face != last:
                    tone, last = _tone(_light(_face_normal(vertices, faces, placed, face))), face
                tones, hits = (tones[0] + tone[0], tones[1] + tone[1], tones[2] + tone[2]), hits + 1
            _colour(pixels[row, column], tones, hits)


@compiled("void(f8[:,::1], i4[:,::1], f8[:,::1], i4[:,::1], i4[::1], i4[::1], u1[:,:,::1])")
def shade_smooth(  # noqa: PLR0917 - compiled loops take each array by itself
    vertices: Floats, faces: Ints, placed: Floats, nearest: Ints, start: Ints, around: Ints, pixels: Bytes
) -> None:
    """Colour each pixel (P, P, 4) by the faces at its samples, smooth across gentle edges; see `faces_around`."""
    flat = np.empty((len(faces), 3), np.float64)
    for face in range(len(faces)):
        flat[face] = _face_normal(vertices, faces, placed, face)
    corners = np.empty((len(faces), 3, 3), np.float64)
    known = np.zeros(len(faces), np.bool_)
    triangle, last = _on_screen(vertices, faces, placed, 0), 0
    for row in range(len(pixels)):
        for column in range(len(pixels)):
            tones, hits = (0.0, 0.0, 0.0), 0
            for sample in range(SAMPLES * SAMPLES):
                y, x = row * SAMPLES + sample // SAMPLES, column * SAMPLES + sample % SAMPLES
                face = nearest[y, x]
                if face < 0:
                    continue
                if face != last:
                    triangle, last = _on_screen(vertices, faces, placed, face), face
                if not known[face]:
                    _smooth_corners(faces, flat, start, around, face, corners[face])
                    known[face] = True
                tone = _tone(_light(_between(triangle, corners[face], x + 0.5, y + 0.5)))
                tones, hits = (tones[0] + tone[0], tones[1] + tone[1], tones[2] + tone[2]), hits + 1
            _colour(pixels[row, column], tones, hits)


@compiled("void(f4[:,::1], f8, f8, u1[:,::1])")
def map_depth(depth: NDArray[np.float32], low: float, high: float, cells: Bytes) -> None:
    """The least depth within each cell (C, C) of what is seen there: 1 for `low` to 255 for `high`, 0 for nothing."""
    side, count = len(depth), len(cells)
    steps = 254.0 / max(high - low, _TINY)
    for row in range(side):
        for column in range(side):
            if depth[row, column] == -np.inf:
                continue
            step = np.uint8(min(max(1.0 + (depth[row, column] - low) * steps, 1.0), 255.0))
            y, x = row * count // side, column * count // side
            if cells[y, x] == 0 or step < cells[y, x]:
                cells[y, x] = step
