"""Reads a 3D model, whatever it is: the content decides the format, the name is only a hint."""

import mmap
import re
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from mes.models.errors import ModelTooLarge, UnknownFormat, UnreadableModel
from mes.models.formats import obj, ply, stl, threemf
from mes.models.formats.decimals import Bytes
from mes.models.formats.text import Faces
from mes.models.mesh import Floats, Mesh, build, build_soup

DEFAULT_MAX_BYTES = 200 * 1024 * 1024
_ZIP = b"PK\x03\x04"
_SNIFFED_BYTES = 1024
_SOMETHING = re.compile(rb"\S")


@dataclass(frozen=True, slots=True)
class _Soup:
    """What a format without points delivers: corners of triangles, (F, 3, 3)."""

    format: str
    corners: NDArray[np.float32] | Floats


@dataclass(frozen=True, slots=True)
class _Indexed:
    """What the other formats deliver."""

    format: str
    points: Floats
    faces: Faces
    unit: str | None = None
    mm_per_unit: float | None = None


def read_mesh(path: Path, max_bytes: int = DEFAULT_MAX_BYTES, *, threads: int = 1) -> Mesh:
    """Read an STL, OBJ, PLY or 3MF file.

    The file is mapped, not read, and must not be cut shorter meanwhile. Peak memory, the map included, is at most six
    times the file's size, except for a 3MF, whose triangles are packed.

    Args:
        path: the file; an extension that contradicts the content is ignored.
        max_bytes: largest file that is read.
        threads: how many cores may weld; the mesh is the same whatever their number.

    Raises:
        UnreadableModel: missing, empty, damaged or hostile; subclasses say which.
        UnknownFormat: none of the four formats.
        ModelTooLarge: more bytes or triangles than we read.
        NotAMesh: no triangles, for example a point cloud.
    """
    surface = _read(path, max_bytes)  # text has been unmapped by now, before it is welded
    if isinstance(surface, _Soup):
        return build_soup(surface.corners, surface.format, threads=threads)
    return build(surface.points, surface.faces, surface.format, surface.unit, surface.mm_per_unit)


def _read(path: Path, max_bytes: int) -> _Soup | _Indexed:
    data = _mapped(path, max_bytes)
    if data[:4].tobytes() == _ZIP:
        return _Indexed("3mf", *threemf.read(path))
    if ply.looks_like(data):
        return _Indexed("ply", *ply.read(data))
    if stl.looks_binary(data):
        return _Soup("stl", stl.read_binary(data))
    if stl.looks_ascii(data):
        return _Soup("stl", stl.read_ascii(data))
    return _by_hint(data, path.suffix.lower())


def _mapped(path: Path, max_bytes: int) -> Bytes:
    """The file's bytes, in place."""
    try:
        size = path.stat().st_size
        if size > max_bytes:
            raise ModelTooLarge(bytes=size, most=max_bytes)
        if not size:
            raise UnreadableModel("This file is empty.", bytes=size)
        with path.open("rb") as file:
            data = np.frombuffer(mmap.mmap(file.fileno(), size, access=mmap.ACCESS_READ), np.uint8)
    except (OSError, ValueError) as error:  # ValueError: it has become shorter since we asked
        raise UnreadableModel("The model's file cannot be opened.", reason=str(error)) from error
    if _SOMETHING.search(data.data) is None:
        raise UnreadableModel("This file is empty.", bytes=size)
    return data


def _by_hint(data: Bytes, suffix: str) -> _Soup | _Indexed:
    """What the first bytes leave open: OBJ has no signature, and a damaged binary STL has none either."""
    is_text = 0 not in data[:_SNIFFED_BYTES]
    if is_text and (obj.looks_like(data) or suffix == ".obj"):
        return _Indexed("obj", *obj.read(data))
    if suffix == ".stl":
        is_ascii = is_text and stl.mentions_facets(data)
        return _Soup("stl", stl.read_ascii(data) if is_ascii else stl.read_binary(data))
    if _is_utf_16(data[:16].tobytes()):
        raise UnknownFormat("This file is UTF-16 text; save it as UTF-8.")
    if not is_text and stl.looks_cut_off(data):
        raise UnreadableModel("This looks like a binary STL file that is cut off; export or send it again.")
    raise UnknownFormat(suffix=suffix)


def _is_utf_16(start: bytes) -> bool:
    """By its mark, or because every second byte of its plain letters is zero."""
    even, odd = set(start[0::2]), set(start[1::2])
    return start[:2] in {b"\xff\xfe", b"\xfe\xff"} or (even == {0}) != (odd == {0})
