"""Remembers how a picture looks at its model, so that a place of the file can be found in the picture later."""

import base64
import json
from dataclasses import asdict, dataclass
from typing import Any

from mes.errors import MesError

VIEW_KEY, DEPTH_KEY = "mes:view", "mes:depth"
"""The PNG's text chunks: the view as JSON; how near the surface is, cell by cell, as base64."""

DEPTH_CELLS = 160
"""Cells of the depth map per side: 4 pixels each, which keeps it below 10 KB in the picture."""

_NOTHING, _FARTHEST, _NEAREST = 0, 1, 255
_HIDDEN_BY = 10
"""Steps of depth (of 254 over the model) behind the surface from which on a place counts as hidden: 4 % of it."""

Row = tuple[float, float, float]


class UnknownView(MesError):
    """This picture does not say how it looks at its model; measure the model again to have it drawn anew."""

    code = "unknown_view"


@dataclass(frozen=True, slots=True)
class Spot:
    """Where a place of the model is in the picture, in pixels from its upper left corner; `hidden` behind the piece."""

    x: float
    y: float
    hidden: bool


@dataclass(frozen=True, slots=True)
class View:
    """An orthographic look at a model: pixels = axes x (place - origin) + offset.

    Attributes:
        size: width and height of the picture, pixels.
        origin: a place of the model, in file coordinates, near which nothing cancels.
        axes: rows x (to the right), y (down) and depth (towards the viewer), pixels per file unit.
        offset: pixels of the origin.
        depths: depth of the farthest and the nearest vertex, pixels.
        depth_map: DEPTH_CELLS x DEPTH_CELLS cells, row by row: 0 where there is nothing, else the depth of the surface
            that is seen there, from 1 (farthest vertex) to 255 (nearest).
    """

    size: int
    origin: Row
    axes: tuple[Row, Row, Row]
    offset: Row
    depths: tuple[float, float]
    depth_map: bytes

    def spot(self, place: Row) -> Spot:
        """Where a place, in file coordinates, is in the picture."""
        seen = [
            sum(factor * (at - start) for factor, at, start in zip(axis, place, self.origin, strict=True)) + shift
            for axis, shift in zip(self.axes, self.offset, strict=True)
        ]
        return Spot(seen[0], seen[1], self._hidden(*seen))

    def text(self) -> dict[str, str]:
        """The text chunks that carry this view."""
        known = asdict(self)
        return {VIEW_KEY: json.dumps(known | {"depth_map": None}), DEPTH_KEY: base64.b64encode(self.depth_map).decode()}

    @classmethod
    def of_text(cls, chunks: dict[str, Any]) -> "View":
        """The inverse of `text`.

        Raises:
            UnknownView: the chunks are missing or damaged.
        """
        try:
            known = json.loads(chunks[VIEW_KEY])
            depth_map = base64.b64decode(chunks[DEPTH_KEY], validate=True)
            first, second, third = known["axes"]
            return cls(
                size=known["size"],
                origin=_row(known["origin"]),
                axes=(_row(first), _row(second), _row(third)),
                offset=_row(known["offset"]),
                depths=(float(known["depths"][0]), float(known["depths"][1])),
                depth_map=depth_map.ljust(DEPTH_CELLS**2, bytes([_NOTHING])),
            )
        except (KeyError, TypeError, ValueError, IndexError) as error:
            raise UnknownView from error

    def _hidden(self, x: float, y: float, depth: float) -> bool:
        column, row = (min(max(int(at * DEPTH_CELLS / self.size), 0), DEPTH_CELLS - 1) for at in (x, y))
        surface = self.depth_map[row * DEPTH_CELLS + column]
        low, high = self.depths
        step = _FARTHEST + (_NEAREST - _FARTHEST) * (depth - low) / (high - low) if high > low else _NEAREST
        return surface != _NOTHING and step < surface - _HIDDEN_BY


def _row(numbers: Any) -> Row:  # noqa: ANN401 - any JSON
    x, y, z = numbers
    return float(x), float(y), float(z)
