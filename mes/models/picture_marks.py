"""Marks places of a model on its picture, numbered, so that a person sees at once where something is wrong."""

import io
import math
from collections.abc import Iterator, Sequence

from PIL import Image, ImageDraw, ImageFont

from mes.models.picture_view import Row, Spot, View

MARK_COLOUR = (196, 18, 60)
"""Crimson: far from every tone of the metal, and dark enough for a white number."""

_GROUND = (255, 255, 255)
_FINE = 3
"""Drawn so many times larger, then made smaller: smooth outlines."""

_DOT, _RADIUS, _GAP = 4.0, 13.0, 34.0
"""Pixels: the dot on the place, the disc with its number, and how far apart they stand."""

_DIRECTIONS = 16
_RINGS = 3
_HOLLOW = 1.5


def mark(png: bytes, places: Sequence[Row]) -> bytes:
    """The picture with a dot on each place and its number, from 1, on a disc beside; what the piece hides is hollow.

    Args:
        png: as `picture.render` drew it.
        places: in the file's own coordinates and unit.

    Raises:
        UnknownView: the picture does not say how it looks at its model.
    """
    picture, view = _opened(png)
    spots = [view.spot(place) for place in places]
    layer = Image.new("RGBA", (picture.width * _FINE, picture.height * _FINE))
    pen = ImageDraw.Draw(layer)
    discs = list(_discs(spots, view.size))
    for spot, disc in zip(spots, discs, strict=True):
        _line(pen, spot, disc)
    for number, (spot, disc) in enumerate(zip(spots, discs, strict=True), start=1):
        _dot(pen, spot)
        _disc(pen, disc, str(number), hollow=spot.hidden)
    picture.alpha_composite(layer.resize(picture.size, Image.Resampling.BOX))
    out = io.BytesIO()
    picture.save(out, "PNG", compress_level=3)
    return out.getvalue()


def hidden(png: bytes, places: Sequence[Row]) -> list[bool]:
    """For each place, whether the piece hides it in this picture.

    Raises:
        UnknownView: the picture does not say how it looks at its model.
    """
    _, view = _opened(png)
    return [view.spot(place).hidden for place in places]


def _opened(png: bytes) -> tuple[Image.Image, View]:
    with Image.open(io.BytesIO(png)) as drawn:
        drawn.load()
        return drawn.convert("RGBA"), View.of_text({str(name): value for name, value in drawn.info.items()})


def _discs(spots: Sequence[Spot], size: int) -> Iterator[tuple[float, float]]:
    """Where each number stands: near its place, away from the middle, and not on another number or place."""
    taken = [(spot.x, spot.y) for spot in spots]
    for spot in spots:
        roomiest, most = (spot.x, spot.y), -math.inf
        for disc in _candidates(spot, size):
            room = min(math.dist(disc, other) for other in taken) - 2 * _RADIUS
            if room > most:
                roomiest, most = disc, room
            if room >= 0:
                break
        taken.append(roomiest)
        yield roomiest


def _candidates(spot: Spot, size: int) -> Iterator[tuple[float, float]]:
    """Points around a place, the nearest ring first, and on it what looks outward first, within the picture."""
    outward = math.atan2(spot.y - size / 2, spot.x - size / 2)
    border = _RADIUS + 2
    for ring in range(1, _RINGS + 1):
        for step in range(_DIRECTIONS):
            turn = (step + 1) // 2 * (1 if step % 2 else -1) * 2 * math.pi / _DIRECTIONS
            x = spot.x + math.cos(outward + turn) * _GAP * ring
            y = spot.y + math.sin(outward + turn) * _GAP * ring
            yield min(max(x, border), size - border), min(max(y, border), size - border)


def _line(pen: ImageDraw.ImageDraw, spot: Spot, disc: tuple[float, float]) -> None:
    ends = [(spot.x * _FINE, spot.y * _FINE), (disc[0] * _FINE, disc[1] * _FINE)]
    pen.line(ends, fill=_GROUND, width=5 * _FINE)
    pen.line(ends, fill=MARK_COLOUR, width=2 * _FINE)


def _dot(pen: ImageDraw.ImageDraw, spot: Spot) -> None:
    _circle(pen, (spot.x, spot.y), _DOT + 2, _GROUND)
    _circle(pen, (spot.x, spot.y), _DOT, MARK_COLOUR)
    if spot.hidden:
        _circle(pen, (spot.x, spot.y), _DOT - _HOLLOW, _GROUND)


def _disc(pen: ImageDraw.ImageDraw, centre: tuple[float, float], number: str, *, hollow: bool) -> None:
    _circle(pen, centre, _RADIUS + 2, _GROUND)
    _circle(pen, centre, _RADIUS, MARK_COLOUR)
    if hollow:
        _circle(pen, centre, _RADIUS - 2 * _HOLLOW, _GROUND)
    pen.text(
        (centre[0] * _FINE, centre[1] * _FINE),
        number,
        fill=MARK_COLOUR if hollow else _GROUND,
        font=ImageFont.load_default(15 * _FINE),
        anchor="mm",
    )


def _circle(pen: ImageDraw.ImageDraw, centre: tuple[float, float], radius: float, colour: tuple[int, int, int]) -> None:
    x, y, reach = centre[0] * _FINE, centre[1] * _FINE, radius * _FINE
    pen.ellipse((x - reach, y - reach, x + reach, y + reach), fill=colour)
