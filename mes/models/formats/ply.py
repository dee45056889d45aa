"""Reads PLY, ASCII and binary of both byte orders: the vertices' positions and the faces."""

from dataclasses import dataclass, field
from typing import Literal, Protocol

import numpy as np
from numpy.typing import NDArray

from mes.models.errors import NotAMesh, UnreadableModel
from mes.models.formats import text
from mes.models.mesh import Floats, Ints, fan

_TYPES = {
    "char": "i1", "uchar": "u1", "short": "i2", "ushort": "u2", "int": "i4", "uint": "u4",
    "float": "f4", "double": "f8",
    "int8": "i1", "uint8": "u1", "int16": "i2", "uint16": "u2", "int32": "i4", "uint32": "u4", "float32": "f4",
    "float64": "f8",
}  # fmt: skip
_ORDERS = {"ascii": "", "binary_little_endian": "<", "binary_big_endian": ">"}
_END = b"end_header"
_LONGEST_HEADER = 1 << 20
_LONGEST_LIST = 1 << 31
_LONGEST_COUNT = 18  # digits, so that a row count stays a machine integer
_FACE_LISTS = ("vertex_indices", "vertex_index")
_POSITION = ("x", "y", "z")


@dataclass(frozen=True, slots=True)
class _Property:
    name: str
    value: str
    count: str | None = None  # the type of a list's length; None for a single value


@dataclass(frozen=True, slots=True)
class _Element:
    name: str
    rows: int
    properties: list[_Property] = field(default_factory=list)

    @property
    def has_lists(self) -> bool:
        return any(column.count for column in self.properties)


@dataclass(frozen=True, slots=True)
class _Column:
    """One property of all rows: `values` end to end, `counts` (rows,) of them per row."""

    counts: Ints
    values: NDArray[np.generic]


class _Body(Protocol):
    def element(self, element: _Element) -> dict[str, _Column]:
        """The columns of the next element; raises UnreadableModel where the file is too short for it."""


def looks_like(data: bytes) -> bool:
    """Whether the file starts as a PLY."""
    return data[:4] in {b"ply\n", b"ply\r"} or data[:5] == b"ply \n"


def read(data: bytes) -> tuple[Floats, Ints]:
    """Points and faces of a PLY file; polygons are cut into fans, elements other than vertices and faces skipped.

    Raises:
        UnreadableModel: a header that makes no sense, or a body too short for it.
        NotAMesh: no vertices or no faces.
    """
    order, elements, body_at = _header(data)
    body: _Body = _Text(data[body_at:]) if not order else _Binary(data, body_at, order)
    columns = {element.name: body.element(element) for element in elements}
    vertices, faces = columns.get("vertex", {}), columns.get("face", {})
    if not all(axis in vertices and (vertices[axis].counts == 1).all() for axis in _POSITION):
        raise NotAMesh("This PLY file has no vertices with x, y and z.")
    points = np.column_stack([vertices[axis].values.astype(np.float64) for axis in _POSITION])
    corners = next((faces[name] for name in _FACE_LISTS if name in faces), None)
    if corners is None:
        raise NotAMesh(format="ply", points=len(points))
    return points, fan(corners.counts, text.whole(corners.values.astype(np.float64)))


def _header(data: bytes) -> tuple[str, list[_Element], int]:
    """Byte order (empty for ASCII), elements in order, and where the body starts."""
    end = data.find(_END, 0, _LONGEST_HEADER)
    if end < 0:
        raise UnreadableModel("This PLY file has no end of header.")
    order: str | None = None
    elements: list[_Element] = []
    for line in data[:end].decode("latin-1").replace("\r", "\n").split("\n"):
        words = line.split()
        if words[:1] == ["format"]:
            order = _ORDERS.get(words[1] if len(words) > 1 else "")
        elif words and words[0] in {"element", "property"}:  # the rest are comments, marked or not
            _declare(words, elements)
    if order is None:
        raise UnreadableModel("This PLY file does not say how it is encoded.")
    return order, elements, _after_line(data, end + len(_END))


def _declare(words: list[str], elements: list[_Element]) -> None:
    match words:
        case ["element", name, rows] if rows.isascii() and rows.isdigit() and len(rows) <= _LONGEST_COUNT:
            elements.append(_Element(name, int(rows)))
        case ["property", "list", count, value, name] if elements and {count, value} <= _TYPES.keys():
            if _TYPES[count][0] == "f":
                raise UnreadableModel("A list of this PLY file has a length that is no whole number.", property=name)
            elements[-1].properties.append(_Property(name, _TYPES[value], _TYPES[count]))
        case ["property", value, name] if elements and value in _TYPES:
            elements[-1].properties.append(_Property(name, _TYPES[value]))
        case _:
            raise UnreadableModel("A line of this PLY file's header makes no sense.", line=" ".join(words)[:80])


def _after_line(data: bytes, at: int) -> int:
    """Skip the blanks and the one line end after `end_header`."""
    while data[at : at + 1] in {b" ", b"\t"}:
        at += 1
    return at + (2 if data[at : at + 2] == b"\r\n" else 1)


class _Text:
    """A body written as one line of numbers per row; what stands behind the stated properties is ignored."""

    def __init__(self, body: bytes) -> None:
        lines = body.replace(b"\r\n", b"\n").replace(b"\r", b"\n").split(b"\n")
        self._lines = [line for line in lines if line and not line.isspace()]
        self._at = 0

    def element(self, element: _Element) -> dict[str, _Column]:
        """See `_Body`."""
        if not element.properties or not element.rows:
            return {column.name: _Column(np.empty(0, np.int64), np.empty(0)) for column in element.properties}
        lines = self._lines[self._at : self._at + element.rows]
        if len(lines) < element.rows:
            raise _cut_off(element)
        self._at += element.rows
        flat, starts, lengths = text.ragged(lines)
        return _even_lines(element, flat, starts, lengths) or _uneven_lines(element, flat, starts, lengths)


def _even_lines(element: _Element, flat: Floats, starts: Ints, lengths: Ints) -> dict[str, _Column] | None:
    """All lines as a table, if every list is as long as that of the first line."""
    widths, row = [], 0
    for column in element.properties:
        widths.append(_length(flat[row : row + 1].tolist(), element) if column.count else 1)
        row += widths[-1] + (1 if column.count else 0)
    if row > lengths.min():
        return None
    columns, at = {}, 0
    for column, width in zip(element.properties, widths, strict=True):
        if column.count:
            if not (flat[starts + at] == width).all():
                return None
            at += 1
        values = np.take(flat, starts[:, None] + (at + np.arange(width))).ravel()
        columns[column.name] = _Column(np.full(element.rows, width, np.int64), values)
        at += width
    return columns


def _uneven_lines(element: _Element, flat: Floats, starts: Ints, lengths: Ints) -> dict[str, _Column]:
    """Lines whose lists differ in length, one after the other."""
    counts: list[list[int]] = [[] for _ in element.properties]
    values: list[list[float]] = [[] for _ in element.properties]
    numbers = flat.tolist()
    for start, length in zip(starts.tolist(), lengths.tolist(), strict=True):
        at, end = start, start + length
        for i, column in enumerate(element.properties):
            width = _length(numbers[at : min(at + 1, end)], element) if column.count else 1
            at += 1 if column.count else 0
            if at + width > end:
                raise _cut_off(element)
            counts[i].append(width)
            values[i].extend(numbers[at : at + width])
            at += width
    return {
        column.name: _Column(np.array(counts[i], np.int64), np.array(values[i], np.float64))
        for i, column in enumerate(element.properties)
    }


class _Binary:
    """A body of packed values; positions are counted in bytes."""

    def __init__(self, data: bytes, at: int, order: str) -> None:
        self._data, self._at, self._order = data, at, order
        self._byteorder: Literal["little", "big"] = "big" if order == ">" else "little"

    def element(self, element: _Element) -> dict[str, _Column]:
        """See `_Body`."""
        if not element.properties or not element.rows:
            return {column.name: _Column(np.empty(0, np.int64), np.empty(0)) for column in element.properties}
        if element.rows > len(self._data) - self._at:
            raise _cut_off(element)
        columns = self._even(element)
        return columns if columns is not None else self._uneven(element)

    def _even(self, element: _Element) -> dict[str, _Column] | None:
        """All rows in one array, if every list is as long as that of the first row."""
        widths, row = self._widths(element, self._at)
        fields: list[tuple[str, str, tuple[int, ...]]] = []
        for i, (column, width) in enumerate(zip(element.properties, widths, strict=True)):
            if column.count:
                fields.append((f"count{i}", self._order + column.count, ()))
            fields.append((f"value{i}", self._order + column.value, (width,)))
        if row * element.rows > len(self._data) - self._at:
            if element.has_lists:
                return None
            raise _cut_off(element)
        table = np.frombuffer(self._data, np.dtype(fields), element.rows, self._at)
        for i, (column, width) in enumerate(zip(element.properties, widths, strict=True)):
            if column.count and not (table[f"count{i}"] == width).all():
                return None
        self._at += row * element.rows
        return {
            column.name: _Column(np.full(element.rows, width, np.int64), table[f"value{i}"].ravel())
            for i, (column, width) in enumerate(zip(element.properties, widths, strict=True))
        }

    def _uneven(self, element: _Element) -> dict[str, _Column]:
        """Rows whose lists differ in length, one after the other."""
        counts: list[list[int]] = [[] for _ in element.properties]
        values: list[list[bytes]] = [[] for _ in element.properties]
        at = self._at
        for _ in range(element.rows):
            for i, column in enumerate(element.properties):
                length, start, at = self._field(column, at, element)
                counts[i].append(length)
                values[i].append(self._data[start:at])
        self._at = at
        return {
            column.name: _Column(
                np.array(counts[i], np.int64), np.frombuffer(b"".join(values[i]), self._order + column.value)
            )
            for i, column in enumerate(element.properties)
        }

    def _widths(self, element: _Element, at: int) -> tuple[list[int], int]:
        """How many values each property has in the row that starts here, and the row's length in bytes."""
        widths, start = [], at
        for column in element.properties:
            length, _, at = self._field(column, at, element)
            widths.append(length)
        return widths, at - start

    def _field(self, column: _Property, at: int, element: _Element) -> tuple[int, int, int]:
        """Number of values, where they start and where they end."""
        length = 1
        if column.count:
            raw = self._data[at : at + int(column.count[1])]
            at += int(column.count[1])
            length = int.from_bytes(raw, self._byteorder, signed=column.count[0] == "i")
            if length < 0:
                raise _impossible(element)
        end = at + length * int(column.value[1])
        if end > len(self._data):
            raise _cut_off(element)
        return length, at, end


def _length(number: list[float], element: _Element) -> int:
    """A list's length from the number that states it."""
    if not number:
        raise _cut_off(element)
    if not (0 <= number[0] < _LONGEST_LIST and number[0] == int(number[0])):
        raise _impossible(element)
    return int(number[0])


def _impossible(element: _Element) -> UnreadableModel:
    return UnreadableModel("A list of this PLY file has an impossible length.", element=element.name)


def _cut_off(element: _Element) -> UnreadableModel:
    return UnreadableModel("This PLY file is cut off.", element=element.name, rows=element.rows)
