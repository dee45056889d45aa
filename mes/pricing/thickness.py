"""Measures how thick a model's walls are and where they are thinnest, because a thin wall does not fill when cast."""

import math
from dataclasses import dataclass
from functools import partial
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from mes.pricing.geometry import ThinPlace, Walls
from mes.pricing.kernel import rays, wall_samples
from mes.pricing.kernel.side_by_side import side_by_side
from mes.pricing.kernel.wall_tree import Tree, build, stretches

Floats = NDArray[np.float64]
Ints = NDArray[np.int32]

RAYS = 20_000
"""Rays of the first round: a standard error of 0.35 % of the area at worst, and 20 rays on a rib of 0.1 %."""

PLACES = 8
"""As many of the thinnest places are told."""

APART = 0.05
"""Least distance between two of them, as a share of the model's longest side."""

_OPPOSITE = -math.cos(math.radians(45.0))
"""Cosine between the normals of a wall's two sides, at most."""

_PARALLEL = -math.cos(math.radians(20.0))
"""The same for a thin place: where a wall is thinnest inside, its sides are parallel; where not, it is an edge."""

_CANDIDATES = 16
_APART_FIRST = 0.02
_RAYS_AT_ONCE = 512
_MOST_NODES = 10_000_000  # some 3 s
_PILOTS = 64
_FEWEST = 100
_LEVELS = np.array([0.001, 0.002, 0.005, *np.arange(1, 101) / 100])
_STEP = 0.002
_BESIDE = 1e-9
_ASKEW = np.array((0.613, 0.537, 0.579))


class _Placed(NamedTuple):
    """A model moved and scaled so that the bulk of its area lies between -1 and 1; `area` is in that measure."""

    points: Floats
    centre: Floats
    half_mm: float
    area: float


@dataclass(frozen=True, slots=True, eq=False)
class _Samples:
    """Points of the surface (N, 3), outward normals (N, 3), the area each stands for (N,), and what its ray found.

    `thickness` is 0 where it left no material, `cosine` is between the normals at both ends.
    """

    at: Floats
    normals: Floats
    weights: Floats
    thickness: Floats
    cosine: Floats

    def only(self, kept: NDArray[np.bool_] | NDArray[np.int64]) -> "_Samples":
        return _Samples(self.at[kept], self.normals[kept], self.weights[kept], self.thickness[kept], self.cosine[kept])


def measure_walls(vertices: Floats, faces: Ints, *, threads: int = 1) -> Walls | None:
    """Wall thickness by rays that go straight inward from points all over the surface until they leave the material.

    Some 20,000 points are spread by area; a second round of rays walks from the thinnest of them over the surface to
    where the wall is thinnest nearby (the ray method of "Efficient Wall Thickness Analysis Methods for Optimal Design
    of Casting Parts", 2007, and of most programs that check castings).

    A ray counts bodies: overlapping ones, and such as touch, are one piece, and a surface within other material is no
    surface. It met a *wall* where the face it leaves by looks away from the first within 45 degrees. Near the edge of
    a wedge, a pyramid or a cut stone rays are short but meet no wall: that area counts in the shares as bulk, as thick
    as half of such rays are long, and at least as the median wall.

    A thin place is one where both sides are parallel within 20 degrees, as they are wherever a wall is thinnest inside
    it, and not at the brink of a wedge. Of a model without any, such as a tetrahedron, one place is told: where half of
    the rays are shorter.

    Thicknesses are rounded to four digits, so that what float32 and threads leave uncertain does not show. A wall met
    on a larger share of the area is told as a step: (thickness, share of all that is thinner), then its own share added
    a billionth thicker; `Walls.share_below` of exactly that thickness so leaves it out.

    Args:
        vertices: float64 (V, 3), in mm.
        faces: int32 (F, 3), indices into `vertices`, counter-clockwise seen from outside. Open meshes and bodies that
            are turned inside out are measured as far as rays find a way through the material.
        threads: how many work side by side; the result does not depend on it.

    Returns:
        The walls, places in the coordinates of `vertices`; None if no ray left any material: flat or open, or no area.
    """
    placed = _place(vertices, faces, threads) if len(faces) else None
    if placed is None:
        return None
    tree, samples = _sample_and_shoot(placed, faces, threads)
    samples = samples.only(samples.thickness > 0.0)
    if not len(samples.at):
        return None
    thinnest = _thinnest(tree, samples, placed, threads)
    return _told(samples, thinnest, placed)


def _place(vertices: Floats, faces: Ints, threads: int) -> _Placed | None:
    """Move and scale a model by where its area is, so that a speck far away does not set the scale."""
    low = np.array([column.min() for column in vertices.T])  # by axis: a twentieth of min(axis=0)
    high = np.array([column.max() for column in vertices.T])
    middle = (low + high) / 2
    points = vertices - middle
    low, high = low - middle, high - middle
    total = 0.0
    while True:
        sums = _moments(points, faces, low, high, threads)
        total = total or float(sums[0])
        longest = float((high - low).max())
        if not (sums[0] > 0.0 and longest > 0.0):
            return None
        mean = sums[1:4] / sums[0]
        reach = 6 * np.sqrt(np.maximum(sums[4:7] / sums[0] - mean**2, 1e-14 * longest**2))
        core_low, core_high = np.maximum(low, mean - reach), np.minimum(high, mean + reach)
        if (core_high - core_low).max() > longest / 4:
            break
        low, high = core_low, core_high
    centre, half = (low + high) / 2, longest / 2
    points -= centre
    points /= half
    return _Placed(points, centre + middle, half, total / half**2)


def _moments(points: Floats, faces: Ints, low: Floats, high: Floats, threads: int) -> Floats:
    parts = stretches(len(faces))
    sums = np.zeros((len(parts), 7))
    add = partial(wall_samples.add_moments, points, faces, low, high)
    side_by_side([partial(add, row, start, stop) for row, (start, stop) in zip(sums, parts, strict=True)], threads)
    total: Floats = sums.sum(axis=0)
    return total


def _sample_and_shoot(placed: _Placed, faces: Ints, threads: int) -> tuple[Tree, _Samples]:
    """First round; with fewer rays where each meets very many triangles, as among needles that cross the whole box."""
    keys = np.empty(len(faces), np.uint64)
    samples = _sample(placed, faces, keys, RAYS, threads)
    tree = build(placed.points, faces, keys, threads)
    if not len(samples.at):
        return tree, samples
    pilots = samples.only(np.linspace(0, len(samples.at) - 1, _PILOTS).astype(np.int64))
    nodes = _shoot(tree, pilots, 1) / _PILOTS
    if nodes * len(samples.at) > _MOST_NODES:
        samples = _sample(placed, faces, keys, max(_FEWEST, int(_MOST_NODES / nodes)), threads)
    _shoot(tree, samples, threads)
    return tree, samples


def _shoot(tree: Tree, samples: _Samples, threads: int) -> int:
    shoot = partial(rays.shoot, (*tree,), samples.at, samples.normals, samples.thickness, samples.cosine)
    parts = stretches(len(samples.at), _RAYS_AT_ONCE)
    return sum(side_by_side([partial(shoot, start, stop) for start, stop in parts], threads))


def _sample(placed: _Placed, faces: Ints, keys: NDArray[np.uint64], wanted: int, threads: int) -> _Samples:
    """About as many points as wanted; fills in each face's place on the tree's curve."""
    parts = np.empty(len(faces), np.int32)
    step = placed.area / wanted
    while True:
        cut = partial(wall_samples.place_and_cut, placed.points, faces, step, keys, parts)
        side_by_side([partial(cut, start, stop) for start, stop in stretches(len(faces))], threads)
        chosen = np.flatnonzero(parts)
        count = int((parts[chosen].astype(np.int64) ** 2).sum())
        if count <= 4 * wanted:  # more only where very many faces lie at one place and share one chance
            break
        step *= 2
    samples = _Samples(np.empty((count, 3)), np.empty((count, 3)), np.empty(count), np.zeros(count), np.ones(count))
    wall_samples.sample(placed.points, faces, step, chosen, parts, samples.at, samples.normals, samples.weights)
    return samples


def _thinnest(tree: Tree, samples: _Samples, placed: _Placed, threads: int) -> _Samples:
    """Second round: the thinnest places, thinnest first, apart from each other; without parallel walls, one place."""
    walls = samples.only(samples.cosine <= _PARALLEL)
    if not len(walls.at):
        return _middle(samples)
    rays_shot = len(samples.at)
    found = _apart(walls, placed, _APART_FIRST, min(_CANDIDATES, max(1, rays_shot * _CANDIDATES * 2 // RAYS)))
    radius = 2 * math.sqrt(placed.area / rays_shot)
    descend = partial(rays.descend, (*tree,), found.at, found.normals, found.thickness, _PARALLEL, radius)
    side_by_side([partial(descend, one, one + 1) for one in range(len(found.at))], threads)
    return _apart(found, placed, APART, PLACES)


def _apart(walls: _Samples, placed: _Placed, distance: float, most: int) -> _Samples:
    """The thinnest, as many as wanted, no two nearer to each other than a share of the model's size.

    Of equally thin ones, the first along a direction that no model is symmetric to, so that rounding does not choose.
    """
    rank = _rounded(walls.thickness * placed.half_mm) * (1 + 1e-5 * (walls.at @ _ASKEW))
    across = np.ascontiguousarray(walls.at.T)
    left = np.ones(len(rank), bool)
    chosen: list[int] = []
    while left.any() and len(chosen) < most:
        best = int(np.argmin(np.where(left, rank, np.inf)))
        chosen.append(best)
        left &= ((across - across[:, best : best + 1]) ** 2).sum(axis=0) > (2 * distance) ** 2
    return walls.only(np.array(chosen, np.int64))


def _middle(samples: _Samples) -> _Samples:
    """The one sample that stands for a model without walls: where half of the rays are shorter."""
    order = np.argsort(samples.thickness, kind="stable")
    half = np.searchsorted(np.cumsum(samples.weights[order]), samples.weights.sum() / 2)
    return samples.only(order[half : half + 1])


def _told(samples: _Samples, thinnest: _Samples, placed: _Placed) -> Walls:
    samples = samples.only(np.argsort(samples.thickness, kind="stable"))
    wall = samples.cosine <= _OPPOSITE
    bulk = max(_median(samples.only(~wall)), _median(samples.only(wall)))
    places = tuple(
        ThinPlace(_digits(depth * placed.half_mm), (x, y, z))
        for depth, (x, y, z) in zip(
            thinnest.thickness.tolist(), (thinnest.at * placed.half_mm + placed.centre).tolist(), strict=True
        )
    )
    knots = _distribution(np.where(wall, samples.thickness, bulk) * placed.half_mm, samples.weights)
    least = places[0].thickness_mm
    return Walls(
        distribution=((least, 0.0), *knots) if least < knots[0][0] else knots, places=places, rays=int(wall.sum())
    )


def _median(rising: _Samples) -> float:
    """Half of the area has less; 0 where there is none."""
    if not len(rising.at):
        return 0.0
    sums = np.cumsum(rising.weights)
    return float(rising.thickness[np.searchsorted(sums, sums[-1] / 2)])


def _distribution(thickness_mm: Floats, weights: Floats) -> tuple[tuple[float, float], ...]:
    """The cumulative distribution as few points: exact at each, and within a step of the levels between them."""
    values, index = np.unique(_rounded(thickness_mm), return_inverse=True)
    sums = np.cumsum(np.bincount(index, weights))
    shares = sums / sums[-1]
    before = np.concatenate(([0.0], shares[:-1]))
    knots: list[tuple[float, float]] = []
    for i in np.unique(np.searchsorted(shares, _LEVELS - 1e-9)).tolist():
        value, under, share = _digits(values[i]), round(float(before[i]), 6), round(float(shares[i]), 6)
        knots += [(value, under), (value * (1 + _BESIDE), share)] if share - under > _STEP else [(value, share)]
    return tuple(knots)


def _rounded(thickness_mm: Floats) -> Floats:
    """To four digits."""
    scale = 10.0 ** (3 - np.floor(np.log10(thickness_mm)))
    rounded: Floats = np.round(thickness_mm * scale) / scale
    return rounded


def _digits(thickness_mm: float) -> float:
    return float(f"{thickness_mm:.4g}")
