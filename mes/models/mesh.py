"""Holds a triangle mesh as every format delivers it: welded by position, checked, ready to be measured."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from mes.models.errors import ModelTooLarge, NotAMesh, UnreadableModel
from mes.models.welding import (
    NO_SUCH_POINT,
    NOT_A_NUMBER,
    SOUND,
    TOO_FAR,
    any_spans_surface,
    weld_points,
    weld_soup,
)

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]

MAX_COORDINATE = 1e9
"""Largest distance from the origin on an axis, in file units: 1,000 km in millimetres is a broken file."""

MAX_TRIANGLES = 20_000_000
"""Five times what 200 MB of binary STL hold; only components of a 3MF or hostile polygons reach it."""

_COMPLAINTS = {
    NOT_A_NUMBER: "A vertex has a coordinate that is not a number.",
    TOO_FAR: "A vertex lies too far from the origin to be real.",
    NO_SUCH_POINT: "A face names a vertex that the file does not have.",
}


@dataclass(frozen=True, slots=True, eq=False)
class Mesh:
    """Triangles over shared vertices.

    Attributes:
        vertices: float64 (V, 3), C-contiguous, in file units, no two at the same position.
        faces: int32 (F, 3), C-contiguous, rows of vertex indices; counter-clockwise seen from outside in a sound file.
        unit: name of the unit that the file states, None where the format has none.
        mm_per_unit: millimetres in that unit, None where the format has none.
        format: `stl`, `obj`, `ply` or `3mf`.
    """

    vertices: Floats
    faces: NDArray[np.int32]
    unit: str | None
    mm_per_unit: float | None
    format: str


def build(
    points: Floats,
    faces: NDArray[np.int32] | NDArray[np.int64],
    file_format: str,
    unit: str | None = None,
    mm_per_unit: float | None = None,
) -> Mesh:
    """Check what a format delivered and weld the points that coincide exactly.

    Args:
        points: float64 (N, 3), in file units.
        faces: int32 or int64 (F, 3), indices into `points`.
        file_format: name kept in the mesh.
        unit: the file's unit, if it states one.
        mm_per_unit: millimetres in that unit.

    Raises:
        NotAMesh: there are no faces, or none that spans a surface.
        ModelTooLarge: more than `MAX_TRIANGLES` faces.
        UnreadableModel: an index without a point, or a coordinate that is no usable number.
    """
    _check_count(len(faces), file_format, points=len(points))
    vertices, welded, say = weld_points(points, faces, MAX_COORDINATE)
    return _sound(Mesh(vertices, welded, unit, mm_per_unit, file_format), say)


def build_soup(corners: NDArray[np.float32] | Floats, file_format: str, *, threads: int = 1) -> Mesh:
    """As `build`, of triangles that come as corners without indices, which are not copied.

    Args:
        corners: float32 or float64 (F, 3, 3), in any layout, such as a view over the records of a memory map.
        file_format: name kept in the mesh.
        threads: how many cores to use; the mesh is the same whatever the number.

    Raises:
        NotAMesh: there are no triangles, or none that spans a surface.
        ModelTooLarge: more than `MAX_TRIANGLES` of them.
        UnreadableModel: a coordinate that is no usable number.
    """
    _check_count(len(corners), file_format, points=0)
    vertices, welded, say = weld_soup(corners, MAX_COORDINATE, threads)
    return _sound(Mesh(vertices, welded, None, None, file_format), say)


def _check_count(faces: int, file_format: str, points: int) -> None:
    if faces == 0:
        raise NotAMesh(format=file_format, points=points)
    if faces > MAX_TRIANGLES:
        raise ModelTooLarge(triangles=faces, most=MAX_TRIANGLES)


def _sound(mesh: Mesh, say: int) -> Mesh:
    if say != SOUND:
        raise UnreadableModel(_COMPLAINTS[say])
    if not any_spans_surface(mesh.faces):
        raise NotAMesh(
            "All triangles of this file are degenerate: they are points or lines.", triangles=len(mesh.faces)
        )
    return mesh
