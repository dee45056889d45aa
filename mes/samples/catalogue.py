"""The generated shop's models: what customers send, from a plain band to a file with a hole."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np

from mes.samples import mesh_files, meshes
from mes.samples.meshes import Body

# inner diameters of the usual ring sizes, mm (ISO 8653: circumference / pi, sizes 50 to 60)
RING_DIAMETERS_MM = (15.9, 16.6, 17.2, 17.8, 18.5, 19.1)
QUARTER_TURN = np.pi / 2


@dataclass(frozen=True)
class SampleModel:
    """One file of the model root: `path` below it, and how often customers order it, relative to the others."""

    path: str
    popularity: float
    bodies: tuple[Body, ...]
    form: mesh_files.Format
    unit: mesh_files.Unit = "millimeter"

    @cached_property
    def longest_side_mm(self) -> float:
        """Longest side as drawn."""
        return meshes.longest_side_mm(self.bodies)

    @cached_property
    def volume_mm3(self) -> float:
        """Sum of the bodies' volumes; where they overlap, a little more than the metal."""
        return sum(body.volume_mm3 for body in self.bodies)

    @property
    def triangles(self) -> int:
        """Number of triangles."""
        return sum(len(body.faces) for body in self.bodies)

    def write(self, root: Path) -> None:
        """Write the file below `root`."""
        target = root / self.path
        target.parent.mkdir(parents=True, exist_ok=True)
        mesh_files.write(target, self.bodies, self.form, self.unit)


def sample_models(seed: int) -> tuple[SampleModel, ...]:
    """All models, sizes drawn from `seed`; every one is closed but `pendants/locket_open.stl`."""
    rng = np.random.default_rng([seed, 1])
    return (*_rings(rng), *_pendants(rng), *_bracelets(rng))


def _rings(rng: np.random.Generator) -> Sequence[SampleModel]:
    sizes = iter(rng.choice(RING_DIAMETERS_MM, size=8).tolist())
    fine = meshes.band(next(sizes), 1.8, 0.7, segments=128, points=18)  # too thin for silver, not for gold
    return (
        SampleModel("rings/plain_band.stl", 10, (meshes.band(next(sizes), 5.0, 1.8),), "stl"),
        SampleModel("rings/stacking_band_fine.ply", 3, (fine,), "ply"),
        SampleModel("rings/comfort_band_inches.3mf", 5, (meshes.band(next(sizes), 4.0, 2.0),), "3mf", "inch"),
        SampleModel("rings/solitaire_bezel.stl", 9, _solitaire(next(sizes), stone_mm=5.0), "stl"),
        SampleModel("rings/signet_oval.obj", 6, _signet(next(sizes), meshes.circle(128)), "obj"),
        SampleModel("rings/signet_cushion.3mf", 4, _signet(next(sizes), meshes.cushion()), "3mf"),
        SampleModel("rings/rope.ply", 5, _rope(next(sizes)), "ply"),
        SampleModel("rings/pave_eternity.stl", 7, _pave(next(sizes)), "stl"),
    )


def _pendants(rng: np.random.Generator) -> Sequence[SampleModel]:
    width, radius = rng.uniform(14, 20), rng.uniform(8, 12)
    heart = meshes.plate(meshes.heart(width), 2.2, dome_mm=1.2)
    star = meshes.plate(meshes.star(radius), 2.0, dome_mm=1.6)
    locket = meshes.plate(meshes.circle(96) * 9.0, 2.4, dome_mm=2.0).without((4.0, 0.0, 4.0), 2.0)
    return (
        SampleModel("pendants/medallion.stl", 6, _medallion(rng.uniform(9, 13)), "stl_text"),
        SampleModel("pendants/heart.obj", 8, (heart, _bail(0.22 * width)), "obj"),
        SampleModel("pendants/star.3mf", 4, (star.rotated(2, QUARTER_TURN), _bail(radius)), "3mf"),
        SampleModel("pendants/locket_open.stl", 0.8, (locket, _bail(9.0)), "stl"),
    )


def _bracelets(rng: np.random.Generator) -> Sequence[SampleModel]:
    bangle = meshes.twisted_band(rng.uniform(29, 33), (2.6, 1.6), turns=12)
    hoop = (meshes.torus(11.0, 0.9, segments=160), *_beads(11.9, 0.75, count=24, height_mm=0.0))
    return (
        SampleModel("bracelets/chain.ply", 3, _chain(links=36), "ply"),
        SampleModel("bracelets/bangle_twisted.obj", 3, (bangle,), "obj"),
        SampleModel("earrings/hoop_beaded.stl", 5, hoop, "stl"),
    )


def _solitaire(diameter_mm: float, stone_mm: float) -> tuple[Body, ...]:
    cup = meshes.bezel_cup(stone_mm / 2 + 0.8, height_mm=3.6, wall_mm=0.8)
    return meshes.band(diameter_mm, 2.6, 1.9), cup.rotated(1, QUARTER_TURN).moved(x=diameter_mm / 2 + 0.9)


def _signet(diameter_mm: float, outline: meshes.FloatArray) -> tuple[Body, ...]:
    table = meshes.plate(outline * np.array([5.0, 6.0]), 2.0, bevel=0.1)
    shank = meshes.signet_band(diameter_mm, width_mm=(3.5, 9.0), thickness_mm=(1.6, 2.6))
    return shank, table.rotated(1, QUARTER_TURN).moved(x=diameter_mm / 2 + 1.2)


def _rope(diameter_mm: float) -> tuple[Body, ...]:
    phases = (0.0, 2 * np.pi / 3, 4 * np.pi / 3)
    return tuple(meshes.rope_strand(diameter_mm / 2 + 1.7, 0.9, turns=14, phase_rad=phase) for phase in phases)


def _pave(diameter_mm: float) -> tuple[Body, ...]:
    radius = diameter_mm / 2 + 2.0
    rows = [_beads(radius, 0.8, count=40, height_mm=height) for height in (-1.1, 1.1)]
    return meshes.band(diameter_mm, 4.6, 2.0), *rows[0], *rows[1]


def _medallion(radius_mm: float) -> tuple[Body, ...]:
    disc = meshes.plate(meshes.circle(96) * radius_mm, 1.6, bevel=0.05)
    rim = meshes.torus(radius_mm * 0.9, 0.6, segments=72, points=12).moved(z=1.6)
    return disc, rim, _bail(radius_mm)


def _bail(top_mm: float) -> Body:
    """The ring that a chain runs through, sunk a little into a pendant whose upper edge is at y = `top_mm`."""
    return meshes.torus(2.2, 0.7, segments=48, points=16).rotated(1, QUARTER_TURN).moved(y=top_mm + 1.6, z=1.0)


def _beads(ring_radius_mm: float, bead_mm: float, count: int, height_mm: float) -> tuple[Body, ...]:
    bead = meshes.sphere(bead_mm).moved(x=ring_radius_mm, z=height_mm)
    return tuple(bead.rotated(2, 2 * np.pi * number / count) for number in range(count))


def _chain(links: int) -> tuple[Body, ...]:
    pitch_mm = 5.6  # a hair less than a link's inner length, so that neighbours interlock without touching
    link = meshes.torus(2.6, 0.7, segments=40, points=16).scaled(x=1.5)
    radius = links * pitch_mm / (2 * np.pi)
    # every other link stands upright; a quarter turn about z lays the link's length along the chain
    return tuple(
        link.rotated(0, QUARTER_TURN * (number % 2))
        .rotated(2, QUARTER_TURN)
        .moved(x=radius)
        .rotated(2, 2 * np.pi * number / links)
        for number in range(links)
    )
