"""The compiled loop over the words of an ASCII STL."""

import numpy as np

from mes.models.formats.decimals import DEFERRED, NOT_A_NUMBER, Bytes, matches, scan_number
from mes.models.formats.text import AT, DEFERRED_NUMBERS, FACES, KIND, LINE_END, is_space, skip_space, skip_word
from mes.models.mesh import Floats, Ints
from mes.pricing.kernel.compiled import compiled

DONE, PAUSED, BAD_FACET = range(3)
FACETS, FACET_ENDS, LAST_FACET_END, LAST_SOLID_END = range(4)
"""What `fill` notes beside the loops: how many facets begin and end, and behind which byte the last of each ends."""

_NUMBERS = 9
_NO = -1
_LOWER = 0x20  # the bit that tells small letters from capitals
_A, _Z, _ZERO, _NINE, _UNDERSCORE, _F = b"az09_f"
_SOLID, _END_SOLID, _FACET, _NORMAL, _END_FACET, _OUTER, _LOOP, _VERTEX, _END_LOOP = (
    np.frombuffer(word, np.uint8)
    for word in (b"solid", b"endsolid", b"facet", b"normal", b"endfacet", b"outer", b"loop", b"vertex", b"endloop")
)


@compiled()
def _is_word(data: Bytes, at: int, end: int, word: Bytes) -> bool:
    stop = at + len(word)
    return matches(data, at, end, word) and (stop == end or is_space(data[stop]))


@compiled()
def _expect(data: Bytes, at: int, end: int, word: Bytes) -> int:
    """Where the next word ends if it is this one, else `_NO`."""
    at = skip_space(data, at, end)
    return at + len(word) if _is_word(data, at, end, word) else _NO


@compiled()
def _skip_name(data: Bytes, at: int, end: int) -> int:
    """The end of the line, or a facet that begins before it: names may hold any word."""
    while at < end and KIND[data[at]] != LINE_END:
        if (
            data[at] | _LOWER == _F
            and _is_word(data, at, end, _FACET)
            and matches(data, skip_space(data, at + len(_FACET), end), end, _NORMAL)
        ):
            break
        at += 1
    return at


@compiled()
def _goes_on(data: Bytes, at: int, end: int) -> bool:
    """Whether a letter, a digit or an underscore stands here."""
    if at >= end:
        return False
    return bool(_A <= data[at] | _LOWER <= _Z or _ZERO <= data[at] <= _NINE or data[at] == _UNDERSCORE)


@compiled()
def _read_loop(  # noqa: PLR0917 - compiled loops take each array by itself
    data: Bytes, at: int, end: int, state: Ints, corners: Floats, deferred: Ints
) -> int:
    """Take the three vertices of a loop behind its `outer`; where it ends, or `_NO`."""
    loop = state[FACES]
    if loop >= len(corners):
        return _NO
    at = _expect(data, at, end, _LOOP)
    for number in range(_NUMBERS):
        if number % 3 == 0 and at != _NO:
            at = _expect(data, at, end, _VERTEX)
        if at == _NO:
            return _NO
        start = skip_space(data, at, end)
        value, at, how = scan_number(data, start, end)
        if how == NOT_A_NUMBER or (at < end and not is_space(data[at])):
            return _NO
        corners[loop, number // 3, number % 3] = value
        if how == DEFERRED:
            place = state[DEFERRED_NUMBERS]
            deferred[place, 0], deferred[place, 1], deferred[place, 2] = _NUMBERS * loop + number, start, at
            state[DEFERRED_NUMBERS] = place + 1
    state[FACES] = loop + 1
    return _expect(data, at, end, _END_LOOP)


@compiled()
def _read_word(data: Bytes, at: int, end: int, seen: Ints) -> int:
    """Note a word outside of loops; where the next may start, or `_NO` where it may not stand here."""
    stop = skip_word(data, at, end)
    if matches(data, at, end, _FACET):
        seen[FACETS] += 1
    elif matches(data, at, end, _END_FACET):
        seen[FACET_ENDS] += 1
        seen[LAST_FACET_END] = stop
    elif matches(data, at, end, _END_SOLID):
        seen[LAST_SOLID_END] = stop
        return stop if _goes_on(data, at + len(_END_SOLID), end) else _skip_name(data, at, end)
    elif matches(data, at, end, _SOLID):
        return stop if _goes_on(data, at + len(_SOLID), end) else _skip_name(data, at, end)
    elif matches(data, at, end, _VERTEX):
        return _NO
    return stop


@compiled("i8(Array(u1, 1, 'C', readonly=True), i8[::1], i8[::1], f8[:,:,::1], i8[:,::1])")
def fill(data: Bytes, state: Ints, seen: Ints, corners: Floats, deferred: Ints) -> int:
    """Read on from where `state` stands; ends at the file's end, to have numbers rounded, or at a bad facet.

    Args:
        data: the file's bytes.
        state: see `text.AT` and its neighbours.
        seen: int64 (4,), see `FACETS` and its neighbours.
        corners: float64 (F, 3, 3), room for all loops.
        deferred: int64 (D, 3), room for numbers left to Python: their slot in `corners`, their first and last byte.
    """
    end = len(data)
    while True:
        at = skip_space(data, state[AT], end)
        state[AT] = at
        if at == end:
            return DONE
        if state[DEFERRED_NUMBERS] + _NUMBERS > len(deferred):
            return PAUSED
        if _is_word(data, at, end, _OUTER):
            stop = _read_loop(data, at + len(_OUTER), end, state, corners, deferred)
        else:
            stop = _read_word(data, at, end, seen)
        if stop == _NO:
            return BAD_FACET
        state[AT] = stop
