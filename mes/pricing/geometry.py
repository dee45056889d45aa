"""Says what is known of a model's shape: the numbers that prices are made of, once per model and kernel version."""

from bisect import bisect_right
from dataclasses import asdict, dataclass, replace
from typing import Any, Literal

KERNEL_VERSION = 2
"""Raised whenever a number below may come out differently, so that old quotes name what they were computed with."""

Facing = Literal["outward", "inward", "mixed"]
Point = tuple[float, float, float]

FaultKind = Literal[
    "open_edges",
    "non_manifold_edges",
    "inverted_bodies",
    "inconsistent_facing",
    "duplicate_faces",
    "zero_area_faces",
    "hairline_gaps",
    "floating_specks",
]


@dataclass(frozen=True, slots=True)
class Fault:
    """Something wrong with a model's surface.

    Attributes:
        kind: what it is.
        count: how many edges, faces or bodies.
        places: where, some of them, in the file's own coordinates and unit.
        size_mm: how large: length of the edges (mm) or widest gap (mm), where that says something.
        healed: whether the measures were taken as if it were mended, as there is one obvious cure.
    """

    kind: FaultKind
    count: int
    places: tuple[Point, ...] = ()
    size_mm: float | None = None
    healed: bool = False


@dataclass(frozen=True, slots=True)
class ThinPlace:
    """A place where the wall is thin: how thin (mm), and where, in the file's own coordinates and unit."""

    thickness_mm: float
    at: Point


@dataclass(frozen=True, slots=True)
class Walls:
    """Wall thickness, weighted by area, from rays that go inward from the surface until they leave the material.

    Attributes:
        distribution: pairs (thickness in mm, share of the area whose wall is at most so thick); the thickness rises,
            the share never falls. A wall of one thickness is a step: its thickness twice, a billionth apart.
        places: the thinnest places, thinnest first, apart from each other.
        rays: how many found a wall.
    """

    distribution: tuple[tuple[float, float], ...]
    places: tuple[ThinPlace, ...]
    rays: int

    @property
    def thinnest_mm(self) -> float:
        """The thinnest wall that was met."""
        return self.places[0].thickness_mm

    @property
    def median_mm(self) -> float:
        """Half of the area has a thinner wall."""
        return next(thickness for thickness, share in self.distribution if share >= 0.5)  # noqa: PLR2004

    def share_below(self, thickness_mm: float) -> float:
        """Share of the area (0 to 1) whose wall is thinner, straight between the known points."""
        position = bisect_right(self.distribution, (thickness_mm, -1.0))
        if position == 0:
            return 0.0
        low, share = self.distribution[position - 1]
        if position == len(self.distribution):
            return share
        high, more = self.distribution[position]
        return share + (more - share) * (thickness_mm - low) / (high - low)


@dataclass(frozen=True, slots=True)
class Printing:
    """How the wax is printed best: standing on the side of its oriented box that needs the least support and height.

    Attributes:
        height_mm: of the piece as it stands.
        support_mm3: volume under overhangs, down to what is below them.
        overhang_mm2: area that faces down more steeply than 45 degrees and does not stand on the plate.
        up: unit vector, in the file's axes, that points up.
        layer_areas_mm2: area of the piece's cut at the middle of each of equally high layers, from the plate up.
    """

    height_mm: float
    support_mm3: float
    overhang_mm2: float
    up: Point
    layer_areas_mm2: tuple[float, ...]


@dataclass(frozen=True, slots=True)
class Geometry:
    """What a model measures, in millimetres.

    Attributes:
        triangles: number of triangles in the file.
        volume_mm3: enclosed volume, cavities subtracted; only as good as `closed` says.
        area_mm2: area of all triangles.
        extents_mm: size of the axis-aligned box, (x, y, z).
        bodies: groups of triangles that hang together by shared edges.
        closed: every edge has as many triangles in one direction as in the other, after healing.
        open_edges: edges that lack a twin, counted per triangle side, after healing.
        facing: as the file has it: `outward`, `inward` (the whole model is inside out) or `mixed` (some bodies are).
        unit: the unit that the file states, None where it states none and the caller's was used.
        box_mm: sides of the smallest oriented box that was found, longest first.
        hull_mm3: volume of the convex hull.
        detail: total absolute mean curvature / sqrt(4 pi area): 1 for a sphere, at least 1 for what is convex
            (Minkowski's inequality), more for what is richly shaped; None where there is no area.
        printing: how its wax is printed.
        walls: thickness of its walls; None where no ray met one, as in a flat or open model.
        faults: what is wrong with its surface.

    Models measured by kernel 1 have None from `box_mm` on, and no faults.
    """

    triangles: int
    volume_mm3: float
    area_mm2: float
    extents_mm: tuple[float, float, float]
    bodies: int
    closed: bool
    open_edges: int
    facing: Facing
    unit: str | None = None
    box_mm: tuple[float, float, float] | None = None
    hull_mm3: float | None = None
    detail: float | None = None
    printing: Printing | None = None
    walls: Walls | None = None
    faults: tuple[Fault, ...] = ()

    def as_dict(self) -> dict[str, Any]:
        """The measures as plain JSON types."""
        return _plain(asdict(self))  # type: ignore[no-any-return]

    @classmethod
    def from_dict(cls, measures: dict[str, Any]) -> "Geometry":
        """The inverse of `as_dict`; measures that kernel 1 did not take may be missing."""
        known = dict(measures)
        printing, walls = known.pop("printing", None), known.pop("walls", None)
        box = known.pop("box_mm", None)
        return cls(
            **known
            | {
                "extents_mm": _point(known["extents_mm"]),
                "box_mm": _point(box) if box else None,
                "printing": _printing(printing) if printing else None,
                "walls": _walls(walls) if walls else None,
                "faults": tuple(_fault(fault) for fault in known.get("faults", ())),
            }
        )


def scaled(geometry: Geometry, longest_side_mm: float) -> Geometry:
    """The measures of the same model at another size; places stay where they are in the file.

    Args:
        geometry: the model as measured.
        longest_side_mm: the longest side of the box wanted, above 0.

    Raises:
        ValueError: the size is not above 0, or the model has no size to scale.
    """
    longest = max(geometry.extents_mm)
    if not (longest_side_mm > 0 and longest > 0):
        raise ValueError(f"cannot scale a model of {longest} mm to {longest_side_mm} mm")
    ratio = longest_side_mm / longest
    return replace(
        geometry,
        volume_mm3=geometry.volume_mm3 * ratio**3,
        area_mm2=geometry.area_mm2 * ratio**2,
        extents_mm=_times(geometry.extents_mm, ratio),
        box_mm=_times(geometry.box_mm, ratio) if geometry.box_mm else None,
        hull_mm3=geometry.hull_mm3 * ratio**3 if geometry.hull_mm3 is not None else None,
        printing=_scaled_printing(geometry.printing, ratio) if geometry.printing else None,
        walls=_scaled_walls(geometry.walls, ratio) if geometry.walls else None,
        faults=tuple(
            replace(fault, size_mm=fault.size_mm * ratio) if fault.size_mm is not None else fault
            for fault in geometry.faults
        ),
    )


def _scaled_printing(printing: Printing, ratio: float) -> Printing:
    return replace(
        printing,
        height_mm=printing.height_mm * ratio,
        support_mm3=printing.support_mm3 * ratio**3,
        overhang_mm2=printing.overhang_mm2 * ratio**2,
        layer_areas_mm2=tuple(area * ratio**2 for area in printing.layer_areas_mm2),
    )


def _scaled_walls(walls: Walls, ratio: float) -> Walls:
    return replace(
        walls,
        distribution=tuple((thickness * ratio, share) for thickness, share in walls.distribution),
        places=tuple(replace(place, thickness_mm=place.thickness_mm * ratio) for place in walls.places),
    )


def _plain(value: Any) -> Any:  # noqa: ANN401 - any JSON
    """Tuples as lists, as JSON gives them back."""
    if isinstance(value, dict):
        return {name: _plain(part) for name, part in value.items()}
    return [_plain(part) for part in value] if isinstance(value, list | tuple) else value


def _point(numbers: Any) -> Point:  # noqa: ANN401 - any JSON
    x, y, z = numbers
    return x, y, z


def _times(point: Point, ratio: float) -> Point:
    return point[0] * ratio, point[1] * ratio, point[2] * ratio


def _fault(stored: dict[str, Any]) -> Fault:
    return Fault(**stored | {"places": tuple(_point(place) for place in stored["places"])})


def _printing(stored: dict[str, Any]) -> Printing:
    return Printing(**stored | {"up": _point(stored["up"]), "layer_areas_mm2": tuple(stored["layer_areas_mm2"])})


def _walls(stored: dict[str, Any]) -> Walls:
    return Walls(
        distribution=tuple((thickness, share) for thickness, share in stored["distribution"]),
        places=tuple(ThinPlace(place["thickness_mm"], _point(place["at"])) for place in stored["places"]),
        rays=stored["rays"],
    )
