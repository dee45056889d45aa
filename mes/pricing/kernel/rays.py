"""Follows lines through a mesh and says how thick its material is where they enter it."""

import math
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mes.pricing.kernel.compiled import compiled
from mes.pricing.kernel.wall_samples import Point, corner, normal_and_area
from mes.pricing.kernel.wall_tree import WIDTH, Floats, Ints, Singles

TOUCHING = 1e-6
"""Surfaces nearer than this, as a share of half the model's size, are one: some ten steps of float32."""

MOST_CROSSINGS = 512
"""Surfaces that one line may meet; a line through more of them is not counted."""

LEAVING, ENTERING = 1, -1

_STACK = 128  # more than eight levels of fifteen that wait
_AROUND = np.array([(math.cos(i * math.pi / 3 + 0.2), math.sin(i * math.pi / 3 + 0.2)) for i in range(6)])
_SHRINK, _SMALLEST, _MOST_MOVES = 0.4, 0.01, 16
_BETTER = 1.0 - 1e-4

TreeArrays = tuple[Floats, Ints, Singles, Singles, NDArray[np.int64]]
Line = tuple[Point, Point]
Point32 = tuple[Any, Any, Any]
Frame = tuple[int, int, int, Any, Any]
Scratch = tuple[Floats, Ints, Ints, NDArray[np.int64], Singles]
_TREE = "Tuple((f8[:,::1],i4[:,::1],f4[:,:,::1],f4[:,:,::1],i8[:,::1]))"


# Helpers come first in this file: signatures have the loops compiled where they stand.


@compiled()
def _scratch(corners: Singles) -> Scratch:
    """Room for one line's crossings (distance, face, turn), for the nodes that wait, and for what one test says.

    That last one is as wide as a leaf, by a number that LLVM cannot see: else it unrolls the tests' loops and makes no
    vector instructions of them, which take a sixth of the time.
    """
    return (
        np.empty(MOST_CROSSINGS, np.float64),
        np.empty(MOST_CROSSINGS, np.int32),
        np.empty(MOST_CROSSINGS, np.int32),
        np.empty(_STACK, np.int64),
        np.empty(corners.shape[2], np.float32),
    )


@compiled()
def _side(px: Any, py: Any, qx: Any, qy: Any) -> Any:  # noqa: ANN401 - float32
    """Above 0 where the line, seen end on as the origin, lies to the left of the edge from p to q.

    Where it meets the edge, as if it stood (e, e squared) beside it for an e beyond all measure (Edelsbrunner and
    Muecke, "Simulation of simplicity", ACM TOG 1990): of the faces around an edge or a corner, just those are met that
    would be there. Both faces of an edge compute the same products, so neither rounding nor luck tells them apart.
    """
    area = px * qy - py * qx
    beside = qx - px if py == qy else py - qy
    return beside if area == 0 else area


@compiled()
def _sides(corners: Singles, start: Point32, frame: Frame, sides: Singles) -> None:
    """Which of a leaf's triangles a line meets: 1 where it sees them counter-clockwise, -1 clockwise, 0 elsewhere.

    The test of Woop, Benthin and Wald, "Watertight ray/triangle intersection", JCGT 2013, on vector instructions:
    LLVM makes them only if it cannot see the loop's bound: see `_scratch`.
    """
    kx, ky, kz, sx, sy = frame
    x0, y0, z0 = start[kx], start[ky], start[kz]
    for lane in range(len(sides)):
        az, bz, cz = corners[kz, lane] - z0, corners[kz + 3, lane] - z0, corners[kz + 6, lane] - z0
        ax, ay = corners[kx, lane] - x0 - sx * az, corners[ky, lane] - y0 - sy * az
        bx, by = corners[kx + 3, lane] - x0 - sx * bz, corners[ky + 3, lane] - y0 - sy * bz
        cx, cy = corners[kx + 6, lane] - x0 - sx * cz, corners[ky + 6, lane] - y0 - sy * cz
        ab, bc, ca = _side(ax, ay, bx, by), _side(bx, by, cx, cy), _side(cx, cy, ax, ay)
        low, high = min(ab, bc, ca), max(ab, bc, ca)
        sides[lane] = (np.float32(1) if low > 0 else np.float32(0)) - (np.float32(1) if high < 0 else np.float32(0))


@compiled()
def _distance(points: Floats, triangles: Ints, face: int, start: Point, direction: Point) -> float:
    """How far along a line its crossing with a face lies, to all digits; between the corners, even of a sliver."""
    x, y, z, _ = normal_and_area(points, triangles, face)
    slope = x * direction[0] + y * direction[1] + z * direction[2]
    nearest, farthest, height = np.inf, -np.inf, 0.0
    for number in range(3):
        px, py, pz = corner(points, triangles, face, number)
        px, py, pz = px - start[0], py - start[1], pz - start[2]
        along = px * direction[0] + py * direction[1] + pz * direction[2]
        nearest, farthest = min(nearest, along), max(farthest, along)
        height = px * x + py * y + pz * z
    distance = height / slope if slope != 0.0 else nearest
    return min(max(distance, nearest), farthest)


@compiled()
def _depths(box: Singles, start: Point32, slope: Point32, depths: Singles) -> None:
    """How far a line runs within each of a node's boxes, negative where it misses; float32, as their padding allows."""
    sx, sy, sz = start
    ix, iy, iz = slope
    for child in range(len(depths)):
        x0, x1 = (box[0, child] - sx) * ix, (box[3, child] - sx) * ix
        y0, y1 = (box[1, child] - sy) * iy, (box[4, child] - sy) * iy
        z0, z1 = (box[2, child] - sz) * iz, (box[5, child] - sz) * iz
        near = max(min(x0, x1), min(y0, y1), min(z0, z1))
        depths[child] = min(max(x0, x1), max(y0, y1), max(z0, z1)) - near


@compiled()
def _frame(direction: Point) -> Frame:
    """The axes, the one along the line last, and how the others are sheared so that the line is that axis."""
    x, y, z = abs(direction[0]), abs(direction[1]), abs(direction[2])
    kz = 0 if x >= y and x >= z else (1 if y >= z else 2)
    kx, ky = (kz + 1) % 3, (kz + 2) % 3
    return kx, ky, kz, np.float32(direction[kx] / direction[kz]), np.float32(direction[ky] / direction[kz])


@compiled()
def _slope(component: float) -> Any:  # noqa: ANN401 - float32
    """Inverse of a direction's component, finite for those of next to nothing."""
    return np.float32(1.0 / component) if abs(component) > 1e-15 else np.float32(1e15)  # noqa: PLR2004


@compiled()
def _sorted_in(at: Floats, faces: Ints, turns: Ints, count: int) -> None:
    """Bring the last of `count` crossings to its place among those before it, by distance."""
    distance, face, turn = at[count - 1], faces[count - 1], turns[count - 1]
    place = count - 1
    while place > 0 and at[place - 1] > distance:
        at[place], faces[place], turns[place] = at[place - 1], faces[place - 1], turns[place - 1]
        place -= 1
    at[place], faces[place], turns[place] = distance, face, turn


@compiled()
def _cross(tree: TreeArrays, start: Point, direction: Point, scratch: Scratch) -> tuple[int, int]:
    """Find all crossings of the endless line through a point, in order: how many, and the nodes that were looked at."""
    points, triangles, corners, boxes, levels = tree
    at, faces, turns, waiting, marks = scratch
    start32 = (np.float32(start[0]), np.float32(start[1]), np.float32(start[2]))
    slope32 = (_slope(direction[0]), _slope(direction[1]), _slope(direction[2]))
    frame = _frame(direction)
    along = direction[frame[2]] > 0.0
    count, nodes, depth = 0, 0, 1
    waiting[0] = len(levels) - 1
    while depth > 0:
        depth -= 1
        nodes += 1
        level, node = waiting[depth] & 15, waiting[depth] >> 4
        first = node * WIDTH
        if level > 0:
            _depths(boxes[levels[level, 0] + node], start32, slope32, marks)
            for child in range(first, min(first + WIDTH, levels[level - 1, 1])):
                if marks[child - first] >= 0.0:
                    waiting[depth] = child << 4 | (level - 1)
                    depth += 1
            continue
        _sides(corners[node], start32, frame, marks)
        for face in range(first, min(first + WIDTH, len(triangles))):
            side = marks[face - first]
            if side != 0.0 and count < MOST_CROSSINGS:
                at[count] = _distance(points, triangles, face, start, direction)
                faces[count], turns[count] = face, LEAVING if (side > 0.0) == along else ENTERING
                count += 1
                _sorted_in(at, faces, turns, count)
    return count, nodes


@compiled()
def _exit(at: Floats, turns: Ints, count: int) -> int:
    """Which crossing ends the material that begins at distance 0; -1 if none does, or it lies within other material.

    Counts how many bodies the line is in: overlapping ones are one piece, and so are those that touch. Crossings at 0,
    of the face itself and of what coincides with it, are left out on both sides.
    """
    outside, place = 0, 0
    while place < count and at[place] < -TOUCHING:
        outside -= turns[place]
        place += 1
    if outside > 0:
        return -1
    behind, depth = place, 1
    while place < count and at[place] <= TOUCHING:
        place += 1
    while place < count:
        depth -= turns[place]
        place += 1
        goes_on = place < count and turns[place] == ENTERING and at[place] - at[place - 1] <= TOUCHING
        if depth <= 0 and not goes_on:
            return place - 1
    return _exit_of_turned(turns, behind, outside)


@compiled()
def _exit_of_turned(turns: Ints, behind: int, outside: int) -> int:
    """The same for a body turned inside out, whose material lies where its faces look."""
    place = behind
    while place > 0 and outside < 0:
        place -= 1
        outside += turns[place]
        if outside == 0:
            return place
    return -1


@compiled()
def _thickness(tree: TreeArrays, start: Point, outward: Point, scratch: Scratch) -> tuple[float, float, int]:
    """How far the material reaches from a point of the surface, and the cosine between the normals at both ends.

    0 and 1 where no end was found; third, the nodes that were looked at.
    """
    inward = (-outward[0], -outward[1], -outward[2])
    count, nodes = _cross(tree, start, inward, scratch)
    found = _exit(scratch[0], scratch[2], count) if count < MOST_CROSSINGS else -1
    if found < 0:
        return 0.0, 1.0, nodes
    x, y, z, _ = normal_and_area(tree[0], tree[1], scratch[1][found])
    return abs(scratch[0][found]), x * outward[0] + y * outward[1] + z * outward[2], nodes


@compiled()
def _aside(normal: Point, radius: float, number: int) -> Point:
    """A step of a length square to a normal, in one of six directions (the basis of Duff et al., JCGT 2017)."""
    x, y, z = normal
    sign = math.copysign(1.0, z)
    a = -1.0 / (sign + z)
    b = x * y * a
    u, v = radius * _AROUND[number, 0], radius * _AROUND[number, 1]
    return (
        u * (1.0 + sign * x * x * a) + v * b,
        u * sign * b + v * (sign + y * y * a),
        -u * sign * x - v * y,
    )


@compiled()
def _land(tree: TreeArrays, beside: Point, outward: Point, reach: float, scratch: Scratch) -> int:
    """The crossing where the surface nearest to a point, along a direction, begins; -1 for none within reach."""
    count, _ = _cross(tree, beside, (-outward[0], -outward[1], -outward[2]), scratch)
    nearest = -1
    for place in range(count):
        distance = abs(scratch[0][place])
        if scratch[2][place] == ENTERING and distance <= reach:
            nearest, reach = place, distance
    return nearest


@compiled()
def _beside(tree: TreeArrays, start: Point, normal: Point, aside: Point, reach: float, scratch: Scratch) -> Any:  # noqa: ANN401 - three of different types
    """The surface's point next to one of its points, its normal, and whether there is one within reach."""
    x, y, z = start[0] + aside[0], start[1] + aside[1], start[2] + aside[2]
    landed = _land(tree, (x, y, z), normal, reach, scratch)
    if landed < 0:
        return start, normal, False
    distance = scratch[0][landed]
    nx, ny, nz, _ = normal_and_area(tree[0], tree[1], scratch[1][landed])
    return (x - distance * normal[0], y - distance * normal[1], z - distance * normal[2]), (nx, ny, nz), True


@compiled()
def _thinner_beside(
    tree: TreeArrays, point: Point, normal: Point, thickness: float, reach: float, opposite: float, scratch: Scratch
) -> tuple[float, Point, Point]:
    """The thinnest of six places around a point, or that point: thickness, place, normal."""
    best, where, facing = thickness, point, normal
    for number in range(len(_AROUND)):
        there, upright, landed = _beside(tree, point, normal, _aside(normal, reach, number), reach, scratch)
        if landed:
            found, cosine, _ = _thickness(tree, there, upright, scratch)
            if 0.0 < found < best * _BETTER and cosine <= opposite:
                best, where, facing = found, there, upright
    return best, where, facing


@compiled(f"i8({_TREE},f8[:,::1],f8[:,::1],f8[::1],f8[::1],i8,i8)")
def shoot(
    tree: TreeArrays, at: Floats, normals: Floats, thickness: Floats, cosine: Floats, start: int, stop: int
) -> int:
    """Fill in the thickness at points of the surface (N,) and the cosine between the normals at both ends (N,).

    Thickness 0 where the ray left no material. Returns how many nodes of the tree were looked at.
    """
    scratch = _scratch(tree[2])
    nodes = 0
    for i in range(start, stop):
        point, normal = (at[i, 0], at[i, 1], at[i, 2]), (normals[i, 0], normals[i, 1], normals[i, 2])
        thickness[i], cosine[i], seen = _thickness(tree, point, normal, scratch)
        nodes += seen
    return nodes


@compiled(f"void({_TREE},f8[:,::1],f8[:,::1],f8[::1],f8,f8,i8,i8)")
def descend(
    tree: TreeArrays,
    at: Floats,
    normals: Floats,
    thickness: Floats,
    opposite: float,
    radius: float,
    start: int,
    stop: int,
) -> None:
    """Move each point (N,) over the surface to where the wall is thinnest nearby.

    A pattern search (Hooke and Jeeves, J. ACM 1961): six rays around the best place so far, at a distance that shrinks
    when none is better. It keeps to walls whose normals' cosine is at most `opposite`.
    """
    scratch = _scratch(tree[2])
    for i in range(start, stop):
        point, normal = (at[i, 0], at[i, 1], at[i, 2]), (normals[i, 0], normals[i, 1], normals[i, 2])
        reach, moves = radius, 0
        while reach > radius * _SMALLEST and moves < _MOST_MOVES:
            moves += 1
            found, point, normal = _thinner_beside(tree, point, normal, thickness[i], reach, opposite, scratch)
            if found == thickness[i]:
                reach *= _SHRINK
            thickness[i] = found
        for axis in range(3):
            at[i, axis], normals[i, axis] = point[axis], normal[axis]
