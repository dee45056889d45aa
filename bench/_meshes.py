"""Makes the models that benchmarks measure: of a real one where it is at hand, of a generated one where not."""

import os
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mes.models.formats import read_mesh

Floats = NDArray[np.float64]
Faces = NDArray[np.int32]

_BUST = "meshes/classic/nefertiti-lowres.obj"
_TRIANGLE: Any = np.dtype([("normal", "<f4", 3), ("corners", "<f4", (3, 3)), ("attribute", "<u2")])
_HEADER_BYTES = 80
_RING_MM, _WALL_MM = 9.0, 1.5


def large() -> tuple[str, Floats, Faces]:
    """A closed model of 1.1 million triangles: its name, vertices (V, 3) and faces (F, 3).

    The bust of Nefertiti, subdivided twice, from the folder `MES_TEST_DATA`; a ring as large where it is not there.
    """
    bust = Path(os.environ.get("MES_TEST_DATA", "../shared/data")) / _BUST
    if not bust.is_file():
        return ("ring", *ring(748, 748))
    mesh = read_mesh(bust)
    return ("nefertiti", *subdivided(*subdivided(mesh.vertices, mesh.faces)))


def subdivided(vertices: Floats, faces: Faces) -> tuple[Floats, Faces]:
    """Each triangle cut into four at the middles of its sides; the surface stays as it is."""
    sides = np.sort(faces[:, [[0, 1], [1, 2], [2, 0]]].reshape(-1, 2), axis=1)
    unique, place = np.unique(sides, axis=0, return_inverse=True)
    middles = place.reshape(-1, 3).astype(np.int32) + np.int32(len(vertices))
    a, b, c = faces.T
    ab, bc, ca = middles.T
    cut = np.stack([a, ab, ca, ab, b, bc, ca, bc, c, ab, bc, ca], axis=1).reshape(-1, 3)
    return np.concatenate([vertices, vertices[unique].mean(axis=1)]), cut.astype(np.int32)


def ring(around: int, across: int) -> tuple[Floats, Faces]:
    """A torus of 2 x `around` x `across` triangles, with a wave on it so that it is not all the same."""
    u, v = np.meshgrid(np.arange(around), np.arange(across), indexing="ij")
    angle, turn = 2 * np.pi * u.ravel() / around, 2 * np.pi * v.ravel() / across
    wall = _WALL_MM * (1 + 0.1 * np.sin(9 * angle) * np.cos(5 * turn))
    out = _RING_MM + wall * np.cos(turn)
    vertices = np.stack([out * np.cos(angle), out * np.sin(angle), wall * np.sin(turn)], axis=1)
    here, right = (u * across + v).ravel(), ((u + 1) % around * across + v).ravel()
    up, beyond = (u * across + (v + 1) % across).ravel(), ((u + 1) % around * across + (v + 1) % across).ravel()
    faces = np.stack([here, right, beyond, here, beyond, up], axis=1).reshape(-1, 3)
    return vertices, faces.astype(np.int32)


def stl(vertices: Floats, faces: Faces) -> bytearray:
    """A binary STL; `renamed` makes another file of it."""
    triangles = np.zeros(len(faces), _TRIANGLE)
    triangles["corners"] = vertices[faces]
    return bytearray(_HEADER_BYTES) + len(faces).to_bytes(4, "little") + triangles.tobytes()


def renamed(content: bytearray, number: int) -> bytearray:
    """The same model as other bytes, so that nobody has measured it before; changes `content`."""
    content[:_HEADER_BYTES] = f"benchmark {number}".encode().ljust(_HEADER_BYTES)
    return content
