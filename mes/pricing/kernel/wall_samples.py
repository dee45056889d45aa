"""Chooses points all over a surface, evenly by area, that depend on the shape alone and on no order of its faces."""

import math

import numpy as np
from numpy.typing import NDArray

from mes.pricing.kernel.compiled import compiled
from mes.pricing.kernel.wall_tree import Floats, Ints, Keys, on_curve

_FINEST = 65536.0
_OFF_CENTRE = 0.5137  # so that no point of symmetry lies on a border of the lattice

Point = tuple[float, float, float]


# Helpers come first in this file: signatures have the loops compiled where they stand.


@compiled()
def corner(points: Floats, faces: Ints, face: int, number: int) -> Point:
    """One corner of a face."""
    point = faces[face, number]
    return points[point, 0], points[point, 1], points[point, 2]


@compiled()
def normal_and_area(points: Floats, faces: Ints, face: int) -> tuple[float, float, float, float]:
    """A face's outward unit normal and its area; no direction where it has none."""
    ax, ay, az = corner(points, faces, face, 0)
    bx, by, bz = corner(points, faces, face, 1)
    cx, cy, cz = corner(points, faces, face, 2)
    bx, by, bz, cx, cy, cz = bx - ax, by - ay, bz - az, cx - ax, cy - ay, cz - az
    x, y, z = by * cz - bz * cy, bz * cx - bx * cz, bx * cy - by * cx
    length = math.sqrt(x * x + y * y + z * z)
    if length == 0.0:
        return 0.0, 0.0, 0.0, 0.0
    return x / length, y / length, z / length, length / 2


@compiled()
def _centre(points: Floats, faces: Ints, face: int) -> Point:
    ax, ay, az = corner(points, faces, face, 0)
    bx, by, bz = corner(points, faces, face, 1)
    cx, cy, cz = corner(points, faces, face, 2)
    return (ax + bx + cx) / 3, (ay + by + cy) / 3, (az + bz + cz) / 3


@compiled()
def _chance(x: float, y: float, z: float) -> float:
    """A number from 0 to 1 that only the place decides (after splitmix64, Steele et al., OOPSLA 2014)."""
    mixed = np.uint64(0)
    for coordinate in (x, y, z):
        step = np.int64(math.floor((coordinate * 0.48 + _OFF_CENTRE) * _FINEST))
        mixed = (mixed ^ np.uint64(step)) + np.uint64(0x9E3779B97F4A7C15)
        mixed = (mixed ^ (mixed >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
        mixed = (mixed ^ (mixed >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
        mixed ^= mixed >> np.uint64(31)
    return float(mixed >> np.uint64(11)) / 9007199254740992.0


@compiled("void(f8[:,::1],i4[:,::1],f8[::1],f8[::1],f8[::1],i8,i8)")
def add_moments(points: Floats, faces: Ints, low: Floats, high: Floats, sums: Floats, start: int, stop: int) -> None:
    """Add area, area x centre and area x centre squared (7,) of the faces whose centre lies in a box."""
    for face in range(start, stop):
        x, y, z = _centre(points, faces, face)
        inside = low[0] <= x <= high[0] and low[1] <= y <= high[1] and low[2] <= z <= high[2]
        area = normal_and_area(points, faces, face)[3] if inside else 0.0
        sums[0] += area
        sums[1] += area * x
        sums[2] += area * y
        sums[3] += area * z
        sums[4] += area * x * x
        sums[5] += area * y * y
        sums[6] += area * z * z


@compiled("void(f8[:,::1],i4[:,::1],f8,u8[::1],i4[::1],i8,i8)")
def place_and_cut(points: Floats, faces: Ints, step: float, keys: Keys, parts: Ints, start: int, stop: int) -> None:
    """Each face's place on the curve (F,), and into how many parts each side of it is cut to be sampled (F,).

    A face larger than `step` is cut into parts of about that area; a smaller one is chosen, whole, with the chance of
    its area / `step`, or not at all.
    """
    for face in range(start, stop):
        x, y, z = _centre(points, faces, face)
        keys[face] = on_curve(x, y, z, face)
        share = normal_and_area(points, faces, face)[3] / step
        if share >= 1.0:
            parts[face] = np.int32(math.sqrt(share) + 0.5)
        else:
            parts[face] = 1 if _chance(x, y, z) < share else 0


@compiled("void(f8[:,::1],i4[:,::1],f8,i8[::1],i4[::1],f8[:,::1],f8[:,::1],f8[::1])")
def sample(
    points: Floats,
    faces: Ints,
    step: float,
    chosen: NDArray[np.int64],
    parts: Ints,
    at: Floats,
    normals: Floats,
    weights: Floats,
) -> None:
    """Centres of the parts of the chosen faces, the normals there and the area that each stands for.

    Centres of equal parts are the same whichever corner a face begins with. A face that was chosen by chance stands for
    an area of `step` (Horvitz and Thompson's estimator, 1952).
    """
    count = 0
    for face in chosen:
        a, b, c = corner(points, faces, face, 0), corner(points, faces, face, 1), corner(points, faces, face, 2)
        x, y, z, area = normal_and_area(points, faces, face)
        along = parts[face]
        for part in range(along * along):
            row = part // along
            column = part - row * along
            u, v = (row + 1 / 3) / along, (column + 1 / 3) / along
            if row + column >= along:  # the parts that point the other way
                u, v = (along - row - 1 / 3) / along, (along - column - 1 / 3) / along
            for axis in range(3):
                at[count, axis] = a[axis] + u * (b[axis] - a[axis]) + v * (c[axis] - a[axis])
            normals[count, 0], normals[count, 1], normals[count, 2] = x, y, z
            weights[count] = area / (along * along) if area >= step else step
            count += 1
