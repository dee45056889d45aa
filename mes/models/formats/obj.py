"""Reads Wavefront OBJ: positions and faces; names, groups, textures and normals do not change the piece."""

import re

import numpy as np

from mes.models.errors import ModelTooLarge, NotAMesh, UnreadableModel
from mes.models.formats import obj_lines as lines
from mes.models.formats.decimals import NOT_A_NUMBER, Bytes
from mes.models.formats.text import Faces, Progress, line_of
from mes.models.mesh import MAX_TRIANGLES, Floats

_SHORTEST_VERTEX = len(b"v 0 0 0\n")
_STATES_A_VERTEX = re.compile(rb"(?:\A|[\r\n])[ \t]*v[ \t]+[-+.\d]")
_FAULTS = {
    NOT_A_NUMBER: "Something that should be a number is not.",
    lines.FEW_COORDINATES: "A vertex has fewer than three coordinates.",
    lines.FEW_CORNERS: "A face has fewer than three corners.",
    lines.NOT_AN_INDEX: "A vertex index is not a whole number.",
    lines.VERTEX_0: "A face names vertex 0; the first vertex of an OBJ file is 1.",
    lines.BEFORE_FIRST: "A face counts back to before the first vertex.",
    lines.BEYOND_LAST: "A face names a vertex that the file does not have.",
    lines.CHANGED: "This file changed while it was read.",
}


def looks_like(data: Bytes) -> bool:
    """Whether some line states a vertex."""
    return _STATES_A_VERTEX.search(data.data) is not None


def read(data: Bytes) -> tuple[Floats, Faces]:
    """Points and faces of an OBJ file; polygons are cut into fans, negative indices count back from their line.

    Returns:
        Points, float64 (N, 3), and faces, int32 (F, 3).

    Raises:
        UnreadableModel: a vertex without three coordinates, or a face whose corners are not vertex indices.
        NotAMesh: no faces.
        ModelTooLarge: more than `MAX_TRIANGLES` triangles.
    """
    vertices, polygons, triangles = lines.count(data)
    if not polygons:
        raise NotAMesh(format="obj", points=vertices)
    if triangles > MAX_TRIANGLES:
        raise ModelTooLarge(triangles=triangles, most=MAX_TRIANGLES)
    # a line that is too short to be a vertex is found before the points run out
    points = np.empty((min(vertices, len(data) // _SHORTEST_VERTEX + 1), 3))
    faces = np.empty((triangles, 3), np.int32)
    progress, status = Progress(), lines.PAUSED
    while status == lines.PAUSED:
        status = lines.fill(data, vertices, progress.state, points, faces, progress.deferred)
        progress.settle(data, points.reshape(-1))
    if status in _FAULTS:
        raise UnreadableModel(_FAULTS[status], line=line_of(data, int(progress.state[0])))
    return points, faces
