"""Reads Wavefront OBJ: positions and faces; names, groups, textures and normals do not change the piece."""

import re

import numpy as np

from mes.models.errors import NotAMesh, UnreadableModel
from mes.models.formats import text
from mes.models.mesh import Floats, Ints, fan

_VERTEX = re.compile(rb"^[ \t]*v[ \t]([^\n#]*)", re.MULTILINE)
_FACE = re.compile(rb"^[ \t]*fo?(?:[ \t]([^\n#]*))?$", re.MULTILINE)
_COMMENT = re.compile(rb"#[^\n]*")
_TEXTURE_AND_NORMAL = re.compile(rb"/[-+/\d]*")
_SPATIAL = 3


def looks_like(data: bytes) -> bool:
    """Whether some line states a vertex."""
    return re.search(rb"^[ \t]*v[ \t]+[-+.\d]", data.replace(b"\r", b"\n"), re.MULTILINE) is not None


def read(data: bytes) -> tuple[Floats, Ints]:
    """Points and faces of an OBJ file; polygons are cut into fans, negative indices count back from their line.

    Raises:
        UnreadableModel: a vertex without three coordinates, or a face whose corners are not vertex indices.
        NotAMesh: no faces.
    """
    plain = _logical_lines(data)
    vertex_lines = _VERTEX.findall(plain)
    face_lines = _FACE.findall(plain)
    if not face_lines:
        raise NotAMesh(format="obj", points=len(vertex_lines))
    return _positions(vertex_lines), _faces(plain, face_lines)


def _logical_lines(data: bytes) -> bytes:
    """Lines ended by newlines only, joined where a backslash continues them, without comments."""
    plain = data.replace(b"\r\n", b"\n").replace(b"\r", b"\n").replace(b"\\\n", b" ")
    return _COMMENT.sub(b"", plain) if b"#" in plain else plain


def _positions(lines: list[bytes]) -> Floats:
    """First three numbers of each line: what follows is a weight or a colour, some of them `nan`."""
    flat, starts, counts = text.ragged(lines)
    if len(counts) and counts.min() < _SPATIAL:
        raise UnreadableModel("A vertex has fewer than three coordinates.", vertex=int(counts.argmin()) + 1)
    return np.take(flat, starts[:, None] + np.arange(_SPATIAL)).reshape(-1, _SPATIAL)


def _faces(plain: bytes, lines: list[bytes]) -> Ints:
    corners = [_TEXTURE_AND_NORMAL.sub(b"", line) for line in lines] if b"/" in plain else lines
    flat, starts, counts = text.ragged(corners)
    given = text.whole(flat[_inside(flat, starts, counts)])
    if (given == 0).any():
        raise UnreadableModel("A face names vertex 0; the first vertex of an OBJ file is 1.")
    if (given < 0).any():
        seen = np.repeat(_vertices_before_faces(plain), counts)
        given = np.where(given < 0, seen + given + 1, given)
        if given.min() < 1:
            raise UnreadableModel("A face counts back to before the first vertex.")
    return fan(counts, given - 1)


def _inside(flat: Floats, starts: Ints, counts: Ints) -> np.ndarray[tuple[int], np.dtype[np.bool_]]:
    """Which numbers belong to lines, not to the marks between them."""
    inside = np.ones(len(flat), bool)
    inside[starts + counts] = False
    return inside


def _vertices_before_faces(plain: bytes) -> Ints:
    """For each face line, the number of vertex lines before it."""
    vertex_at = [match.start() for match in _VERTEX.finditer(plain)]
    face_at = [match.start() for match in _FACE.finditer(plain)]
    return np.searchsorted(np.array(vertex_at, np.int64), np.array(face_at, np.int64)).astype(np.int64)
