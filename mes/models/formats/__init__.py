"""Reads a 3D model, whatever it is: the content decides the format, the name is only a hint."""

from pathlib import Path

from mes.models.errors import ModelTooLarge, UnknownFormat, UnreadableModel
from mes.models.formats import obj, ply, stl, threemf
from mes.models.mesh import Mesh, build

DEFAULT_MAX_BYTES = 200 * 1024 * 1024
_ZIP = b"PK\x03\x04"
_SNIFFED_BYTES = 1024


def read_mesh(path: Path, max_bytes: int = DEFAULT_MAX_BYTES) -> Mesh:
    """Read an STL, OBJ, PLY or 3MF file.

    Args:
        path: the file; an extension that contradicts the content is ignored.
        max_bytes: largest file that is read.

    Raises:
        UnreadableModel: missing, empty, damaged or hostile; subclasses say which.
        UnknownFormat: none of the four formats.
        ModelTooLarge: more bytes or triangles than we read.
        NotAMesh: no triangles, for example a point cloud.
    """
    data = _read(path, max_bytes)
    if data.startswith(_ZIP):
        points, faces, unit, mm_per_unit = threemf.read(path)
        return build(points, faces, "3mf", unit, mm_per_unit)
    if ply.looks_like(data):
        return build(*ply.read(data), "ply")
    if stl.looks_binary(data):
        return build(*stl.read_binary(data), "stl")
    if stl.looks_ascii(data):
        return build(*stl.read_ascii(data), "stl")
    return _by_hint(data, path.suffix.lower())


def _read(path: Path, max_bytes: int) -> bytes:
    try:
        size = path.stat().st_size
        if size > max_bytes:
            raise ModelTooLarge(bytes=size, most=max_bytes)
        data = path.read_bytes()
    except OSError as error:
        raise UnreadableModel("The model's file cannot be opened.", reason=error.strerror) from error
    if not data.strip():
        raise UnreadableModel("This file is empty.", bytes=len(data))
    return data


def _by_hint(data: bytes, suffix: str) -> Mesh:
    """What the first bytes leave open: OBJ has no signature, and a damaged binary STL has none either."""
    is_text = b"\0" not in data[:_SNIFFED_BYTES]
    if is_text and (obj.looks_like(data) or suffix == ".obj"):
        return build(*obj.read(data), "obj")
    if suffix == ".stl":
        return build(*(stl.read_ascii(data) if is_text and b"facet" in data.lower() else stl.read_binary(data)), "stl")
    if _is_utf_16(data):
        raise UnknownFormat("This file is UTF-16 text; save it as UTF-8.")
    if not is_text and stl.looks_cut_off(data):
        raise UnreadableModel("This looks like a binary STL file that is cut off; export or send it again.")
    raise UnknownFormat(suffix=suffix)


def _is_utf_16(data: bytes) -> bool:
    """By its mark, or because every second byte of its plain letters is zero."""
    even, odd = set(data[0:16:2]), set(data[1:16:2])
    return data[:2] in {b"\xff\xfe", b"\xfe\xff"} or (even == {0}) != (odd == {0})
