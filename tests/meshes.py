"""Solids whose measures are known by formula, as triangles by their corners (F, 3, 3), for tests to measure."""

import numpy as np

from mes.models.mesh import build_soup
from mes.pricing.measure import measure

CORNERS = np.array([(x, y, z) for x in (0, 1) for y in (0, 1) for z in (0, 1)], float)
QUADS = [(0, 1, 3, 2), (4, 6, 7, 5), (0, 4, 5, 1), (2, 3, 7, 6), (0, 2, 6, 4), (1, 5, 7, 3)]
FACES = np.array([t for a, b, c, d in QUADS for t in ((a, b, c), (a, c, d))])


def box(sides=(1.0, 1.0, 1.0), at=(0.0, 0.0, 0.0), inside_out=False):
    """A box with its lowest corner at a place."""
    return (CORNERS * sides + at)[FACES[:, ::-1] if inside_out else FACES]


def tetrahedron(size=1.0):
    """The corner of a cube: volume size**3 / 6."""
    a, b, c, d = np.array([(0, 0, 0), (1, 0, 0), (0, 1, 0), (0, 0, 1)], float) * size
    return np.array([(a, c, b), (a, b, d), (a, d, c), (b, c, d)])


def sphere(radius=1.0, at=(0.0, 0.0, 0.0), rings=48):
    """A latitude-longitude sphere of triangles, whose poles degenerate."""
    lat, lon = np.meshgrid(np.linspace(0, np.pi, rings + 1), np.linspace(0, 2 * np.pi, 2 * rings + 1), indexing="ij")
    lon[:, -1] = 0.0
    sine = np.sin(lat)
    sine[[0, -1]] = 0.0
    return _quads(np.stack((sine * np.cos(lon), sine * np.sin(lon), np.cos(lat)), -1) * radius + at)


def torus(radius=10.0, tube=2.0, rings=96):
    """A ring lying flat: volume 2 pi^2 radius tube^2, area 4 pi^2 radius tube."""
    around, about = np.meshgrid(
        np.linspace(0, 2 * np.pi, 2 * rings + 1), np.linspace(0, 2 * np.pi, rings + 1), indexing="ij"
    )
    around[-1], about[:, -1] = 0.0, 0.0
    reach = radius + tube * np.cos(about)
    return _quads(np.stack((reach * np.cos(around), reach * np.sin(around), tube * np.sin(about)), -1))


def cylinder(radius=1.0, height=1.0, at=(0.0, 0.0, 0.0), steps=256):
    """An upright prism of so many sides, its base around a place."""
    turn = np.linspace(0, 2 * np.pi, steps, endpoint=False)
    low = np.stack((radius * np.cos(turn), radius * np.sin(turn), 0 * turn), -1) + at
    high, after = low + np.array((0, 0, height)), np.roll(np.arange(steps), -1)
    bottom, top = np.broadcast_to(at, low.shape), np.broadcast_to(np.add(at, (0, 0, height)), low.shape)
    sides = np.concatenate((np.stack((low, low[after], high[after]), 1), np.stack((low, high[after], high), 1)))
    return np.concatenate((sides, np.stack((bottom, low[after], low), 1), np.stack((top, high, high[after]), 1)))


def moebius(steps=60, width=0.4):
    """A band with one side only."""
    turn = np.linspace(0, 2 * np.pi, steps + 1)
    edge = [
        np.stack(
            (
                (1 + side * width * np.cos(turn / 2)) * np.cos(turn),
                (1 + side * width * np.cos(turn / 2)) * np.sin(turn),
                side * width * np.sin(turn / 2),
            ),
            -1,
        )
        for side in (-1, 1)
    ]
    edge[0][-1], edge[1][-1] = edge[1][0], edge[0][0]
    a, b, c, d = edge[0][:-1], edge[0][1:], edge[1][1:], edge[1][:-1]
    return np.concatenate((np.stack((a, b, c), 1), np.stack((a, c, d), 1)))


def rotation(seed):
    """A turn (3, 3) about any axis."""
    turn, _ = np.linalg.qr(np.random.default_rng(seed).normal(size=(3, 3)))
    return turn * np.sign(np.linalg.det(turn))


def soup(*solids, unit_mm=None, threads=1, walls=False):
    """What solids measure together."""
    corners = np.concatenate(solids)
    return measure(build_soup(np.ascontiguousarray(corners), "stl"), unit_mm, threads=threads, walls=walls)


def _quads(grid):
    a, b, c, d = grid[:-1, :-1], grid[1:, :-1], grid[1:, 1:], grid[:-1, 1:]
    return np.concatenate((np.stack((a, b, c), 2).reshape(-1, 3, 3), np.stack((a, c, d), 2).reshape(-1, 3, 3)))
