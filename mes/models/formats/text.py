"""Turns lines of numbers into arrays at once, for the formats that are written as text."""

from collections.abc import Sequence

import numpy as np

from mes.models.errors import UnreadableModel
from mes.models.mesh import Floats, Ints

_MARK = 1e22  # ends a line: far above any coordinate, and the largest power of ten that parses without long arithmetic


def numbers(text: bytes) -> Floats:
    """All numbers of a text, separated by white space: float64 (N,).

    Raises:
        UnreadableModel: something in it is not a number.
    """
    if not text.strip():
        return np.empty(0)
    try:
        return np.fromstring(text, np.float64, sep=" ")
    except ValueError as error:
        raise UnreadableModel("Something that should be a number is not.") from error


def ragged(lines: Sequence[bytes]) -> tuple[Floats, Ints, Ints]:
    """Numbers of lines that differ in length.

    Returns:
        All numbers (N,), and for each line where it starts in them and how many it has, both (L,).

    Raises:
        UnreadableModel: something in a line is not a number.
    """
    if not lines:
        return np.empty(0), np.empty(0, np.int64), np.empty(0, np.int64)
    flat = numbers((b" %g\n" % _MARK).join(lines) + b" %g" % _MARK)
    ends = np.flatnonzero(flat == _MARK)
    if len(ends) != len(lines):
        raise UnreadableModel("Something that should be a number is not.")
    starts = np.concatenate(([0], ends[:-1] + 1))
    return flat, starts, ends - starts


def whole(values: Floats) -> Ints:
    """The numbers as integers.

    Raises:
        UnreadableModel: one of them has a fraction, or is too large to be an index.
    """
    if not (np.abs(values) < 2**53).all():
        raise UnreadableModel("A vertex index is not a whole number.")
    integers = values.astype(np.int64)
    if not np.array_equal(integers, values):
        raise UnreadableModel("A vertex index is not a whole number.")
    return integers
