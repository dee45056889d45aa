"""Mends what has one obvious cure, so that a small fault of an export costs nobody a price; and says what it mended."""

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray
from scipy.spatial import cKDTree  # type: ignore[import-untyped]

from mes.pricing.geometry import Fault
from mes.pricing.kernel.edges import Edges, edges_of, lone_faces, spanning, turned_faces
from mes.pricing.kernel.mass import Faces, Floats, flip
from mes.pricing.kernel.places import spread

HAIRLINE = 1e-4
"""Widest gap that is closed, as a share of the model's size: 2 micrometres on a ring, seen by no eye and no printer."""

FAR_BELOW = 0.1
"""A gap is closed only if it is narrower than this share of the shortest open edge, so that no shape is lost."""

_MOST_LOOSE = 500_000
"""Open edges beyond which the file is no model with gaps but a heap of triangles."""

_NEAREST = 4


@dataclass(frozen=True, slots=True, eq=False)
class Surface:
    """A mesh that is mended as far as it goes.

    Attributes:
        points: float64 (V, 3), about the origin.
        faces: int32 (F, 3), without those that have no three corners or are repetitions.
        edges: how the faces meet.
        faults: what was mended, and what was found beyond mending; places are in the coordinates of `points`.
    """

    points: Floats
    faces: Faces
    edges: Edges
    faults: tuple[Fault, ...] = ()


def mended(points: Floats, faces: Faces, threads: int = 1) -> Surface:
    """The surface without degenerate and double faces and hairline gaps, its faces looking the same way.

    Args:
        points: float64 (V, 3), about the origin, in mm.
        faces: int32 (F, 3), as in the file.
        threads: how many cores to use.
    """
    spans, count = spanning(faces)
    faces = faces if count == len(faces) else faces[spans]
    surface = Surface(points, faces, edges_of(faces, len(points), threads))
    if not len(surface.edges.odd):
        return surface
    for cure in (_without_doubles, _without_gaps, _looking_alike):
        surface = cure(surface, threads)
    return replace(surface, faults=(*surface.faults, *_left_over(surface)))


def middles(surface: Surface, halves: NDArray[np.int32]) -> Floats:
    """Where half-edges are (N, 3)."""
    face, corner = halves // 3, halves % 3
    ends = surface.faces[face, corner], surface.faces[face, (corner + 1) % 3]
    middle: Floats = (surface.points[ends[0]] + surface.points[ends[1]]) / 2
    return middle


def _lengths(surface: Surface, halves: NDArray[np.int32]) -> Floats:
    face, corner = halves // 3, halves % 3
    ends = surface.faces[face, corner], surface.faces[face, (corner + 1) % 3]
    length: Floats = np.linalg.norm(surface.points[ends[0]] - surface.points[ends[1]], axis=1)
    return length


def _centres(surface: Surface, chosen: NDArray[np.bool_]) -> Floats:
    centre: Floats = surface.points[surface.faces[chosen]].mean(axis=1)
    return centre


def _rebuilt(surface: Surface, points: Floats, faces: Faces, threads: int) -> Surface:
    return Surface(points, faces, edges_of(faces, len(points), threads), surface.faults)


def _told(surface: Surface, fault: Fault) -> Surface:
    return replace(surface, faults=(*surface.faults, fault))


def _without_doubles(surface: Surface, threads: int) -> Surface:
    """Count once what is there twice with the same side out; what lies back to back is a wall without thickness."""
    if surface.edges.unmatched.max() < 2 and surface.edges.faces_at.max() < 3:  # noqa: PLR2004 - faces at an edge
        return surface
    lone = lone_faces(surface.faces, len(surface.points))
    if lone.all():
        return surface
    healed = _rebuilt(surface, surface.points, surface.faces[lone], threads)
    if healed.edges.open_edges and not surface.edges.open_edges:  # what is closed needs them all
        return surface
    return _told(healed, Fault("duplicate_faces", int((~lone).sum()), spread(_centres(surface, ~lone)), healed=True))


def _open_halves(surface: Surface) -> NDArray[np.int32]:
    """The half-edges of edges that are not balanced."""
    return surface.edges.odd[np.repeat(surface.edges.unmatched > 0, surface.edges.faces_at)]


def _without_gaps(surface: Surface, threads: int) -> Surface:
    """Weld open edges' ends that nearly coincide, if that leaves fewer of them open."""
    loose = _open_halves(surface)
    if not 0 < len(loose) <= _MOST_LOOSE:
        return surface
    size = float(np.ptp(surface.points, axis=0).max())
    within = min(HAIRLINE * size, FAR_BELOW * float(_lengths(surface, loose).min()))
    into, widest = _welds(surface, loose, within)
    if widest == 0:
        return surface
    faces = into[surface.faces]
    kept, _ = spanning(faces)
    healed = _rebuilt(surface, surface.points, np.ascontiguousarray(faces[kept]), threads)
    closed = surface.edges.open_edges - healed.edges.open_edges
    if closed <= 0:
        return surface
    fault = Fault("hairline_gaps", closed, spread(_closed_places(surface, healed, loose, into)), widest, healed=True)
    return _without_doubles(_told(healed, fault), threads) if len(healed.edges.odd) else _told(healed, fault)


def _welds(surface: Surface, loose: NDArray[np.int32], within: float) -> tuple[NDArray[np.int32], float]:
    """For each point the one it becomes, the lowest of those near it; and the widest gap that this closes."""
    ends = np.unique(np.concatenate((
        surface.faces[loose // 3, loose % 3], surface.faces[loose // 3, (loose % 3 + 1) % 3],
    )))  # fmt: skip
    ends = ends[np.lexsort(surface.points[ends].T)]
    distance, near = cKDTree(surface.points[ends]).query(surface.points[ends], k=_NEAREST, distance_upper_bound=within)
    near = np.where(np.isfinite(distance), near, np.arange(len(ends))[:, None]).astype(np.int64)
    lowest = np.arange(len(ends))
    while True:
        lower = np.minimum(lowest, lowest[near].min(axis=1))
        np.minimum.at(lower, near.ravel(), np.repeat(lower, _NEAREST))
        lower = lower[lower]
        if np.array_equal(lower, lowest):
            break
        lowest = lower
    into = np.arange(len(surface.points), dtype=np.int32)
    into[ends] = ends[lowest]
    moved = np.linalg.norm(surface.points[ends] - surface.points[into[ends]], axis=1)
    return into, float(moved.max(initial=0.0))


def _closed_places(before: Surface, after: Surface, loose: NDArray[np.int32], into: NDArray[np.int32]) -> Floats:
    """Where open edges were that are closed now."""
    still = np.unique(_open_halves(after))
    ends = np.sort(np.stack((after.faces[still // 3, still % 3], after.faces[still // 3, (still % 3 + 1) % 3])), axis=0)
    left = ends[0].astype(np.int64) << 32 | ends[1]
    was = np.sort(
        np.stack((into[before.faces[loose // 3, loose % 3]], into[before.faces[loose // 3, (loose % 3 + 1) % 3]])),
        axis=0,
    )
    return middles(before, loose[~np.isin(was[0].astype(np.int64) << 32 | was[1], left)])


def _looking_alike(surface: Surface, threads: int) -> Surface:
    """Turn over the faces that look the other way than most of their patch, by area."""
    if not len(surface.edges.turned):
        return surface
    patch, against, two_sided = turned_faces(surface.edges)
    areas = _areas(surface)
    against ^= (2 * np.bincount(patch, areas * against) > np.bincount(patch, areas))[patch]
    against &= two_sided
    if not against.any():
        return surface
    healed = _rebuilt(surface, surface.points, np.ascontiguousarray(flip(surface.faces, against)), threads)
    if healed.edges.open_edges >= surface.edges.open_edges:
        return surface
    places = spread(_centres(surface, against))
    return _told(healed, Fault("inconsistent_facing", int(against.sum()), places, healed=True))


def _areas(surface: Surface) -> Floats:
    a, b, c = (surface.points[surface.faces[:, corner]] for corner in range(3))
    area: Floats = np.linalg.norm(np.cross(b - a, c - a), axis=1) / 2
    return area


def _left_over(surface: Surface) -> list[Fault]:
    """What is beyond mending: open edges, edges of more than two faces, and surfaces with one side only."""
    edges = surface.edges
    crowded = edges.odd[edges.start[:-1][edges.faces_at > 2]]  # noqa: PLR2004 - faces at an edge
    one_sided = edges.turned[:, 0]
    loose = edges.odd[np.repeat((edges.unmatched > 0) & (edges.faces_at != 2), edges.faces_at)]  # noqa: PLR2004
    found = []
    if edges.open_edges:
        places = spread(middles(surface, np.concatenate((loose, one_sided))))
        length = float(_lengths(surface, np.concatenate((loose, edges.turned.ravel()))).sum())
        found.append(Fault("open_edges", edges.open_edges, places, length))
    if len(crowded):
        found.append(Fault("non_manifold_edges", len(crowded), spread(middles(surface, crowded))))
    if len(one_sided):
        found.append(Fault("inconsistent_facing", len(one_sided), spread(middles(surface, one_sided))))
    return found
