"""Measures a mesh: from triangles to all that prices and findings need."""

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from mes.models.errors import UnreadableModel
from mes.models.mesh import Floats, Ints, Mesh, spans_surface
from mes.models.topology import components, directed_edges, neighbours
from mes.pricing.geometry import Facing, Geometry

_NEGLIGIBLE = 1e-9
"""Share of the volume below which a body counts as flat, which has no inside to be turned."""

_EXACTLY_NESTED = 256
"""Turned bodies that are checked for being cavities, largest first; a ray through 1M triangles takes 10 ms."""

_OFF_CENTRE = np.array((0.2137, 0.3261, 0.4602))
"""Where in a triangle a ray starts: at no point of symmetry, so that it meets no edge of a drawn model."""


def measure(mesh: Mesh, unit_mm: float | None = None) -> Geometry:
    """Measure a mesh.

    The volume is the sum of the signed tetrahedra between each triangle and one point (Zhang and Chen, "Efficient
    feature extraction for 2D/3D objects in mesh representation", ICIP 2001); that point is the box's centre, so that
    nothing cancels far from the origin.

    Args:
        mesh: what was read.
        unit_mm: millimetres per file unit for files that state none; 1 if not given. A stated unit wins.

    Raises:
        UnreadableModel: the numbers are too extreme to be measured.
    """
    scale = mesh.mm_per_unit or unit_mm or 1.0
    faces = mesh.faces[spans_surface(mesh.faces)]
    low, high = mesh.vertices.min(axis=0), mesh.vertices.max(axis=0)
    vertices = (mesh.vertices - (low + high) / 2) * scale
    volumes, areas = _signed_volumes_and_areas(vertices, faces)
    body = bodies(faces)
    open_edges = count_open_edges(faces, len(vertices))
    x, y, z = ((high - low) * scale).tolist()
    return Geometry(
        triangles=len(mesh.faces),
        volume_mm3=_usable(abs(float(volumes.sum()))),
        area_mm2=_usable(float(areas.sum())),
        extents_mm=(x, y, z),
        bodies=int(body.max()) + 1,
        closed=open_edges == 0,
        open_edges=open_edges,
        facing=_facing(vertices, faces, volumes, body),
        unit=mesh.unit,
    )


def count_open_edges(faces: Ints, vertices: int) -> int:
    """How many directed edges have no reverse twin, each twin used once.

    Args:
        faces: int64 (F, 3), without degenerate ones.
        vertices: number of vertices, at most 2**31.
    """
    start, end = directed_edges(faces)
    undirected = np.minimum(start, end) * vertices + np.maximum(start, end)
    keys = np.sort(undirected * 2 + (start < end))  # the direction in the lowest bit: one sort, no indices
    first = np.flatnonzero(np.concatenate(([True], keys[1:] >> 1 != keys[:-1] >> 1)))
    return int(np.abs(np.add.reduceat((keys & 1) * 2 - 1, first)).sum())


def bodies(faces: Ints) -> Ints:
    """The number of its body for each face (F,), from 0: faces that share an edge are of one body."""
    left, right = neighbours(faces)
    return components(len(faces), left % len(faces), right % len(faces))


def _signed_volumes_and_areas(vertices: Floats, faces: Ints) -> tuple[Floats, Floats]:
    """For each face, the signed volume of its tetrahedron with the origin, and its area."""
    a, b, c = (vertices[corner] for corner in faces.T)
    normal = np.cross(b - a, c - a)
    return np.einsum("ij,ij->i", a, normal) / 6, np.sqrt(np.einsum("ij,ij->i", normal, normal)) / 2


def _usable(number: float) -> float:
    if not np.isfinite(number):
        raise UnreadableModel("This model's measures are too extreme to be real.")
    return number


def _facing(vertices: Floats, faces: Ints, volumes: Floats, body: Ints) -> Facing:
    """Which way the surfaces look; a body turned against the whole is sound where it is a cavity within it."""
    per_body = np.bincount(body, volumes)
    direction = 1 if per_body.sum() >= 0 else -1
    sides = per_body * direction
    turned = np.flatnonzero(sides < -_NEGLIGIBLE * np.abs(sides).sum())
    turned = turned[np.argsort(sides[turned], kind="stable")]
    sound = _nested(vertices, faces, body, turned, direction)
    if not all(sound):
        return "mixed"
    return "outward" if direction > 0 else "inward"


def _nested(vertices: Floats, faces: Ints, body: Ints, turned: Ints, direction: int) -> Iterator[bool]:
    """For each turned body, largest first, whether it lies in the material of the others; the rest count as such."""
    if not len(turned):
        return
    corners = vertices[faces]
    low, high = np.ascontiguousarray(corners.min(axis=1).T), np.ascontiguousarray(corners.max(axis=1).T)
    for number in turned[:_EXACTLY_NESTED]:
        own = body == number
        x, y, z = start = _OFF_CENTRE @ corners[np.argmax(own)]
        met = (low[0] <= x) & (high[0] >= x) & (low[1] <= y) & (high[1] >= y) & (high[2] > z) & ~own
        yield _winding(corners[met], start) * direction > 0


def _winding(corners: Floats, start: NDArray[np.float64]) -> int:
    """How often the triangles (T, 3, 3) go around a point: signed crossings of the ray from it towards +z."""
    a, b, c = (corners[:, i] - start for i in range(3))
    sides = np.column_stack([p[:, 0] * q[:, 1] - p[:, 1] * q[:, 0] for p, q in ((a, b), (b, c), (c, a))])
    normal = np.cross(b - a, c - a)
    crossed = ((sides > 0).all(axis=1) | (sides < 0).all(axis=1)) & (
        np.einsum("ij,ij->i", a, normal) * normal[:, 2] > 0
    )
    return int(np.sign(normal[crossed, 2]).sum())
