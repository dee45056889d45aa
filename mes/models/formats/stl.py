"""Reads STL, binary and ASCII, with the lies that real exporters tell about themselves."""

import re

import numpy as np
from numpy.typing import NDArray

from mes.models.errors import NotAMesh, UnreadableModel
from mes.models.formats import stl_facets
from mes.models.formats.decimals import Bytes
from mes.models.formats.text import Progress, line_of
from mes.models.mesh import Floats

HEADER_BYTES = 84
RECORD = np.dtype([("normal", "<f4", 3), ("corners", "<f4", (3, 3)), ("attribute", "<u2")])

_TEXT_START = re.compile(rb"\s*solid\b", re.IGNORECASE)
_TEXT_BODY = re.compile(rb"\s(?:facet\s+normal\s|endsolid)", re.IGNORECASE)
_FACET = re.compile(rb"facet", re.IGNORECASE)
_END = re.compile(rb"endsolid", re.IGNORECASE)
_SNIFFED_BYTES = 4096
_MOST_PROMISED, _FARTHEST_MM = 100_000_000, 1e7  # beyond, it is some other file's bytes
_SHORTEST_LOOP = len("outer loop vertex 0 0 0 vertex 0 0 0 vertex 0 0 0 endloop ")


def looks_binary(data: Bytes) -> bool:
    """Whether the length is what the triangle count in the header promises, give or take a stray tail."""
    return len(data) > HEADER_BYTES and 0 <= len(data) - HEADER_BYTES - RECORD.itemsize * _count(data) < RECORD.itemsize


def looks_cut_off(data: Bytes) -> bool:
    """Whether bytes that are no known format may be the beginning of a binary STL: fewer triangles than it promises."""
    whole = (len(data) - HEADER_BYTES) // RECORD.itemsize
    if len(data) < HEADER_BYTES or not whole <= _count(data) <= _MOST_PROMISED:
        return False
    corners = _corners(data, whole)
    return bool(np.isfinite(corners).all() and (np.abs(corners) < _FARTHEST_MM).all())


def looks_ascii(data: Bytes) -> bool:
    """Whether the file starts as an ASCII STL; a binary header that says `solid` does not go on with a facet."""
    start = data[:_SNIFFED_BYTES].tobytes()
    return _TEXT_START.match(start) is not None and _TEXT_BODY.search(start) is not None


def mentions_facets(data: Bytes) -> bool:
    """Whether the word is anywhere in a text."""
    return _FACET.search(data.data) is not None


def read_binary(data: Bytes) -> NDArray[np.float32]:
    """Corners of the triangles of a binary STL: float32 (F, 3, 3), a view that copies nothing.

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
    return _corners(data, count)


def read_ascii(data: Bytes) -> Floats:
    """Corners of the triangles of an ASCII STL, of all its solids together: float64 (F, 3, 3).

    Raises:
        UnreadableModel: cut off, or a facet that is not three vertices of three numbers each.
        NotAMesh: no facets.
    """
    corners = np.empty((len(data) // _SHORTEST_LOOP + 1, 3, 3))  # a quarter more than the file; most is never touched
    seen, progress, status = np.zeros(4, np.int64), Progress(), stl_facets.PAUSED
    while status == stl_facets.PAUSED:
        status = stl_facets.fill(data, progress.state, seen, corners, progress.deferred)
        progress.settle(data, corners.reshape(-1))
    at, loops = int(progress.state[0]), int(progress.state[2])
    facets, facet_ends, last_facet, last_end = seen.tolist()
    if last_end <= last_facet and (status == stl_facets.DONE or _END.search(data[at:].data) is None):
        raise UnreadableModel("This STL file is cut off: `endsolid` is missing.")
    if status == stl_facets.DONE and not loops and not facets:
        raise NotAMesh(format="stl", triangles=0)
    if status != stl_facets.DONE or facets + facet_ends != 2 * loops:
        raise UnreadableModel(
            "A facet of this STL file is not three vertices of three numbers each.", line=line_of(data, at)
        )
    return corners[:loops]


def _corners(data: Bytes, count: int) -> NDArray[np.float32]:
    records = data[HEADER_BYTES : HEADER_BYTES + count * RECORD.itemsize].view(RECORD)
    corners: NDArray[np.float32] = records["corners"]
    return corners


def _count(data: Bytes) -> int:
    return int.from_bytes(data[80:HEADER_BYTES].tobytes(), "little")
