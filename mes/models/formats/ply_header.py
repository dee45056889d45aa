"""Reads a PLY file's header: what its elements hold, and how they are written."""

from dataclasses import dataclass, field

from mes.models.errors import UnreadableModel
from mes.models.formats.decimals import Bytes

_TYPES = {
    "char": "i1", "uchar": "u1", "short": "i2", "ushort": "u2", "int": "i4", "uint": "u4",
    "float": "f4", "double": "f8",
    "int8": "i1", "uint8": "u1", "int16": "i2", "uint16": "u2", "int32": "i4", "uint32": "u4", "float32": "f4",
    "float64": "f8",
}  # fmt: skip
_ORDERS = {"ascii": "", "binary_little_endian": "<", "binary_big_endian": ">"}
_END = b"end_header"
_LONGEST_HEADER = 1 << 20
_LONGEST_COUNT = 18  # digits, so that a row count stays a machine integer


@dataclass(frozen=True, slots=True)
class Property:
    """One property of an element; types are numpy's, without byte order."""

    name: str
    value: str
    count: str | None = None
    """The type of a list's length; None for a single value."""


@dataclass(frozen=True, slots=True)
class Element:
    """A table in the body: as many rows as the header says, which the body must prove."""

    name: str
    rows: int
    properties: list[Property] = field(default_factory=list)

    @property
    def has_lists(self) -> bool:
        """Whether its rows may differ in length."""
        return any(column.count for column in self.properties)


@dataclass(frozen=True, slots=True)
class Header:
    """Byte order (empty for ASCII), elements in order, and where the body starts."""

    order: str
    elements: list[Element]
    body_at: int


@dataclass(frozen=True, slots=True)
class Wanted:
    """Which properties of an element become points or faces, by their place in it."""

    axes: tuple[int, ...] = ()
    """Those of x, y and z, or none."""
    corners: int | None = None
    """That of the list of a face's vertices."""


def read_header(data: Bytes) -> Header:
    """The header of a PLY file.

    Raises:
        UnreadableModel: it makes no sense, or does not end within 1 MiB.
    """
    start = data[:_LONGEST_HEADER].tobytes()
    end = start.find(_END)
    if end < 0:
        raise UnreadableModel("This PLY file has no end of header.")
    order: str | None = None
    elements: list[Element] = []
    for line in start[:end].decode("latin-1").replace("\r", "\n").split("\n"):
        words = line.split()
        if words[:1] == ["format"]:
            order = _ORDERS.get(words[1] if len(words) > 1 else "")
        elif words and words[0] in {"element", "property"}:  # the rest are comments, marked or not
            _declare(words, elements)
    if order is None:
        raise UnreadableModel("This PLY file does not say how it is encoded.")
    return Header(order, elements, _after_line(data, end + len(_END)))


def cut_off(element: Element) -> UnreadableModel:
    """The refusal of a body that is too short for its header."""
    return UnreadableModel("This PLY file is cut off.", element=element.name, rows=element.rows)


def impossible(element: Element) -> UnreadableModel:
    """The refusal of a list that states no length."""
    return UnreadableModel("A list of this PLY file has an impossible length.", element=element.name)


def _declare(words: list[str], elements: list[Element]) -> None:
    match words:
        case ["element", name, rows] if rows.isascii() and rows.isdigit() and len(rows) <= _LONGEST_COUNT:
            elements.append(Element(name, int(rows)))
        case ["property", "list", count, value, name] if elements and {count, value} <= _TYPES.keys():
            if _TYPES[count][0] == "f":
                raise UnreadableModel("A list of this PLY file has a length that is no whole number.", property=name)
            elements[-1].properties.append(Property(name, _TYPES[value], _TYPES[count]))
        case ["property", value, name] if elements and value in _TYPES:
            elements[-1].properties.append(Property(name, _TYPES[value]))
        case _:
            raise UnreadableModel("A line of this PLY file's header makes no sense.", line=" ".join(words)[:80])


def _after_line(data: Bytes, at: int) -> int:
    """Skip the blanks and the one line end after `end_header`."""
    while data[at : at + 1].tobytes() in {b" ", b"\t"}:
        at += 1
    return min(at + (2 if data[at : at + 2].tobytes() == b"\r\n" else 1), len(data))
