"""Solids whose walls are known from their drawing, for the tests of wall thickness."""

import numpy as np

Solid = tuple[np.ndarray, np.ndarray]
"""Vertices float64 (V, 3) in mm, faces int32 (F, 3) counter-clockwise seen from outside."""

SQUARE = np.array([[0, 0], [1, 0], [1, 1], [0, 1]], float)


def solid(vertices, faces) -> Solid:
    return np.asarray(vertices, np.float64).reshape(-1, 3), np.asarray(faces, np.int32).reshape(-1, 3)


def together(*solids: Solid) -> Solid:
    before = np.cumsum([0, *(len(vertices) for vertices, _ in solids)])
    faces = [faces + start for (_, faces), start in zip(solids, before, strict=False)]
    return solid(np.concatenate([vertices for vertices, _ in solids]), np.concatenate(faces))


def turned(body: Solid) -> Solid:
    """Inside out."""
    return body[0], np.ascontiguousarray(body[1][:, ::-1])


def moved(body: Solid, by=(0, 0, 0), rotation=None, scale=1.0) -> Solid:
    vertices = body[0] * scale if rotation is None else body[0] * scale @ rotation.T
    return solid(vertices + np.asarray(by, float), body[1])


def finer(body: Solid, times=1) -> Solid:
    """Each triangle cut into four, as many times; edges' middles are shared."""
    vertices, faces = body
    for _ in range(times):
        edges = np.sort(faces[:, [[0, 1], [1, 2], [2, 0]]].reshape(-1, 2), axis=1)
        unique, index = np.unique(edges, axis=0, return_inverse=True)
        middle = index.reshape(-1, 3) + len(vertices)
        vertices = np.concatenate((vertices, vertices[unique].mean(axis=1)))
        (a, b, c), (ab, bc, ca) = faces.T, middle.T
        faces = np.concatenate([np.column_stack(t) for t in ((a, ab, ca), (ab, b, bc), (ca, bc, c), (ab, bc, ca))])
    return solid(vertices, faces)


def box(x, y, z, at=(0, 0, 0)) -> Solid:
    return prism(SQUARE * (x, y), z, at)


def prism(polygon, height, at=(0, 0, 0)) -> Solid:
    """A prism over a convex polygon (N, 2), counter-clockwise."""
    n = len(polygon)
    low = np.column_stack((np.asarray(polygon, float), np.zeros(n)))
    here, following = np.arange(n), (np.arange(n) + 1) % n
    fan = np.column_stack((np.zeros(n - 2, int), here[1:-1], following[1:-1]))
    sides = np.concatenate(
        (np.column_stack((here, following, following + n)), np.column_stack((here, following + n, here + n)))
    )
    vertices = np.concatenate((low, low + np.array((0, 0, height)))) + np.asarray(at, float)
    return solid(vertices, np.concatenate((fan[:, ::-1], fan + n, sides)))


def cone(base, height, sides=4) -> Solid:
    """A pyramid or cone over a regular polygon of a radius."""
    angle = np.arange(sides) * 2 * np.pi / sides
    rim = np.column_stack((base * np.cos(angle), base * np.sin(angle), np.zeros(sides)))
    here = np.arange(sides)
    flank = np.column_stack((here, (here + 1) % sides, np.full(sides, sides)))
    floor = np.column_stack((np.zeros(sides - 2, int), here[2:], here[1:-1]))
    return solid(np.concatenate((rim, [[0, 0, height]])), np.concatenate((flank, floor)))


def revolved(profile, around=64) -> Solid:
    """A closed profile (N, 2) of radius > 0 and height, counter-clockwise in that plane, turned around the z axis."""
    n, angle = len(profile), np.arange(around) * 2 * np.pi / around
    radius, height = np.asarray(profile, float).T
    vertices = np.stack(
        [
            np.cos(angle)[:, None] * radius,
            np.sin(angle)[:, None] * radius,
            np.broadcast_to(height, (around, n)),
        ],
        axis=-1,
    )
    i, j = np.meshgrid(np.arange(around), np.arange(n), indexing="ij")
    a, b = i * n + j, i * n + (j + 1) % n
    c, d = (i + 1) % around * n + (j + 1) % n, (i + 1) % around * n + j
    faces = np.concatenate([np.stack(t, axis=-1).reshape(-1, 3) for t in ((a, d, c), (a, c, b))])
    return solid(vertices, faces)


def tube(inner, outer, length, around=64) -> Solid:
    return revolved([(inner, 0), (outer, 0), (outer, length), (inner, length)], around)


def torus(ring, thickness, around=64, across=32) -> Solid:
    angle = np.arange(across) * 2 * np.pi / across
    return revolved(np.column_stack((ring + thickness / 2 * np.cos(angle), thickness / 2 * np.sin(angle))), around)


def sphere(radius, fineness=4) -> Solid:
    """From an octahedron; its corners lie on the sphere."""
    corners = np.array([[1, 0, 0], [-1, 0, 0], [0, 1, 0], [0, -1, 0], [0, 0, 1], [0, 0, -1]], float)
    faces = [[0, 2, 4], [2, 1, 4], [1, 3, 4], [3, 0, 4], [2, 0, 5], [1, 2, 5], [3, 1, 5], [0, 3, 5]]
    vertices, faces = finer(solid(corners, faces), fineness)
    return solid(vertices / np.linalg.norm(vertices, axis=1, keepdims=True) * radius, faces)


def bowl(inner, outer, around=64, across=24) -> Solid:
    """Half of a hollow sphere, open at the top, with a rim; a small hole around its axis closes the profile."""
    angle = np.linspace(-np.pi / 2 + 0.02, 0, across)
    outside = np.column_stack((outer * np.cos(angle), outer * np.sin(angle)))
    inside = np.column_stack((inner * np.cos(angle), inner * np.sin(angle)))[::-1]
    return revolved(np.concatenate((outside, inside)), around)


def rotation(quaternion) -> np.ndarray:
    w, x, y, z = np.asarray(quaternion, float) / np.linalg.norm(quaternion)
    return np.array(
        [
            [1 - 2 * (y * y + z * z), 2 * (x * y - z * w), 2 * (x * z + y * w)],
            [2 * (x * y + z * w), 1 - 2 * (x * x + z * z), 2 * (y * z - x * w)],
            [2 * (x * z - y * w), 2 * (y * z + x * w), 1 - 2 * (x * x + y * y)],
        ]
    )
