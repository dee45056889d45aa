"""Builds the shapes of jewelry as closed surfaces in millimetres, so that sample orders have models worth measuring."""

from collections.abc import Iterable
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

FloatArray = NDArray[np.float64]
IntArray = NDArray[np.int64]

# how much of a band's thickness its sides have before the arc begins: a D without a knife edge
D_SIDE = 0.4


@dataclass(frozen=True)
class Body:
    """One closed surface, its triangles counter-clockwise seen from outside.

    `vertices_mm` is (V, 3) in millimetres, `faces` (F, 3) indexes into it.
    """

    vertices_mm: FloatArray
    faces: IntArray

    @property
    def volume_mm3(self) -> float:
        """Signed volume, positive when the faces point outward (the divergence theorem)."""
        a, b, c = (self.vertices_mm[self.faces[:, corner]] for corner in range(3))
        return float(np.einsum("ij,ij->", a, np.cross(b, c)) / 6.0)

    def moved(self, x: float = 0.0, y: float = 0.0, z: float = 0.0) -> "Body":
        """The same body elsewhere; millimetres."""
        return Body(self.vertices_mm + np.array([x, y, z]), self.faces)

    def scaled(self, x: float = 1.0, y: float = 1.0, z: float = 1.0) -> "Body":
        """The same body stretched along the axes by positive factors."""
        return Body(self.vertices_mm * np.array([x, y, z]), self.faces)

    def rotated(self, axis: int, angle_rad: float) -> "Body":
        """The same body turned about the x (0), y (1) or z (2) axis, right-handed."""
        first, second = (axis + 1) % 3, (axis + 2) % 3
        turn = np.eye(3)
        turn[first, first] = turn[second, second] = np.cos(angle_rad)
        turn[first, second], turn[second, first] = -np.sin(angle_rad), np.sin(angle_rad)
        return Body(self.vertices_mm @ turn.T, self.faces)

    def without(self, centre_mm: tuple[float, float, float], radius_mm: float) -> "Body":
        """The body with a hole: triangles whose centroid lies within `radius_mm` of `centre_mm` are gone."""
        centroids = self.vertices_mm[self.faces].mean(axis=1)
        far = np.linalg.norm(centroids - np.array(centre_mm), axis=1) > radius_mm
        return Body(self.vertices_mm, self.faces[far])


def longest_side_mm(bodies: Iterable[Body]) -> float:
    """Longest side of the box around all bodies."""
    vertices = np.concatenate([body.vertices_mm for body in bodies])
    return float(np.ptp(vertices, axis=0).max())


def swept(sections_mm: FloatArray) -> Body:
    """Close a tube around the z axis from its cross-sections.

    `sections_mm` is (S, P, 2): S cross-sections at equal angles, each P points (distance from the axis, height).
    """
    count, points = sections_mm.shape[:2]
    angles = np.linspace(0.0, 2 * np.pi, count, endpoint=False)[:, None]
    radial, height = sections_mm[..., 0], sections_mm[..., 1]
    vertices = np.stack([radial * np.cos(angles), radial * np.sin(angles), height], axis=-1).reshape(-1, 3)
    i, j = np.meshgrid(np.arange(count), np.arange(points), indexing="ij")
    after_i, after_j = (i + 1) % count, (j + 1) % points
    quads = [i * points + j, after_i * points + j, after_i * points + after_j, i * points + after_j]
    return _outward(vertices, _split([corner.ravel() for corner in quads]))


def lofted(outline_mm: FloatArray, levels: FloatArray) -> Body:
    """Close a solid around the z axis by stacking copies of one outline.

    `outline_mm` is (P, 2), star-shaped about the origin; `levels` is (L, 2) of (scale of the outline, height in mm),
    where the first and the last are points on the axis, whatever their scale. A circle as outline turns the levels
    into a profile of revolution.
    """
    points, rings = len(outline_mm), levels[1:-1]
    flat = outline_mm[None] * rings[:, 0, None, None]
    height = np.broadcast_to(rings[:, 1, None, None], (len(rings), points, 1))
    poles = np.array([[0.0, 0.0, levels[0, 1]], [0.0, 0.0, levels[-1, 1]]])
    vertices = np.concatenate([np.concatenate([flat, height], axis=-1).reshape(-1, 3), poles])
    j = np.arange(points)
    after_j = (j + 1) % points
    base = (np.arange(len(rings) - 1) * points)[:, None]
    quads = [base + j, base + after_j, base + points + after_j, base + points + j]
    last, bottom, top = (len(rings) - 1) * points, len(vertices) - 2, len(vertices) - 1
    below = np.stack([np.full(points, bottom), after_j, j], axis=-1)
    above = np.stack([np.full(points, top), last + j, last + after_j], axis=-1)
    return _outward(vertices, np.concatenate([_split([corner.ravel() for corner in quads]), below, above]))


def torus(radius_mm: float, tube_mm: float, segments: int = 64, points: int = 24) -> Body:
    """A ring of round wire: `radius_mm` to the middle of the wire, `tube_mm` its radius."""
    section = circle(points) * tube_mm + np.array([radius_mm, 0.0])
    return swept(np.broadcast_to(section, (segments, points, 2)))


def sphere(radius_mm: float, segments: int = 24, rings: int = 12) -> Body:
    """A bead."""
    polar = np.linspace(-np.pi / 2, np.pi / 2, rings + 1)
    return lofted(circle(segments), radius_mm * np.stack([np.cos(polar), np.sin(polar)], axis=-1))


def band(inner_diameter_mm: float, width_mm: float, thickness_mm: float, segments: int = 192, points: int = 24) -> Body:
    """A plain band with a D profile: flat inside, round outside."""
    section = d_profile(points) * np.array([thickness_mm, width_mm / 2]) + np.array([inner_diameter_mm / 2, 0.0])
    return swept(np.broadcast_to(section, (segments, *section.shape)))


def signet_band(
    inner_diameter_mm: float, width_mm: tuple[float, float], thickness_mm: tuple[float, float], segments: int = 192
) -> Body:
    """A band whose shoulders grow towards +x; width and thickness are given as (back, front)."""
    angles = np.linspace(-np.pi, np.pi, segments, endpoint=False) + np.pi
    front = np.exp(-((np.minimum(angles, 2 * np.pi - angles) / 0.75) ** 2))[:, None]
    thickness = thickness_mm[0] + (thickness_mm[1] - thickness_mm[0]) * front
    half_width = (width_mm[0] + (width_mm[1] - width_mm[0]) * front) / 2
    profile = d_profile(28)
    radial = inner_diameter_mm / 2 + profile[None, :, 0] * thickness
    return swept(np.stack([radial, profile[None, :, 1] * half_width], axis=-1))


def rope_strand(radius_mm: float, wire_mm: float, turns: int, phase_rad: float, segments: int = 360) -> Body:
    """One strand of a twisted ring: a wire of radius `wire_mm` that winds `turns` times about a circle."""
    winding = turns * np.linspace(0.0, 2 * np.pi, segments, endpoint=False) + phase_rad
    # strands wound at 0.9 of their own radius overlap a little, as soldered ones do
    middle = 0.9 * wire_mm * np.stack([np.cos(winding), np.sin(winding)], axis=-1) + np.array([radius_mm, 0.0])
    return swept(middle[:, None] + circle(16)[None] * wire_mm)


def twisted_band(radius_mm: float, section_mm: tuple[float, float], turns: int, segments: int = 400) -> Body:
    """A bangle of oval bar that turns `turns` times about itself on its way round."""
    turned = turns * np.linspace(0.0, 2 * np.pi, segments, endpoint=False)[:, None]
    oval = circle(28) * np.array(section_mm)
    radial = radius_mm + np.cos(turned) * oval[:, 0] - np.sin(turned) * oval[:, 1]
    return swept(np.stack([radial, np.sin(turned) * oval[:, 0] + np.cos(turned) * oval[:, 1]], axis=-1))


def bezel_cup(radius_mm: float, height_mm: float, wall_mm: float, segments: int = 96) -> Body:
    """A cup for a round stone, open towards +z, its floor a third of its height."""
    inner, floor = radius_mm - wall_mm, height_mm / 3
    corners = [(0, 0), (0.8 * radius_mm, 0), (radius_mm, floor), (radius_mm, height_mm), (inner, height_mm)]
    profile = _stepped(np.array([*corners, (inner, floor), (0, floor)], dtype=np.float64), step=height_mm / 12)
    return lofted(circle(segments), profile)


def plate(outline_mm: FloatArray, height_mm: float, bevel: float = 0.12, dome_mm: float = 0.0) -> Body:
    """An extruded outline from z = 0 up, its edges bevelled by a share of its size, its front optionally domed."""
    edge = min(bevel * float(np.abs(outline_mm).max()), 0.3 * height_mm)
    lower = np.array([(0.0, 0.0), (1 - bevel, 0.0), (1.0, edge), (1.0, height_mm - edge), (1 - bevel, height_mm)])
    inward = np.linspace(1 - bevel, 0.0, 9)[1:]
    rise = dome_mm * (1 - (inward / (1 - bevel)) ** 2)
    front = np.stack([inward, height_mm + rise], axis=-1)
    return lofted(outline_mm, np.concatenate([_stepped(lower, step=0.15), front]))


def circle(points: int) -> FloatArray:
    """A unit circle, (points, 2), counter-clockwise."""
    angles = np.linspace(0.0, 2 * np.pi, points, endpoint=False)
    return np.stack([np.cos(angles), np.sin(angles)], axis=-1)


def cushion(points: int = 128) -> FloatArray:
    """A unit square with soft corners: the superellipse of degree 4."""
    unit = circle(points)
    shaped: FloatArray = unit / np.power((unit**4).sum(axis=1), 0.25)[:, None]
    return shaped


def heart(width_mm: float, points: int = 192) -> FloatArray:
    """The heart curve x = 16 sin^3 t, y = 13 cos t - 5 cos 2t - 2 cos 3t - cos 4t (MathWorld), scaled to a width."""
    t = np.linspace(0.0, 2 * np.pi, points, endpoint=False)
    x = 16 * np.sin(t) ** 3
    y = 13 * np.cos(t) - 5 * np.cos(2 * t) - 2 * np.cos(3 * t) - np.cos(4 * t)
    return np.stack([x, y], axis=-1) * (width_mm / 32)


def star(radius_mm: float, tips: int = 5, depth: float = 0.5, per_edge: int = 16) -> FloatArray:
    """A star with straight edges; `depth` is the radius of its notches as a share of `radius_mm`."""
    corners = circle(2 * tips) * np.where(np.arange(2 * tips) % 2 == 0, radius_mm, depth * radius_mm)[:, None]
    along = np.arange(per_edge)[None, :, None] / per_edge
    edges: FloatArray = (corners[:, None] * (1 - along) + np.roll(corners, -1, axis=0)[:, None] * along).reshape(-1, 2)
    return edges


def d_profile(points: int) -> FloatArray:
    """The D in units of (thickness, half width), counter-clockwise: its arc, then its flat inner side."""
    arc = np.linspace(-np.pi / 2, np.pi / 2, 2 * points // 3)
    outside = np.stack([D_SIDE + (1 - D_SIDE) * np.cos(arc), np.sin(arc)], axis=-1)
    across = np.linspace(1.0, -1.0, points - len(outside))
    return np.concatenate([outside, np.stack([np.zeros_like(across), across], axis=-1)])


def _outward(vertices: FloatArray, faces: IntArray) -> Body:
    body = Body(vertices, faces)
    return body if body.volume_mm3 > 0 else Body(vertices, faces[:, ::-1])


def _split(quads: list[IntArray]) -> IntArray:
    a, b, c, d = quads
    return np.concatenate([np.stack([a, b, c], axis=-1), np.stack([a, c, d], axis=-1)])


def _stepped(line: FloatArray, step: float) -> FloatArray:
    """The polyline with its corners kept and points added so that no stretch is longer than `step`."""
    pieces = [line[:1]]
    for start, end in pairwise(line):
        count = max(1, int(np.ceil(np.linalg.norm(end - start) / step)))
        pieces.append(start + (end - start) * (np.arange(1, count + 1) / count)[:, None])
    return np.concatenate(pieces)
