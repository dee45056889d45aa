"""Measures a mesh: from triangles to all that prices and findings need."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from functools import partial

import numpy as np
from numpy.typing import NDArray

from mes.models.errors import UnreadableModel
from mes.models.mesh import Floats, Mesh
from mes.pricing.geometry import Fault, Geometry, Point, Walls
from mes.pricing.kernel.box import box_of
from mes.pricing.kernel.columns import stand
from mes.pricing.kernel.curvature import detail_of
from mes.pricing.kernel.edges import bodies_of, spanning
from mes.pricing.kernel.facing import Sides, sides_of
from mes.pricing.kernel.healing import Surface, mended
from mes.pricing.kernel.hull import Hull, hull_of
from mes.pricing.kernel.mass import Masses, bounds, flat_faces, flip, masses_of
from mes.pricing.kernel.places import spread
from mes.pricing.kernel.printing import printing_of
from mes.pricing.kernel.side_by_side import both
from mes.pricing.thickness import measure_walls

SPECK_VOLUME, SPECK_SIZE = 1e-5, 0.01
"""Shares of the whole's volume and size below which a body of its own is a speck: 0.2 mm on a ring of 20 mm."""


LEAST_MM, MOST_MM = 1e-30, 1e30
"""Sizes beyond which numbers over- or underflow when they are multiplied."""


@dataclass(frozen=True, slots=True, eq=False)
class _Model:
    """A mesh on its way to being measured: in mm, about the centre of its box.

    Attributes:
        surface: mended.
        body: int32 (F,), the number of each face's body.
        masses: what bodies and faces measure, as they look in the file.
        sides: which way bodies look.
        faces, normals: with the inverted bodies turned over.
    """

    surface: Surface
    body: NDArray[np.int32]
    masses: Masses
    sides: Sides
    faces: NDArray[np.int32]
    normals: Floats


def measure(mesh: Mesh, unit_mm: float | None = None, *, threads: int = 1, walls: bool = True) -> Geometry:
    """Measure a mesh, mended where a fault has one obvious cure; the same whatever the number of threads.

    Args:
        mesh: what was read.
        unit_mm: millimetres per file unit for files that state none; 1 if not given. A stated unit wins.
        threads: how many cores to use.
        walls: whether to measure the thickness of walls too, which takes longest.

    Raises:
        UnreadableModel: the numbers are too extreme to be measured.
    """
    scale = mesh.mm_per_unit or unit_mm or 1.0
    low, high = bounds(mesh.vertices)
    extents = (high - low) * scale
    if not LEAST_MM < extents.max() < MOST_MM:
        raise UnreadableModel("This model's measures are too extreme to be real.")
    points = (mesh.vertices - (low + high) / 2) * scale
    work = partial(_model, points, mesh.faces, threads), partial(_in_box, points)
    model, (hull, axes, sides) = both(*work, threads)
    detail = detail_of(points, model.surface.faces, model.surface.edges, model.masses, threads)
    standing = stand(points, model.faces, model.normals, axes)
    printing = printing_of(standing, hull.volume if hull else 0.0, threads)
    found = measure_walls(points, model.faces, threads=threads) if walls else None
    place = partial(_in_file, scale=scale, middle=(low + high) / 2)
    return Geometry(
        triangles=len(mesh.faces),
        volume_mm3=abs(float((model.masses.volumes * np.where(model.sides.inverted, -1, 1)).sum())),
        area_mm2=float(model.masses.areas.sum()),
        extents_mm=_three(extents),
        bodies=len(model.masses.volumes),
        closed=model.surface.edges.open_edges == 0,
        open_edges=model.surface.edges.open_edges,
        facing=model.sides.facing,
        unit=mesh.unit,
        box_mm=_three(sides),
        hull_mm3=hull.volume if hull else 0.0,
        detail=detail,
        printing=printing,
        walls=_walls_in_file(found, place) if found else None,
        faults=tuple(replace(fault, places=tuple(map(place, fault.places))) for fault in _faults(mesh, points, model)),
    )


def _model(points: Floats, faces: NDArray[np.int32], threads: int) -> _Model:
    surface = mended(points, faces, threads)
    body, count = bodies_of(surface.edges)
    masses = masses_of(points, surface.faces, body, count, threads)
    sides = sides_of(points, surface.faces, body, masses)
    if not sides.inverted.any():
        return _Model(surface, body, masses, sides, surface.faces, masses.normals)
    turned = sides.inverted[body]
    normals = np.where(turned[:, None], -masses.normals, masses.normals)
    return _Model(surface, body, masses, sides, flip(surface.faces, turned), normals)


def _in_box(points: Floats) -> tuple[Hull | None, Floats, Floats]:
    hull = hull_of(points)
    return hull, *box_of(points, hull)


def _faults(mesh: Mesh, points: Floats, model: _Model) -> Iterator[Fault]:
    yield from model.surface.faults
    masses, inverted = model.masses, model.sides.inverted
    middles = (masses.low + masses.high) / 2
    if inverted.any():
        yield Fault("inverted_bodies", int(inverted.sum()), spread(middles[inverted]), healed=True)
    yield from _flat_faces(mesh, points, model)
    specks = _specks(model)
    if specks.any():
        yield Fault("floating_specks", int(specks.sum()), spread(middles[specks]))


def _flat_faces(mesh: Mesh, points: Floats, model: _Model) -> Iterator[Fault]:
    spans, count = spanning(mesh.faces)
    if count == len(mesh.faces) and not model.masses.flat:
        return
    flat = flat_faces(points, model.surface.faces)
    faces = np.concatenate((mesh.faces[~spans], model.surface.faces[flat]))
    yield Fault("zero_area_faces", len(faces), spread(points[faces].mean(axis=1)), healed=True)


def _specks(model: _Model) -> NDArray[np.bool_]:
    """Bodies of their own that are tiny beside the largest; holes are none, and open ones have no volume to go by."""
    masses = model.masses
    lengths, volumes = (masses.high - masses.low).max(axis=1), np.abs(masses.volumes)
    tiny: NDArray[np.bool_] = lengths < SPECK_SIZE * lengths.max()
    if not model.surface.edges.open_edges:
        tiny |= volumes < SPECK_VOLUME * volumes.max()
    return tiny & ~model.sides.cavities


def _in_file(place: Point, scale: float, middle: Floats) -> Point:
    return _three(np.asarray(place) / scale + middle)


def _walls_in_file(walls: Walls, place: Callable[[Point], Point]) -> Walls:
    return replace(walls, places=tuple(replace(thin, at=place(thin.at)) for thin in walls.places))


def _three(numbers: Floats) -> Point:
    x, y, z = numbers.tolist()
    return x, y, z
