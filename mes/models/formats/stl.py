"""Reads STL, binary and ASCII, with the lies that real exporters tell about themselves."""

import re
from itertools import chain

import numpy as np

from mes.models.errors import NotAMesh, UnreadableModel
from mes.models.mesh import Floats, Ints

HEADER_BYTES = 84
RECORD = np.dtype([("normal", "<f4", 3), ("corners", "<f4", (3, 3)), ("attribute", "<u2")])

_NAMES = re.compile(rb"\b(?:end)?solid\b(?:(?!facet\s+normal)[^\n])*")
_NUMBER = rb"\s+([-+.\deE]+)"
_LOOP = re.compile(rb"outer\s+loop\s+" + rb"\s+".join([rb"vertex" + _NUMBER * 3] * 3) + rb"\s+endloop")
_TEXT_START = re.compile(rb"\s*solid\b", re.IGNORECASE)
_TEXT_BODY = re.compile(rb"\s(?:facet\s+normal\s|endsolid)", re.IGNORECASE)
_SNIFFED_BYTES = 4096
_MOST_PROMISED, _FARTHEST_MM = 100_000_000, 1e7  # beyond, it is some other file's bytes


def looks_binary(data: bytes) -> bool:
    """Whether the length is what the triangle count in the header promises, give or take a stray tail."""
    return len(data) > HEADER_BYTES and 0 <= len(data) - HEADER_BYTES - RECORD.itemsize * _count(data) < RECORD.itemsize


def looks_cut_off(data: bytes) -> bool:
    """Whether bytes that are no known format may be the beginning of a binary STL: fewer triangles than it promises."""
    whole = (len(data) - HEADER_BYTES) // RECORD.itemsize
    if len(data) < HEADER_BYTES or not whole <= _count(data) <= _MOST_PROMISED:
        return False
    corners = np.frombuffer(data, RECORD, whole, HEADER_BYTES)["corners"]
    return bool(np.isfinite(corners).all() and (np.abs(corners) < _FARTHEST_MM).all())


def looks_ascii(data: bytes) -> bool:
    """Whether the file starts as an ASCII STL; a binary header that says `solid` does not go on with a facet."""
    start = data[:_SNIFFED_BYTES]
    return _TEXT_START.match(start) is not None and _TEXT_BODY.search(start) is not None


def read_binary(data: bytes) -> tuple[Floats, Ints]:
    """Points and faces of a binary STL.

    A count of zero before data is an exporter that never went back to fill it in: the file's length decides. Bytes
    after the triangles are ignored unless they are whole triangles that the count leaves out.

    Raises:
        UnreadableModel: shorter or longer than its triangle count.
        NotAMesh: no triangles.
    """
    if len(data) < HEADER_BYTES:
        raise UnreadableModel("This STL file is cut off inside its header.", bytes=len(data))
    promised, (held, stray) = _count(data), divmod(len(data) - HEADER_BYTES, RECORD.itemsize)
    if held < promised:
        raise UnreadableModel("This STL file is cut off.", triangles_promised=promised, triangles_present=held)
    if promised and held > promised and not stray:
        raise UnreadableModel(
            "This STL file holds more triangles than it states.", triangles_stated=promised, triangles_present=held
        )
    count = promised or (held if not stray else 0)
    if not count:
        raise NotAMesh(format="stl", triangles=0)
    records = np.frombuffer(data, RECORD, count, HEADER_BYTES)
    return _soup(records["corners"].astype(np.float64).reshape(-1, 3))


def read_ascii(data: bytes) -> tuple[Floats, Ints]:
    """Points and faces of an ASCII STL, of all its solids together.

    Raises:
        UnreadableModel: cut off, or a facet that is not three vertices of three numbers each.
        NotAMesh: no facets.
    """
    text = data.replace(b"\r\n", b"\n").replace(b"\r", b"\n").lower()
    if b"endsolid" not in text[text.rfind(b"endfacet") + 1 :]:
        raise UnreadableModel("This STL file is cut off: `endsolid` is missing.")
    body = _NAMES.sub(b"", text)
    facets = _LOOP.findall(body)
    if not facets and b"facet" not in body:
        raise NotAMesh(format="stl", triangles=0)
    if 3 * len(facets) != body.count(b"vertex") or 2 * len(facets) != body.count(b"facet"):
        raise UnreadableModel("A facet of this STL file is not three vertices of three numbers each.")
    try:
        numbers = np.fromiter(map(float, chain.from_iterable(facets)), np.float64, 9 * len(facets))
    except ValueError as error:
        raise UnreadableModel("A coordinate of this STL file is not a number.") from error
    return _soup(numbers.reshape(-1, 3))


def _count(data: bytes) -> int:
    return int.from_bytes(data[80:HEADER_BYTES], "little")


def _soup(points: Floats) -> tuple[Floats, Ints]:
    return points, np.arange(len(points), dtype=np.int64).reshape(-1, 3)
