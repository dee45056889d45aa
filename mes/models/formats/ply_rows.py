"""The compiled loops over the rows of a PLY file's body: lines of numbers, or packed values in lists of any length."""

import numpy as np

from mes.models.formats.decimals import DEFERRED, NOT_A_NUMBER, READ, Bytes, scan_number
from mes.models.formats.text import (
    AT,
    BLANK,
    DEFERRED_NUMBERS,
    FACES,
    KIND,
    LINE_END,
    POINTS,
    Faces,
    is_space,
    skip_space,
)
from mes.models.mesh import Floats, Ints
from mes.pricing.kernel.compiled import compiled

DONE, PAUSED = -1, -2
NOT_AN_INDEX, NO_SUCH_VERTEX, FEW_CORNERS, CUT_OFF, IMPOSSIBLE = range(3, 8)
"""How a loop ends, beside `NOT_A_NUMBER`: after the last row, to have numbers rounded, or at a fault."""

X, Y, Z, SINGLE, LIST, CORNERS = range(6)
"""What a property's numbers are for: an axis, nothing, nothing, the corners of a face."""

_SPATIAL = _TRIANGLE = 3
_LARGEST_INDEX = (1 << 31) - 1


@compiled()
def _next_number(data: Bytes, at: int, end: int) -> tuple[float, int, int, int]:
    """The next number of this line, where it starts and ends, and `READ`, `DEFERRED`, or what is wrong with it."""
    while at < end and KIND[data[at]] == BLANK:
        at += 1
    if at == end or KIND[data[at]] == LINE_END:
        return 0.0, at, at, CUT_OFF
    value, stop, how = scan_number(data, at, end)
    if stop < end and not is_space(data[stop]):
        return 0.0, at, stop, NOT_A_NUMBER
    return value, at, stop, how


@compiled()
def _read_list(data: Bytes, at: int, end: int) -> tuple[int, int]:
    """Where a list ends that we only skip, and what is wrong with it."""
    length, at, how = _read_length(data, at, end)
    for _ in range(length):
        _, _, at, fault = _next_number(data, at, end)
        if fault > DEFERRED:
            return at, fault
    return at, how


@compiled()
def _read_face(data: Bytes, at: int, end: int, state: Ints, faces: Faces) -> tuple[int, int]:
    """Where a list of corners ends and what is wrong with it; it becomes triangles, as far as there is room."""
    length, at, how = _read_length(data, at, end)
    if how == DONE and length < _TRIANGLE:
        return at, FEW_CORNERS
    first = previous = 0
    for place in range(length):
        corner, at, fault = _read_corner(data, at, end)
        if fault != DONE:
            return at, fault
        if place == 0:
            first = corner
        elif place > 1:
            _add_triangle(first, previous, corner, state, faces)
        previous = corner
    return at, how


@compiled()
def _read_length(data: Bytes, at: int, end: int) -> tuple[int, int, int]:
    """How long a list says it is, where its values start, and what is wrong with that."""
    value, _, at, how = _next_number(data, at, end)
    if how > DEFERRED:
        return 0, at, how
    if how == DEFERRED or not (0 <= value <= _LARGEST_INDEX and value == np.floor(value)):
        return 0, at, IMPOSSIBLE
    return int(value), at, DONE


@compiled()
def _read_corner(data: Bytes, at: int, end: int) -> tuple[int, int, int]:
    """A vertex's index, where it ends, and what is wrong with it."""
    value, _, at, how = _next_number(data, at, end)
    if how > DEFERRED:
        return 0, at, how
    if how == DEFERRED or value != np.floor(value):
        return 0, at, NOT_AN_INDEX
    if not 0 <= value <= _LARGEST_INDEX:
        return 0, at, NO_SUCH_VERTEX
    return int(value), at, DONE


@compiled()
def _add_triangle(a: int, b: int, c: int, state: Ints, faces: Faces) -> None:
    triangle = state[FACES]
    if triangle < len(faces):
        faces[triangle, 0], faces[triangle, 1], faces[triangle, 2] = a, b, c
    state[FACES] = triangle + 1


@compiled()
def _read_single(  # noqa: PLR0917 - compiled loops take each array by itself
    data: Bytes, at: int, end: int, use: int, state: Ints, points: Floats, deferred: Ints
) -> tuple[int, int]:
    value, start, stop, how = _next_number(data, at, end)
    if how > DEFERRED:
        return stop, how
    row = state[POINTS]
    if use < _SPATIAL and row < len(points):
        points[row, use] = value
        number = state[DEFERRED_NUMBERS]
        if how == DEFERRED and number < len(deferred):
            deferred[number, 0], deferred[number, 1], deferred[number, 2] = _SPATIAL * row + use, start, stop
            state[DEFERRED_NUMBERS] = number + 1
    return stop, DONE


@compiled()
def _skip_numbers(data: Bytes, at: int, end: int) -> tuple[int, int]:
    """The end of the line, if nothing but numbers comes before it."""
    how = READ
    while how <= DEFERRED:
        _, _, at, how = _next_number(data, at, end)
    return at, DONE if how == CUT_OFF else how


@compiled("i8(Array(u1, 1, 'C', readonly=True), i8, i8[::1], i8[::1], f8[:,::1], i4[:,::1], i8[:,::1])")
def fill(  # noqa: PLR0917 - compiled loops take each array by itself
    data: Bytes, rows: int, plan: Ints, state: Ints, points: Floats, faces: Faces, deferred: Ints
) -> int:
    """Read lines of numbers from where `state` stands, which afterwards stands behind them, or in the line at fault.

    Args:
        data: the file's bytes.
        rows: lines of the element.
        plan: int64 (P,), what each property is for: see `X` and its neighbours.
        state: see `text.AT` and its neighbours.
        points: float64 (N, 3), filled as far as it goes.
        faces: int32 (F, 3), filled as far as it goes; `state` tells how many there are.
        deferred: int64 (D, 3), room for numbers left to Python: their slot in `points`, their first and last byte.
    """
    end = len(data)
    while state[POINTS] < rows:
        if state[DEFERRED_NUMBERS] + _SPATIAL > len(deferred):
            return PAUSED
        at = skip_space(data, state[AT], end)
        state[AT] = at
        for use in plan:
            if use == CORNERS:
                at, how = _read_face(data, at, end, state, faces)
            elif use == LIST:
                at, how = _read_list(data, at, end)
            else:
                at, how = _read_single(data, at, end, use, state, points, deferred)
            if how != DONE:
                return how
        at, how = _skip_numbers(data, at, end)
        if how != DONE:
            return how
        state[AT] = at
        state[POINTS] += 1
    return DONE


@compiled()
def _read_field(data: Bytes, at: int, end: int, field: Ints, is_big: int) -> tuple[int, int, int]:
    """Bytes of a packed property's values, where they start, and what is wrong with that."""
    size, length = field[0], 1
    if at + size > end:
        return 0, at, CUT_OFF
    if size > 0:
        length = 0
        for i in range(size):
            length = length * 256 + data[at + i if is_big else at + size - 1 - i]
        if field[1] and length >> (8 * size - 1):
            return 0, at, IMPOSSIBLE  # negative
    width = length * field[2]
    return width, at + size, DONE if at + size + width <= end else CUT_OFF


@compiled()
def _copy(data: Bytes, at: int, width: int, values: Bytes, to: int) -> None:
    if to + width <= len(values):
        for i in range(width):
            values[to + i] = data[at + i]


@compiled("Tuple((i8, i8, i8))(Array(u1, 1, 'C', readonly=True), i8, i8, i8[:,::1], i8, i8, i8, i4[::1], u1[::1])")
def gather(  # noqa: PLR0917 - compiled loops take each array by itself
    data: Bytes, at: int, rows: int, layout: Ints, is_big: int, target: int, least: int, counts: Faces, values: Bytes
) -> tuple[int, int, int]:
    """Walk packed rows and collect one property's values, as bytes, as far as there is room.

    Args:
        data: the file's bytes.
        at: where the rows start.
        rows: how many there are.
        layout: int64 (P, 3), for each property the bytes of its count (0 if single), whether that is signed, and the
            bytes of a value.
        is_big: whether the most significant byte comes first.
        target: the property to collect.
        least: values that it must have in each row.
        counts: int32 (rows,) or empty.
        values: uint8, of any length.

    Returns:
        `DONE` or what is wrong, where the rows end or the row at fault, and how many bytes the values have.
    """
    end, collected = len(data), 0
    for row in range(rows):
        for column in range(len(layout)):
            width, at, how = _read_field(data, at, end, layout[column], is_big)
            if how == DONE and column == target and width < least * layout[column, 2]:
                how = FEW_CORNERS
            if how != DONE:
                return how, row, collected
            if column == target:
                if row < len(counts):
                    counts[row] = width // layout[column, 2]
                _copy(data, at, width, values, collected)
                collected += width
            at += width
    return DONE, at, collected


@compiled("i8(i4[::1], i4[::1], i4[:,::1])")
def fan(counts: Faces, corners: Faces, faces: Faces) -> int:
    """Cut polygons into triangles around each polygon's first corner; returns how many there were room for.

    Args:
        counts: int32 (P,), corners of each polygon.
        corners: int32 (sum of counts,), the polygons' vertices one after the other.
        faces: int32 (sum of counts - 2 P, 3), filled.
    """
    at = triangle = 0
    for length in counts:
        for last in range(2, length):
            if triangle == len(faces) or at + last >= len(corners):
                return triangle
            faces[triangle, 0] = corners[at]
            faces[triangle, 1] = corners[at + last - 1]
            faces[triangle, 2] = corners[at + last]
            triangle += 1
        at += length
    return triangle
