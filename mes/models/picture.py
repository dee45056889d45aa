"""Draws a model as the operator will hold it: a shaded three-quarter view in a warm metal tone."""

import io
from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from mes.models.mesh import Floats, Ints, Mesh, spans_surface
from mes.models.topology import components, directed_edges, neighbours

_SAMPLES = 2
"""Samples per pixel and axis, averaged: smooth outlines at four times the work."""

_MARGIN = 0.06
"""Empty border, as a share of the picture."""

_TURN, _TILT = np.radians(35.0), np.radians(28.0)
_CREASE = np.cos(np.radians(38.0))
"""Faces that meet at a smaller angle are shaded as one smooth surface; edges of a cut stay sharp."""

_SMOOTHED_FACES = 300_000
"""Above this, triangles are smaller than a pixel and smoothing would only cost time."""

_AT_ONCE = 1_500_000
"""Rows or samples handled in one step: a process that draws 100,000 triangles peaks at 210 MB."""

_DEPTH_STEPS = float(2**31 - 1)
_FACE_BITS = np.uint64(0xFFFFFFFF)
_TINY = 1e-12

_TONES = np.array(((66, 42, 18), (150, 104, 42), (221, 174, 90), (250, 222, 156), (255, 250, 236)), np.float64)
"""From shade to light: the reflections of polished yellow gold in a studio."""

_TONE_AT = np.array((0.0, 0.25, 0.55, 0.82, 1.0))
_KEY_LIGHT = np.array((-0.45, 0.62, 0.64)) / np.sqrt(0.9965)
_RIM_LIGHT = np.array((0.75, 0.25, 0.35)) / np.sqrt(0.7475)
_SHININESS = 28


def render(mesh: Mesh, size: int = 640) -> bytes:
    """A picture of a mesh on a transparent ground.

    Orthographic, from above and to the right, z-buffered; both sides of a surface are drawn, since some models are
    inside out.

    Args:
        mesh: what to draw.
        size: width and height, pixels.

    Returns:
        A PNG, RGBA.
    """
    faces = mesh.faces[spans_surface(mesh.faces)]
    side = size * _SAMPLES
    seen = _to_screen(mesh.vertices, side)
    corner_normals = _corner_normals(seen, faces)
    nearest = _nearest_faces(seen, faces, side)
    drawn = np.flatnonzero(nearest)
    face = (nearest[drawn] & _FACE_BITS).astype(np.int64) - 1
    centres = np.column_stack((drawn % side, drawn // side)).astype(np.float64) + 0.5
    weights = _barycentric(seen[faces[face]], centres)
    image = np.zeros((side * side, 4), np.float32)
    image[drawn, :3] = _shade(np.einsum("ij,ijk->ik", weights, corner_normals[face]))
    image[drawn, 3] = 1.0
    return _png(image.reshape(side, side, 4))


def _to_screen(vertices: Floats, side: int) -> Floats:
    """Vertices as x to the right, y down, z towards the viewer, in samples; the model's z axis points up."""
    low, high = vertices.min(axis=0), vertices.max(axis=0)
    centred = (vertices - (low + high) / 2) / max(float((high - low).max()), _TINY)
    cos, sin = np.cos(_TURN), np.sin(_TURN)
    x = centred[:, 0] * cos + centred[:, 1] * sin
    away = centred[:, 1] * cos - centred[:, 0] * sin
    up = centred[:, 2] * np.cos(_TILT) + away * np.sin(_TILT)
    near = centred[:, 2] * np.sin(_TILT) - away * np.cos(_TILT)
    seen = np.column_stack((x, -up, near))
    low, high = seen.min(axis=0), seen.max(axis=0)
    scale = side * (1 - 2 * _MARGIN) / max(float((high - low)[:2].max()), _TINY)
    middle = (low + high) / 2
    placed: Floats = (seen - middle) * scale + (side / 2, side / 2, 0.0)
    return placed


def _corner_normals(seen: Floats, faces: Ints) -> Floats:
    """Unit normals at each face's corners (F, 3, 3), smooth across gentle edges and sharp across creases."""
    a, b, c = (seen[corner] for corner in faces.T)
    weighted: Floats = np.cross(b - a, c - a)
    flat = _unit(weighted)
    if len(faces) > _SMOOTHED_FACES:
        return np.broadcast_to(flat[:, None, :], (len(faces), 3, 3))
    group = _smooth_corners(faces, flat)
    per_corner = np.tile(weighted, (3, 1))
    summed = np.column_stack([np.bincount(group, per_corner[:, axis]) for axis in range(3)])
    return _unit(summed.astype(np.float64))[group].reshape(3, len(faces), 3).transpose(1, 0, 2)


def _smooth_corners(faces: Ints, flat: Floats) -> Ints:
    """For each corner, all corners 0 first, the group of corners at its vertex that a smooth surface joins."""
    count = len(faces)
    left, right = neighbours(faces)
    gentle = np.einsum("ij,ij->i", flat[left % count], flat[right % count]) > _CREASE
    left, right = left[gentle], right[gentle]
    start, end = directed_edges(faces)
    opposed = start[left] == end[right]  # the twin runs the other way, so its end is this one's start
    left, right = left[opposed], right[opposed]
    after_left, after_right = (left + count) % (3 * count), (right + count) % (3 * count)
    return components(3 * count, np.concatenate((left, after_left)), np.concatenate((after_right, right)))


def _nearest_faces(seen: Floats, faces: Ints, side: int) -> NDArray[np.uint64]:
    """For each sample, the nearest face's number plus one in the low 32 bits below its depth; 0 where there is none."""
    nearest = np.zeros(side * side, np.uint64)
    low, span = seen[:, 2].min(), max(float(np.ptp(seen[:, 2])), _TINY)
    slope = _slopes(seen, faces)
    anchor = seen[faces[:, 0]]
    for face, column, row in _covered(seen, faces, side):
        from_anchor = np.column_stack((column, row)) + 0.5 - anchor[face, :2]
        z = anchor[face, 2] + np.einsum("ij,ij->i", from_anchor, slope[face])
        steps = (np.clip((z - low) / span, 0.0, 1.0) * _DEPTH_STEPS).astype(np.uint64) + np.uint64(1)
        np.maximum.at(nearest, row * side + column, (steps << np.uint64(32)) | (face + 1).astype(np.uint64))
    return nearest


def _slopes(seen: Floats, faces: Ints) -> Floats:
    """How depth changes along x and y on each face (F, 2); 0 for faces seen edge-on, which cover nothing."""
    a, b, c = (seen[corner] for corner in faces.T)
    normal = np.cross(b - a, c - a)
    upright = np.abs(normal[:, 2]) > _TINY
    normal[~upright, 2] = 1.0
    return np.where(upright[:, None], -normal[:, :2] / normal[:, 2:], 0.0)


def _covered(seen: Floats, faces: Ints, side: int) -> Iterator[tuple[Ints, Ints, Ints]]:
    """Every sample whose centre a face covers, as face, column and row, in portions.

    Goes row by row through each face: thin slanted triangles, of which cut rings are full, fill little of their boxes.
    """
    height = seen[:, 1][faces]
    first = np.clip(np.ceil(height.min(axis=1) - 0.5), 0, side).astype(np.int64)
    rows = np.clip(np.ceil(height.max(axis=1) - 0.5), 0, side).astype(np.int64) - first
    for face, step in _expanded(rows):
        row = first[face] + step
        left, right = _span(seen[faces[face]], row + 0.5)
        start = np.clip(np.ceil(left - 0.5), 0, side).astype(np.int64)
        width = np.clip(np.ceil(right - 0.5), 0, side).astype(np.int64) - start
        for pair, column in _expanded(width):
            yield face[pair], start[pair] + column, row[pair]


def _span(corners: Floats, y: Floats) -> tuple[Floats, Floats]:
    """Where triangles (N, 3, 3) begin and end on the horizontal lines at y (N,)."""
    left, right = np.full(len(y), np.inf), np.full(len(y), -np.inf)
    for i in range(3):
        start, end = corners[:, i], corners[:, (i + 1) % 3]
        crosses = (start[:, 1] <= y) != (end[:, 1] <= y)
        rise = np.where(crosses, end[:, 1] - start[:, 1], 1.0)
        x = start[:, 0] + (y - start[:, 1]) * (end[:, 0] - start[:, 0]) / rise
        left = np.where(crosses, np.minimum(left, x), left)
        right = np.where(crosses, np.maximum(right, x), right)
    return np.where(left <= right, left, 0.0), np.where(left <= right, right, 0.0)


def _expanded(sizes: Ints) -> Iterator[tuple[Ints, Ints]]:
    """Each index repeated as often as its size says, with the count within it, in portions."""
    wanted = np.flatnonzero(sizes > 0)
    ends = np.cumsum(sizes[wanted])
    start = 0
    while start < len(wanted):
        before = int(ends[start - 1]) if start else 0
        stop = max(start + 1, int(np.searchsorted(ends, before + _AT_ONCE, side="right")))
        portion = wanted[start:stop]
        index = np.repeat(portion, sizes[portion])
        yield index, np.arange(len(index)) - np.repeat(ends[start:stop] - sizes[portion] - before, sizes[portion])
        start = stop


def _barycentric(corners: Floats, points: Floats) -> Floats:
    """Weights (N, 3) of the corners (N, 3, 3) at the points (N, 2) that lie in them."""
    a, b, c = (corners[:, i, :2] for i in range(3))
    whole = _cross(b - a, c - a)
    whole = np.where(np.abs(whole) > _TINY, whole, 1.0)
    second, third = _cross(points - a, c - a) / whole, _cross(b - a, points - a) / whole
    return np.clip(np.column_stack((1 - second - third, second, third)), 0.0, 1.0)


def _cross(p: Floats, q: Floats) -> Floats:
    area: Floats = p[:, 0] * q[:, 1] - p[:, 1] * q[:, 0]
    return area


def _shade(normals: Floats) -> Floats:
    """Colours (N, 3) in 0 to 1 for normals on the screen, whichever side of the surface is seen."""
    normal = _unit(normals)
    normal = np.where(normal[:, 2:] < 0, -normal, normal) * (1.0, -1.0, 1.0)  # y up from here on
    key = np.clip(normal @ _KEY_LIGHT, 0.0, 1.0)
    rim = np.clip(normal @ _RIM_LIGHT, 0.0, 1.0)
    sky = 0.5 + 0.5 * normal[:, 1]
    edge = 1 - normal[:, 2]
    light = 0.12 + 0.48 * key + 0.22 * sky + 0.20 * rim - 0.10 * edge + 0.30 * key**_SHININESS
    light = np.clip(light, 0.0, 1.0)
    return np.column_stack([np.interp(light, _TONE_AT, _TONES[:, i]) for i in range(3)]) / 255


def _png(image: NDArray[np.float32]) -> bytes:
    """Average the samples of each pixel, colours weighted by what they cover."""
    size = len(image) // _SAMPLES
    pixels = image.reshape(size, _SAMPLES, size, _SAMPLES, 4).mean(axis=(1, 3))
    cover = np.maximum(pixels[:, :, 3:], np.float32(1e-6))
    pixels[:, :, :3] /= cover
    out = io.BytesIO()
    Image.fromarray((pixels * 255 + 0.5).astype(np.uint8), "RGBA").save(out, "PNG", compress_level=6)
    return out.getvalue()


def _unit(vectors: Floats) -> Floats:
    length = np.sqrt(np.einsum("ij,ij->i", vectors, vectors))
    unit: Floats = vectors / np.maximum(length, _TINY)[:, None]
    return unit
