"""Reads 3MF: puts the objects that the build asks for in their places, across the parts of the package."""

from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from mes.models.errors import ModelTooLarge, NotAMesh, UnreadableModel
from mes.models.formats.package import Package, open_package
from mes.models.formats.text import Faces
from mes.models.formats.threemf_model import IDENTITY, MAX_POINTS, MM_PER_UNIT, Instance, Object, Part
from mes.models.formats.threemf_part import read_part
from mes.models.mesh import MAX_TRIANGLES, Floats

MAX_DEPTH = 32
MAX_INSTANCES = 100_000
PIECE_TYPES = {"model", "surface"}
"""Supports are no metal of the piece; `other` may not be built at all."""


@dataclass(slots=True)
class _Scene:
    """The package's parts, read when first needed, and the triangles placed so far."""

    package: Package
    root: str
    parts: dict[str, Part] = field(default_factory=dict)
    points: list[Floats] = field(default_factory=list)
    faces: list[Faces] = field(default_factory=list)
    placed_points: int = 0
    placed_faces: int = 0
    instances: int = 0

    def part(self, name: str) -> Part:
        key = name.lower()
        if key not in self.parts:
            with self.package.part(name) as stream:
                self.parts[key] = read_part(stream)
        return self.parts[key]


def read(path: Path) -> tuple[Floats, Faces, str, float]:
    """Points and faces of everything that a 3MF file builds, in the unit of its root model.

    Only items of the build count; objects of type `support` and `solidsupport` are left out. Specifications: 3MF core
    1.3, production extension 1.1.

    Returns:
        Points, float64 (N, 3), faces, int32 (F, 3), the unit's name, millimetres in that unit.

    Raises:
        UnreadableModel: not a sound 3MF package.
        ModelTooLarge: too many triangles, parts or instances.
        NotAMesh: the build holds no triangles.
    """
    with open_package(path) as package:
        scene = _Scene(package, package.root_model())
        root = scene.part(scene.root)
        for item in root.build:
            found = _find(scene, item, scene.root)
            if found.kind == "other":
                raise UnreadableModel("The build of this 3MF file holds an object of type `other`.")
            if found.kind in PIECE_TYPES:
                _place(scene, item, scene.root, np.eye(4), depth=0)
    if not scene.placed_faces:
        raise NotAMesh(format="3mf", items=len(root.build))
    if len(scene.faces) == 1:  # nearly always, and then no copy is needed
        return scene.points[0], scene.faces[0], root.unit, MM_PER_UNIT[root.unit]
    return np.concatenate(scene.points), np.concatenate(scene.faces), root.unit, MM_PER_UNIT[root.unit]


def _find(scene: _Scene, instance: Instance, part: str) -> Object:
    found = scene.part(instance.path or part).objects.get(instance.object_id)
    if found is None:
        raise UnreadableModel("This 3MF file places an object that it does not define.", id=instance.object_id[:40])
    return found


def _place(scene: _Scene, instance: Instance, part: str, outer: Floats, depth: int) -> None:
    """Add an instance's triangles, and those of its components; `outer` (4, 4) maps to the root's coordinates."""
    scene.instances += 1
    if depth > MAX_DEPTH or scene.instances > MAX_INSTANCES:
        raise ModelTooLarge("The components of this 3MF file are nested too deeply, in a circle, or too many.")
    if instance.path is not None and part.lower() != scene.root.lower():
        raise UnreadableModel("Only the root model of a 3MF file may refer to other parts.", path=instance.path[:200])
    own = instance.path or part
    placed = _find(scene, instance, part)
    if placed.beams:
        raise UnreadableModel("This 3MF file holds a beam lattice, which we do not measure; export it as a mesh.")
    to_root = _matrix(instance.transform) @ outer
    _add(scene, placed, _rescale(scene, own) @ to_root if own != part else to_root)
    for component in placed.components:
        _place(scene, component, own, _rescale(scene, own) @ to_root if own != part else to_root, depth + 1)


def _add(scene: _Scene, placed: Object, matrix: Floats) -> None:
    points, faces = placed.points, placed.faces
    if not len(faces):
        return
    if scene.placed_faces + len(faces) > MAX_TRIANGLES:
        raise ModelTooLarge(triangles=scene.placed_faces + len(faces), most=MAX_TRIANGLES)
    if scene.placed_points + len(points) > MAX_POINTS:
        raise ModelTooLarge("The meshes that this 3MF file places have too many vertices in all.", most=MAX_POINTS)
    if faces.min() < 0 or faces.max() >= len(points):
        raise UnreadableModel("A triangle names a vertex that its mesh does not have.", vertices=len(points))
    if np.linalg.det(matrix[:3, :3]) < 0:
        faces = faces[:, ::-1]  # a mirrored solid keeps its outside outside
    if not np.array_equal(matrix, np.eye(4)):
        with np.errstate(over="ignore", invalid="ignore"):  # what overflows is refused with the coordinates
            points = points @ matrix[:3, :3]
            points += matrix[3, :3]
    scene.points.append(points)
    scene.faces.append(faces + np.int32(scene.placed_points) if scene.placed_points else faces)
    scene.placed_points += len(points)
    scene.placed_faces += len(faces)


def _matrix(transform: Floats) -> Floats:
    """A 4 x 3 transform as a homogeneous one for row vectors.

    Raises:
        UnreadableModel: it flattens what it places.
    """
    if transform is not IDENTITY and np.linalg.matrix_rank(transform[:3]) < 3:  # noqa: PLR2004 - of space
        raise UnreadableModel("A transform of this 3MF file flattens what it places.")
    return np.column_stack((transform, (0.0, 0.0, 0.0, 1.0)))


def _rescale(scene: _Scene, part: str) -> Floats:
    """From a part's unit to the root's: each part states its own."""
    ratio = MM_PER_UNIT[scene.part(part).unit] / MM_PER_UNIT[scene.part(scene.root).unit]
    return np.diag((ratio, ratio, ratio, 1.0))
