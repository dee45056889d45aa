"""Reads PLY, ASCII and binary of both byte orders: the vertices' positions and the faces."""

from mes.models.errors import NotAMesh, UnreadableModel
from mes.models.formats.decimals import Bytes
from mes.models.formats.ply_binary import BinaryBody
from mes.models.formats.ply_header import Element, Wanted, read_header
from mes.models.formats.ply_text import TextBody
from mes.models.formats.text import Faces
from mes.models.mesh import Floats

_FACE_LISTS = ("vertex_indices", "vertex_index")
_POSITION = ("x", "y", "z")


def looks_like(data: Bytes) -> bool:
    """Whether the file starts as a PLY."""
    return data[:5].tobytes().startswith((b"ply\n", b"ply\r", b"ply \n"))


def read(data: Bytes) -> tuple[Floats, Faces]:
    """Points and faces of a PLY file; polygons are cut into fans, elements other than vertices and faces skipped.

    Returns:
        Points, float64 (N, 3), and faces, int32 (F, 3).

    Raises:
        UnreadableModel: a header that makes no sense, or a body too short for it.
        NotAMesh: no vertices or no faces.
        ModelTooLarge: more than `MAX_TRIANGLES` triangles.
    """
    header = read_header(data)
    body = TextBody(data, header.body_at) if not header.order else BinaryBody(data, header.body_at, header.order)
    points: Floats | None = None
    faces: Faces | None = None
    for element in header.elements:
        wanted = _wanted(element)
        some_points, some_faces = body.read(element, wanted)
        if element.name == "vertex":
            points = some_points if wanted.axes else None
        elif element.name == "face":
            faces = some_faces if wanted.corners is not None else None
    if points is None:
        raise NotAMesh("This PLY file has no vertices with x, y and z.")
    if faces is None:
        raise NotAMesh(format="ply", points=len(points))
    return points, faces


def _wanted(element: Element) -> Wanted:
    """Which properties of an element we need; the last of a name counts."""
    place = {column.name: i for i, column in enumerate(element.properties)}
    if element.name == "vertex":
        axes = tuple(place[axis] for axis in _POSITION if axis in place and not element.properties[place[axis]].count)
        return Wanted(axes=axes if len(axes) == len(_POSITION) else ())
    if element.name == "face":
        corners = next((place[name] for name in _FACE_LISTS if name in place), None)
        if corners is not None and element.rows and not element.properties[corners].count:
            raise UnreadableModel("A face has fewer than three corners.", face=1)
        return Wanted(corners=corners)
    return Wanted()
