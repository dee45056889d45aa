"""Encodes whole columns as rows for Postgres's binary COPY: no text is written here or read there."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from mes.samples.copy_loops import put_fields

Bytes = NDArray[np.uint8]
IntArray = NDArray[np.int64]

# "PGCOPY\n\377\r\n\0", no flags, no extension of the header; the trailer is a row of -1 fields
HEADER, TRAILER = b"PGCOPY\n\xff\r\n\x00" + bytes(8), b"\xff\xff"
# a piece's matrix and its mask stay within a core's cache
_ROWS_A_PIECE = 8_192
_EPOCH_US = 946_684_800_000_000  # Postgres counts from 2000
_NUMERIC_WORDS = 8


@dataclass(frozen=True)
class Fields:
    """Encoded values: `matrix` is (rows, widest), each row its length and its bytes; `lengths` says how many count."""

    matrix: Bytes
    lengths: IntArray | None = None


@dataclass(frozen=True)
class Coded:
    """A column of few different values: `codes` are rows of `values`."""

    values: Fields
    codes: IntArray


Columns = Mapping[str, Fields | Coded]
"""A table's columns by their names, all of the same height."""


def texts(values: Sequence[str | bytes | None]) -> Fields:
    """One field per text (or bytes as they are); None is null."""
    raw = [value.encode() if isinstance(value, str) else value for value in values]
    encoded = [b"\xff\xff\xff\xff" if value is None else len(value).to_bytes(4, "big") + value for value in raw]
    widest = max(map(len, encoded), default=4)
    joined = b"".join(field.ljust(widest, b"\0") for field in encoded)
    matrix = np.frombuffer(bytearray(joined), np.uint8).reshape(len(encoded), widest)
    return Fields(matrix, np.array([len(field) for field in encoded], dtype=np.int64))


def json_texts(values: Sequence[str | None]) -> Fields:
    """One `jsonb` field per JSON text."""
    return texts([b"\x01" + value.encode() if value is not None else None for value in values])


def fixed(values: Bytes, nulls: NDArray[np.bool_] | None = None) -> Fields:
    """One field per row of `values` (rows, width)."""
    rows, width = values.shape
    matrix = np.empty((rows, 4 + width), np.uint8)
    matrix[:, :4] = np.frombuffer(width.to_bytes(4, "big"), np.uint8)
    matrix[:, 4:] = values
    if nulls is None:
        return Fields(matrix)
    matrix[nulls, :4] = 0xFF
    return Fields(matrix, np.where(nulls, 4, 4 + width))


def integers(values: IntArray) -> Fields:
    """`integer` fields."""
    return fixed(_big_endian(values, ">i4"))


def booleans(values: NDArray[np.bool_]) -> Fields:
    """`boolean` fields."""
    return fixed(values.astype(np.uint8)[:, None])


def times(values_us: IntArray, nulls: NDArray[np.bool_] | None = None) -> Fields:
    """`timestamptz` fields from microseconds since 1970."""
    return fixed(_big_endian(values_us - _EPOCH_US, ">i8"), nulls)


def dates(days: IntArray) -> Fields:
    """`date` fields from days since 1970."""
    return fixed(_big_endian(days - _EPOCH_US // 86_400_000_000, ">i4"))


def hundredths(values: IntArray, nulls: NDArray[np.bool_] | None = None) -> Fields:
    """`numeric` fields from hundredths below 10^14: four digits of base 10,000, the server drops leading zeros."""
    whole, cents = np.divmod(values, 100)
    parts = np.empty((len(values), _NUMERIC_WORDS), ">i2")
    # digits, weight of the first, sign, digits shown behind the point
    parts[:, :4] = (4, 2, 0, 2)
    parts[:, 4], parts[:, 5] = whole // 10**8, whole // 10**4 % 10**4
    parts[:, 6], parts[:, 7] = whole % 10**4, cents * 100
    return fixed(parts.view(np.uint8).reshape(len(values), 2 * _NUMERIC_WORDS), nulls)


def numbered(prefix: str, numbers: IntArray, digits: int) -> Fields:
    """Text fields such as `G-00000042`."""
    start = np.frombuffer(prefix.encode(), np.uint8)
    values = np.empty((len(numbers), len(start) + digits), np.uint8)
    values[:, : len(start)] = start
    for place in range(digits):
        values[:, len(start) + place] = numbers // 10 ** (digits - 1 - place) % 10 + ord("0")
    return fixed(values)


def encoded(columns: Sequence[Fields | Coded]) -> Iterator[bytes]:
    """The rows of these columns, piece by piece, header and trailer included."""
    yield HEADER
    rows = len(columns[0].codes) if isinstance(columns[0], Coded) else len(columns[0].matrix)
    for start in range(0, rows, _ROWS_A_PIECE):
        yield _piece(columns, slice(start, min(rows, start + _ROWS_A_PIECE)))
    yield TRAILER


def _piece(columns: Sequence[Fields | Coded], part: slice) -> bytes:
    fields = [_fields(column, part) for column in columns]
    lengths = np.sum([widths[codes] for _, widths, codes in fields], axis=0) + 2
    ends = np.cumsum(lengths)
    at, rows = ends - lengths, np.empty(ends[-1], np.uint8)
    rows[at], rows[at + 1] = divmod(len(columns), 256)
    at += 2
    for values, widths, codes in fields:
        put_fields(rows, at, values, widths, codes)
    return rows.tobytes()


def _fields(column: Fields | Coded, part: slice) -> tuple[Bytes, IntArray, IntArray]:
    """The values, how much of each counts, and which one each row of the part has."""
    if isinstance(column, Coded):
        return column.values.matrix, _widths(column.values), np.ascontiguousarray(column.codes[part], np.int64)
    values = Fields(column.matrix[part], column.lengths[part] if column.lengths is not None else None)
    return values.matrix, _widths(values), np.arange(len(values.matrix))


def _widths(values: Fields) -> IntArray:
    return values.lengths if values.lengths is not None else np.full(len(values.matrix), values.matrix.shape[1])


def _big_endian(values: IntArray, kind: str) -> Bytes:
    ordered = np.ascontiguousarray(values.astype(kind))
    return ordered.view(np.uint8).reshape(len(values), ordered.itemsize)
