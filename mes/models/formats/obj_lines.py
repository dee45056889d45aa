"""The compiled loops over an OBJ file's bytes: one counts what it holds, one fills the arrays."""

import numpy as np

from mes.models.formats.decimals import DEFERRED, NOT_A_NUMBER, Bytes, scan_number
from mes.models.formats.text import (
    AT,
    BACKSLASH,
    BLANK,
    DEFERRED_NUMBERS,
    FACES,
    HASH,
    KIND,
    LINE_END,
    POINTS,
    WORD,
    Faces,
)
from mes.models.mesh import Floats, Ints
from mes.pricing.kernel.compiled import compiled

DONE, PAUSED = -1, -2
FEW_COORDINATES, FEW_CORNERS, NOT_AN_INDEX, VERTEX_0, BEFORE_FIRST, BEYOND_LAST, CHANGED = range(3, 10)
"""How `fill` ends, beside `NOT_A_NUMBER`: at the end of the file, to have numbers rounded, or at a fault."""

_OTHER, _VERTEX, _FACE = range(3)
_SPATIAL = _TRIANGLE = 3
_LARGEST_INDEX = 1 << 53  # doubles beyond are not all the whole numbers they stand for
_FEW_DIGITS = 9  # an index of so many needs no care
_V, _F, _O = b"vfo"
_SLASH, _PLUS, _MINUS, _ZERO, _NINE, _NEWLINE, _RETURN = b"/+-09\n\r"


@compiled()
def _keyword(data: Bytes, at: int, end: int) -> tuple[int, int]:
    """What a line states, and where its arguments start."""
    at = _skip_blanks(data, at, end)
    if at < end and data[at] == _V:
        blank = _skip_blanks(data, at + 1, end) > at + 1
        return _VERTEX if blank else _OTHER, at + 1
    if at < end and data[at] == _F:
        at += 2 if at + 1 < end and data[at + 1] == _O else 1
        return _OTHER if _skip_word(data, at, end) > at else _FACE, at
    return _OTHER, at


@compiled()
def _read_vertex(  # noqa: PLR0917 - compiled loops take each array by itself
    data: Bytes, at: int, end: int, state: Ints, points: Floats, deferred: Ints
) -> tuple[int, int]:
    """First three numbers of a line: what follows is a weight or a colour, some of them `nan`."""
    vertex, found = state[POINTS], 0
    at = _skip_blanks(data, at, end)
    while not _line_ends(data, at, end):
        value, stop, how = scan_number(data, at, end)
        if how == NOT_A_NUMBER or _skip_word(data, stop, end) > stop:
            return NOT_A_NUMBER, at
        if found < _SPATIAL:
            points[vertex, found] = value
            if how == DEFERRED:
                number = state[DEFERRED_NUMBERS]
                deferred[number, 0], deferred[number, 1], deferred[number, 2] = _SPATIAL * vertex + found, at, stop
                state[DEFERRED_NUMBERS] = number + 1
        found += 1
        at = _skip_blanks(data, stop, end)
    if found < _SPATIAL:
        return FEW_COORDINATES, at
    state[POINTS] = vertex + 1
    return DONE, at


@compiled()
def _read_face(  # noqa: PLR0917 - compiled loops take each array by itself
    data: Bytes, at: int, end: int, vertices: int, state: Ints, faces: Faces
) -> tuple[int, int]:
    corner, first, previous = 0, 0, 0
    at = _skip_blanks(data, at, end)
    while not _line_ends(data, at, end):
        given, at = _read_index(data, at, end)
        index = given - 1 if given > 0 else state[POINTS] + given
        if given in (_LARGEST_INDEX, 0) or not 0 <= index < vertices:
            return _index_fault(given, index), at
        if corner == 0:
            first = index
        elif corner > 1:
            triangle = state[FACES]
            if triangle >= len(faces):
                return CHANGED, at
            faces[triangle, 0], faces[triangle, 1], faces[triangle, 2] = first, previous, index
            state[FACES] = triangle + 1
        previous = index
        corner += 1
        at = _skip_blanks(data, at, end)
    return FEW_CORNERS if corner < _TRIANGLE else DONE, at


@compiled()
def _index_fault(given: int, index: int) -> int:
    if given == _LARGEST_INDEX:
        return NOT_AN_INDEX
    if given == 0:
        return VERTEX_0
    return BEFORE_FIRST if index < 0 else BEYOND_LAST


@compiled()
def _read_index(data: Bytes, at: int, end: int) -> tuple[int, int]:
    """A corner's vertex and where the next corner may start; `_LARGEST_INDEX` if it is none."""
    start, index = at, 0
    negative = data[at] == _MINUS
    if negative:
        at += 1
    digits = at
    while at < end and _ZERO <= data[at] <= _NINE and at - digits < _FEW_DIGITS:
        index = index * 10 + data[at] - _ZERO
        at += 1
    if at == digits or (at < end and KIND[data[at]] == WORD and data[at] != _SLASH):
        value, at, how = scan_number(data, start, end)
        if how != 0 or not -_LARGEST_INDEX < value < _LARGEST_INDEX or value != np.floor(value):
            return _LARGEST_INDEX, at
        index, negative = int(value), False
    if at < end and data[at] == _SLASH:  # texture and normal
        while at < end and (_SLASH <= data[at] <= _NINE or data[at] == _PLUS or data[at] == _MINUS):
            at += 1
    if _skip_word(data, at, end) > at:
        return _LARGEST_INDEX, at
    return -index if negative else index, at


@compiled()
def _count_words(data: Bytes, at: int, end: int) -> tuple[int, int]:
    """Words up to the end of the line, and where that is."""
    words = 0
    at = _skip_blanks(data, at, end)
    while not _line_ends(data, at, end):
        words += 1
        at = _skip_blanks(data, _skip_word(data, at, end), end)
    return words, at


@compiled()
def _line_ends(data: Bytes, at: int, end: int) -> bool:
    return at >= end or KIND[data[at]] == LINE_END or KIND[data[at]] == HASH


@compiled()
def _skip_word(data: Bytes, at: int, end: int) -> int:
    """Where the word ends that starts here; stays where none does."""
    while at < end:
        kind = KIND[data[at]]
        if kind == WORD or (kind == BACKSLASH and _continuation(data, at, end) == 0):
            at += 1
        else:
            break
    return at


@compiled()
def _skip_blanks(data: Bytes, at: int, end: int) -> int:
    """The next byte of this line that is not blank; a backslash before the line's end continues it."""
    while at < end:
        kind = KIND[data[at]]
        if kind == BLANK:
            at += 1
        elif kind == BACKSLASH and _continuation(data, at, end) > 0:
            at += _continuation(data, at, end)
        else:
            break
    return at


@compiled()
def _next_line(data: Bytes, at: int, end: int) -> int:
    """Where the next line starts; a comment may be continued too."""
    while at < end:
        kind = KIND[data[at]]
        if kind == LINE_END:
            return at + 1
        at += 1 if kind != BACKSLASH else max(_continuation(data, at, end), 1)
    return at


@compiled()
def _continuation(data: Bytes, at: int, end: int) -> int:
    """Length of a backslash and the line end behind it; 0 if another byte is behind it."""
    if at + 1 >= end or KIND[data[at + 1]] != LINE_END:
        return 0
    return 3 if data[at + 1] == _RETURN and at + 2 < end and data[at + 2] == _NEWLINE else 2


@compiled("Tuple((i8, i8, i8))(Array(u1, 1, 'C', readonly=True))")
def count(data: Bytes) -> tuple[int, int, int]:
    """Lines of vertices and of faces, and triangles once the faces are cut into fans."""
    at, end = 0, len(data)
    vertices = polygons = triangles = 0
    while at < end:
        kind, at = _keyword(data, at, end)
        if kind == _VERTEX:
            vertices += 1
        elif kind == _FACE:
            polygons += 1
            corners, at = _count_words(data, at, end)
            triangles += max(corners - 2, 0)
        at = _next_line(data, at, end)
    return vertices, polygons, triangles


@compiled("i8(Array(u1, 1, 'C', readonly=True), i8, i8[::1], f8[:,::1], i4[:,::1], i8[:,::1])")
def fill(  # noqa: PLR0917 - compiled loops take each array by itself
    data: Bytes, vertices: int, state: Ints, points: Floats, faces: Faces, deferred: Ints
) -> int:
    """Fill the arrays from where `state` stands; it is moved on, and stands in the line at fault if there is one.

    Every write is checked against its array, so that a file that another program changes meanwhile does no harm.

    Args:
        data: the file's bytes.
        vertices: lines of vertices in the whole file.
        state: see `text.AT` and its neighbours.
        points: float64 (N, 3), room for all vertices.
        faces: int32 (F, 3), room for all triangles.
        deferred: int64 (D, 3), room for numbers left to Python: their slot in `points`, their first and last byte.
    """
    end = len(data)
    while state[AT] < end:
        if state[DEFERRED_NUMBERS] + _SPATIAL > len(deferred):
            return PAUSED
        kind, at = _keyword(data, state[AT], end)
        status, seen = DONE, state[POINTS]
        if kind == _VERTEX:
            status, at = _read_vertex(data, at, end, state, points, deferred) if seen < len(points) else (CHANGED, at)
        elif kind == _FACE:
            status, at = _read_face(data, at, end, vertices, state, faces)
        if status != DONE:
            return status
        state[AT] = _next_line(data, at, end)
    return DONE
