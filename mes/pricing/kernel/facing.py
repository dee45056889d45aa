"""Tells which bodies are inside out, and a cavity, which has to be, from a body that was turned by mistake."""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from mes.pricing.geometry import Facing
from mes.pricing.kernel.mass import Faces, Floats, Masses, winding

NEGLIGIBLE = 1e-9
"""Share of the volume below which a body counts as flat, which has no inside to be turned."""

FLAT = 1e-12
"""Volume over area to the power of 3/2 that is rounding; a sphere has 0.094."""

_EXACTLY_NESTED = 256
"""Turned bodies that are checked for being cavities, largest first; a ray through 1M triangles takes 3 ms."""

_OFF_CENTRE = np.array((0.2137, 0.3261, 0.4602))
"""Where in a triangle a ray starts: at no point of symmetry, so that it meets no edge of a drawn model."""


@dataclass(frozen=True, slots=True, eq=False)
class Sides:
    """Which way bodies look.

    Attributes:
        facing: of the model as the file has it.
        inverted: bool (B,), the bodies that have to be turned over for the material to be inside.
        cavities: bool (B,), the bodies that are holes in the material of others.
    """

    facing: Facing
    inverted: NDArray[np.bool_]
    cavities: NDArray[np.bool_]


def sides_of(points: Floats, faces: Faces, body: NDArray[np.int32], masses: Masses) -> Sides:
    """Judge each body by its signed volume; one that is turned against the whole is sound where it is a cavity.

    Args:
        points: float64 (V, 3).
        faces: int32 (F, 3).
        body: int32 (F,), the number of each face's body.
        masses: what they measure.
    """
    least = NEGLIGIBLE * float(np.abs(masses.volumes).sum()) + FLAT * float(masses.areas.sum()) ** 1.5
    direction = 1 if masses.volumes.sum() >= -least else -1
    volumes = masses.volumes * direction
    turned = np.flatnonzero(volumes < -least)
    turned = turned[np.argsort(volumes[turned], kind="stable")]
    cavities = np.zeros(len(volumes), bool)
    cavities[turned] = True
    for number, sound in zip(turned, _nested(points, faces, body, turned, direction), strict=False):
        cavities[number] = sound
    wrong = volumes < -least
    wrong &= ~cavities
    inverted = wrong if direction > 0 else (~wrong & (np.abs(volumes) > least))
    facing: Facing = "mixed" if wrong.any() else ("outward" if direction > 0 else "inward")
    return Sides(facing, inverted, cavities)


def _nested(
    points: Floats, faces: Faces, body: NDArray[np.int32], turned: NDArray[np.int64], direction: int
) -> Iterator[bool]:
    """For each turned body, largest first, whether it lies in the material of the others."""
    if not len(turned):
        return
    first = np.full(int(body.max()) + 1, len(body))
    np.minimum.at(first, body, np.arange(len(body)))
    for number in turned[:_EXACTLY_NESTED]:
        start = _OFF_CENTRE @ points[faces[first[number]]]
        yield winding(points, faces, body, int(number), start) * direction > 0
