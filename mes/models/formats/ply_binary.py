"""Reads the body of a binary PLY file, of either byte order."""

from typing import Literal

import numpy as np
from numpy.typing import NDArray

from mes.models.errors import ModelTooLarge, UnreadableModel
from mes.models.formats import ply_rows as rows
from mes.models.formats.decimals import Bytes
from mes.models.formats.ply_header import Element, Property, Wanted, cut_off, impossible
from mes.models.formats.text import Faces
from mes.models.mesh import MAX_TRIANGLES, Floats

_TRIANGLE = 3
_LARGEST_INDEX = (1 << 31) - 1
_NO_FACES = np.empty((0, 3), np.int32)


class BinaryBody:
    """A body of packed values; nothing is copied but what becomes points and faces."""

    def __init__(self, data: Bytes, at: int, order: str) -> None:
        self._data, self._at, self._order = data, at, order

    def read(self, element: Element, wanted: Wanted) -> tuple[Floats, Faces]:
        """Points and faces of the next element, as far as they are wanted.

        Raises:
            UnreadableModel: the file is too short for it, or a list has an impossible length.
            ModelTooLarge: more than `MAX_TRIANGLES` triangles.
        """
        if not element.properties or not element.rows:
            return np.empty((0, 3)), _NO_FACES
        if element.rows > len(self._data) - self._at:
            raise cut_off(element)
        table = self._table(element)
        if table is None:
            return self._uneven(element, wanted)
        self._at += table.nbytes
        points = np.empty((element.rows if wanted.axes else 0, 3))
        for axis, column in enumerate(wanted.axes):
            points[:, axis] = table[f"value{column}"].reshape(-1)
        if wanted.corners is None:
            return points, _NO_FACES
        corners = table[f"value{wanted.corners}"]
        if corners.shape[1] < _TRIANGLE:
            raise UnreadableModel("A face has fewer than three corners.", face=1)
        return points, _fans(np.full(element.rows, corners.shape[1], np.int32), corners)

    def _table(self, element: Element) -> NDArray[np.void] | None:
        """All rows as a view, if every list is as long as that of the first row."""
        fields: list[tuple[str, str, tuple[int, ...]]] = []
        at = self._at
        for i, column in enumerate(element.properties):
            width, at = self._field(column, at, element)
            if column.count:
                fields.append((f"count{i}", self._order + column.count, ()))
            fields.append((f"value{i}", self._order + column.value, (width,)))
        end = self._at + (at - self._at) * element.rows
        if end > len(self._data):
            if element.has_lists:
                return None
            raise cut_off(element)
        table: NDArray[np.void] = self._data[self._at : end].view(np.dtype(fields))
        for i, column in enumerate(element.properties):
            if column.count and not (table[f"count{i}"] == table[f"value{i}"].shape[1]).all():
                return None
        return table

    def _field(self, column: Property, at: int, element: Element) -> tuple[int, int]:
        """Number of values of a property, and where they end."""
        length = 1
        if column.count:
            size = int(column.count[1])
            order: Literal["little", "big"] = "big" if self._order == ">" else "little"
            length = int.from_bytes(self._data[at : at + size].tobytes(), order, signed=column.count[0] == "i")
            at += size
            if length < 0:
                raise impossible(element)
        end = at + length * int(column.value[1])
        if end > len(self._data):
            raise cut_off(element)
        return length, end

    def _uneven(self, element: Element, wanted: Wanted) -> tuple[Floats, Faces]:
        """Rows whose lists differ in length, one after the other."""
        points, faces = np.empty((element.rows if wanted.axes else 0, 3)), _NO_FACES
        end = self._at
        for axis, column in enumerate(wanted.axes):
            _, values, end = self._column(element, column)
            points[:, axis] = values
        if wanted.corners is not None:
            counts, values, end = self._column(element, wanted.corners, least=_TRIANGLE)
            faces = _fans(counts, values)
        elif not wanted.axes:
            end = self._walk(element, 0, 0, np.empty(0, np.int32), np.empty(0, np.uint8))[0]
        self._at = end
        return points, faces

    def _column(self, element: Element, column: int, least: int = 0) -> tuple[Faces, NDArray[np.generic], int]:
        """How many values a property has in each row, all of them, and where the element ends."""
        counts = np.empty(0, np.int32)
        end, size = self._walk(element, column, least, counts, np.empty(0, np.uint8))
        counts, values = np.empty(element.rows, np.int32), np.empty(size, np.uint8)
        self._walk(element, column, least, counts, values)
        return counts, values.view(self._order + element.properties[column].value), end

    def _walk(self, element: Element, column: int, least: int, counts: Faces, values: Bytes) -> tuple[int, int]:
        layout = [
            (int(one.count[1]), one.count[0] == "i", int(one.value[1])) if one.count else (0, 0, int(one.value[1]))
            for one in element.properties
        ]
        how, at, size = rows.gather(
            *(self._data, self._at, element.rows, np.array(layout, np.int64), int(self._order == ">")),
            *(column, least, counts, values),
        )
        if how == rows.FEW_CORNERS:
            raise UnreadableModel("A face has fewer than three corners.", face=at + 1)
        if how != rows.DONE:
            raise impossible(element) if how == rows.IMPOSSIBLE else cut_off(element)
        return at, size


def _fans(counts: Faces, corners: NDArray[np.generic]) -> Faces:
    """Triangles, int32 (F, 3), of polygons that have so many corners each."""
    triangles = int(corners.size) - 2 * len(counts)
    if triangles > MAX_TRIANGLES:
        raise ModelTooLarge(triangles=triangles, most=MAX_TRIANGLES)
    indices = _indices(corners)
    if triangles == len(counts):
        return indices.reshape(-1, _TRIANGLE)
    faces = np.empty((triangles, _TRIANGLE), np.int32)
    rows.fan(counts, indices.reshape(-1), faces)
    return faces


def _indices(values: NDArray[np.generic]) -> Faces:
    """The numbers as int32."""
    if values.dtype.kind == "f" and not (values == np.floor(values)).all():
        raise UnreadableModel("A vertex index is not a whole number.")
    if values.min() < 0 or values.max() > _LARGEST_INDEX:
        raise UnreadableModel("A face names a vertex that the file does not have.")
    return np.ascontiguousarray(values, np.int32)
