"""The compiled loop over runs of vertices and triangles in a 3MF's XML, which are nearly all of it."""

import numpy as np

from mes.models.formats.decimals import READ, Bytes, scan_number
from mes.models.mesh import Floats
from mes.pricing.kernel.compiled import compiled

VERTICES, TRIANGLES = range(2)

_NUMBERS = 3
_ALL_GIVEN = 0b111
_UNKNOWN = -1
_MOST_DIGITS = 9  # of an index: fewer than 2**31
_BASE = 10
_P1, _PID = 3, 6
_SPACE, _TAB, _NEWLINE, _RETURN = b" \t\n\r"
_X, _Z, _V, _P, _I, _D, _ONE, _THREE = b"xzvpid13"
_EQUALS, _QUOTE, _APOSTROPHE, _SLASH, _ZERO, _NINE, _A, _LAST = b"=\"'/09az"
_LOWER = 0x20  # the bit that tells small letters from capitals
_VERTEX, _TRIANGLE, _CLOSE = (np.frombuffer(word, np.uint8) for word in (b"<vertex", b"<triangle", b"/>"))


@compiled()
def _is_space(byte: int) -> bool:
    return byte == _SPACE or byte == _NEWLINE or byte == _TAB or byte == _RETURN  # noqa: PLR1714 - no sets here


@compiled()
def _skip_space(data: Bytes, at: int, end: int) -> int:
    while at < end and _is_space(data[at]):
        at += 1
    return at


@compiled()
def _stands(data: Bytes, at: int, end: int, word: Bytes) -> bool:
    if end - at < len(word):
        return False
    for i in range(len(word)):  # noqa: SIM110 - machine code has no generators
        if data[at + i] != word[i]:
            return False
    return True


@compiled()
def _attribute(data: Bytes, at: int, end: int, kind: int) -> tuple[int, int]:
    """Which attribute is named here, from 0, and where its quote stands; x, y, z or v1, v2, v3 come first."""
    if at + 4 >= end:
        return _UNKNOWN, at
    if kind == VERTICES:
        return (data[at] - _X if _X <= data[at] <= _Z and data[at + 1] == _EQUALS else _UNKNOWN), at + 2
    if data[at] == _P and data[at + 1] == _I and data[at + 2] == _D and data[at + 3] == _EQUALS:
        return _PID, at + 4
    if not (_ONE <= data[at + 1] <= _THREE and data[at + 2] == _EQUALS):
        return _UNKNOWN, at
    if data[at] == _V:
        return data[at + 1] - _ONE, at + 3
    return (data[at + 1] - _ONE + _P1 if data[at] == _P else _UNKNOWN), at + 3


@compiled()
def _read_index(data: Bytes, at: int, end: int) -> tuple[float, int, bool]:
    start, index = at, 0
    while at < end and _ZERO <= data[at] <= _NINE and at - start <= _MOST_DIGITS:
        index = index * _BASE + data[at] - _ZERO
        at += 1
    return float(index), at, 0 < at - start <= _MOST_DIGITS


@compiled()
def _skip_plain(data: Bytes, at: int, end: int) -> int:
    """The end of a value made of letters and digits."""
    while at < end and (_ZERO <= data[at] <= _NINE or _A <= data[at] | _LOWER <= _LAST):
        at += 1
    return at


@compiled()
def _read_value(data: Bytes, at: int, end: int, kind: int, which: int) -> tuple[float, int, bool]:
    """The number in quotes, where it ends, and whether it is one without doubt."""
    if at >= end or (data[at] != _QUOTE and data[at] != _APOSTROPHE):
        return 0.0, at, False
    quote = data[at]
    value, stop, sound = 0.0, at + 1, True
    if which >= _NUMBERS:
        stop = _skip_plain(data, at + 1, end)
    elif kind == VERTICES:
        value, stop, how = scan_number(data, at + 1, end)
        sound = how == READ and np.isfinite(value)
    else:
        value, stop, sound = _read_index(data, at + 1, end)
    return value, stop + 1, sound and stop < end and data[stop] == quote


@compiled()
def _read_element(  # noqa: PLR0917 - compiled loops take each array by itself
    data: Bytes, at: int, end: int, kind: int, values: Floats, row: int
) -> int:
    """Where an element ends, `_UNKNOWN` unless it is whole, without children, and as plain as they usually are."""
    if kind == VERTICES:
        found, at = _stands(data, at, end, _VERTEX), at + len(_VERTEX)
    else:
        found, at = _stands(data, at, end, _TRIANGLE), at + len(_TRIANGLE)
    given = 0
    while found:
        stop = _skip_space(data, at, end)
        if _stands(data, stop, end, _CLOSE):
            return stop + len(_CLOSE) if given & _ALL_GIVEN == _ALL_GIVEN else _UNKNOWN
        which, quote_at = _attribute(data, stop, end, kind)
        if stop == at or which == _UNKNOWN or given >> which & 1:
            break
        value, at, found = _read_value(data, quote_at, end, kind, which)
        if which < _NUMBERS:
            values[row, which] = value
        given |= 1 << which
    return _UNKNOWN


@compiled("Tuple((i8, i8))(Array(u1, 1, 'C', readonly=True), i8, i8, f8[:,::1])")
def scan(data: Bytes, at: int, kind: int, values: Floats) -> tuple[int, int]:
    """Take elements as long as they are `<vertex x="" y="" z=""/>` or `<triangle v1="" v2="" v3=""/>`.

    What is in any way unusual is left to a parser: references, other attributes, prefixes, comments, text, numbers in
    doubt.

    Args:
        data: bytes of a well-formed document in UTF-8, from the content of an element that holds such elements.
        at: where to start.
        kind: `VERTICES` or `TRIANGLES`.
        values: float64 (N, 3), filled.

    Returns:
        Where the first byte is that was not taken, and how many elements were.
    """
    end, taken = len(data), 0
    at = _skip_space(data, at, end)
    while taken < len(values):
        stop = _read_element(data, at, end, kind, values, taken)
        if stop == _UNKNOWN:
            break
        taken += 1
        at = _skip_space(data, stop, end)
    return at, taken
