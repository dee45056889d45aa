"""Reads the body of an ASCII PLY file: one line of numbers per row of an element."""

import numpy as np

from mes.models.errors import ModelTooLarge, UnreadableModel
from mes.models.formats import ply_rows as rows
from mes.models.formats.decimals import NOT_A_NUMBER, Bytes
from mes.models.formats.ply_header import Element, Wanted, cut_off, impossible
from mes.models.formats.text import AT, FACES, Faces, Progress, line_of
from mes.models.mesh import MAX_TRIANGLES, Floats, Ints

_SHORTEST_NUMBER = len(b"0 ")
_FAULTS = {
    NOT_A_NUMBER: "Something that should be a number is not.",
    rows.NOT_AN_INDEX: "A vertex index is not a whole number.",
    rows.NO_SUCH_VERTEX: "A face names a vertex that the file does not have.",
    rows.FEW_CORNERS: "A face has fewer than three corners.",
}


class TextBody:
    """A body written as one line of numbers per row; what stands behind the stated properties is ignored."""

    def __init__(self, data: Bytes, at: int) -> None:
        self._data, self._at = data, at

    def read(self, element: Element, wanted: Wanted) -> tuple[Floats, Faces]:
        """Points and faces of the next element, as far as they are wanted.

        Raises:
            UnreadableModel: the file is too short for it, or a line is not what the header says.
            ModelTooLarge: more than `MAX_TRIANGLES` triangles.
        """
        if not element.properties or not element.rows:
            return np.empty((0, 3)), np.empty((0, 3), np.int32)
        if element.rows * len(element.properties) * _SHORTEST_NUMBER > len(self._data) - self._at + 1:
            raise cut_off(element)
        points = np.empty((element.rows if wanted.axes else 0, 3))
        faces = np.empty((0 if wanted.corners is None else min(element.rows, MAX_TRIANGLES), 3), np.int32)
        triangles, end = self._fill(element, _plan(element, wanted), points, faces)
        if triangles > len(faces):  # polygons: now we know how many triangles they make
            faces = np.empty((triangles, 3), np.int32)
            self._fill(element, _plan(element, wanted), points, faces)
        self._at = end
        return points, faces

    def _fill(self, element: Element, plan: Ints, points: Floats, faces: Faces) -> tuple[int, int]:
        """Fill what there is room for; how many triangles there are, and where the element ends."""
        progress, status = Progress(), rows.PAUSED
        progress.state[AT] = self._at
        while status == rows.PAUSED:
            status = rows.fill(self._data, element.rows, plan, progress.state, points, faces, progress.deferred)
            progress.settle(self._data, points.reshape(-1))
        at, triangles = int(progress.state[AT]), int(progress.state[FACES])
        if status == rows.CUT_OFF:
            raise cut_off(element)
        if status == rows.IMPOSSIBLE:
            raise impossible(element)
        if status in _FAULTS:
            raise UnreadableModel(_FAULTS[status], line=line_of(self._data, at))
        if triangles > MAX_TRIANGLES:
            raise ModelTooLarge(triangles=triangles, most=MAX_TRIANGLES)
        return triangles, at


def _plan(element: Element, wanted: Wanted) -> Ints:
    """What each property's numbers are for: int64 (P,)."""
    plan = np.array([rows.LIST if column.count else rows.SINGLE for column in element.properties], np.int64)
    plan[list(wanted.axes)] = range(len(wanted.axes))
    if wanted.corners is not None:
        plan[wanted.corners] = rows.CORNERS
    return plan
