"""Says in words what is doubtful about a model, where and how to mend it, so that a person can decide."""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from enum import StrEnum

from mes.pricing.geometry import Fault, FaultKind, Geometry, Point, Walls, scaled
from mes.pricing.materials import MATERIALS, Material

PLACES = 8
"""As many coordinates are told of one finding."""

SMALLEST_MM, LARGEST_MM = 1.5, 500.0
"""A stud's pin is longer, a collar smaller: what is not between them was saved in another unit, as a rule."""

LIKELY_MM = (4.0, 300.0)
"""What the longest side of a piece is once its unit is put right: from a stud to a necklace laid flat."""

THIN_SHARE = 0.02
"""Share of the area with too thin a wall from which on the piece waits for a person; below, it is an edge or a tip."""

_FACETED = 0.999
"""A round wall of just the least thickness is thinner by so much where it is made of 50 facets or more."""

THIN_WALLS = "thin_walls"


class Severity(StrEnum):
    """How much a finding matters: with an error, the price is a guess or the piece cannot be cast, and it waits."""

    INFO = "info"
    WARNING = "warning"
    ERROR = "error"


@dataclass(frozen=True, slots=True)
class Measure:
    """How large a finding is; `limit` is what it should keep to, where there is one."""

    value: float
    unit: str
    limit: float | None = None


@dataclass(frozen=True, slots=True)
class Finding:
    """One doubtful thing about a model.

    Attributes:
        kind: a stable word for programs.
        severity: how much it matters.
        message: what it is, in words.
        advice: how to mend it.
        measure: how large it is.
        coordinates: where, some places of it, in the file's own coordinates and unit.
    """

    kind: str
    severity: Severity
    message: str
    advice: str
    measure: Measure | None = None
    coordinates: tuple[Point, ...] = ()


@dataclass(frozen=True, slots=True)
class _Words:
    one: str
    many: str
    unit: str
    advice: str
    severity: Severity = Severity.WARNING


_RANK = {Severity.ERROR: 0, Severity.WARNING: 1, Severity.INFO: 2}
_WORDS: dict[FaultKind, _Words] = {
    "open_edges": _Words(
        "An edge is open, so the volume and the price are a guess",
        "{count} edges are open, so the volume and the price are a guess",
        "edges",
        "Close the holes at these places and export the model again.",
        Severity.ERROR,
    ),
    "non_manifold_edges": _Words(
        "An edge is shared by more than two faces",
        "{count} edges are shared by more than two faces",
        "edges",
        "Unite the bodies that touch there, or move them apart.",
    ),
    "inverted_bodies": _Words(
        "A body is turned inside out",
        "{count} bodies are turned inside out",
        "bodies",
        "Flip its faces (recalculate the normals outward).",
    ),
    "inconsistent_facing": _Words(
        "A face looks the other way than its neighbours",
        "{count} faces look the other way than their neighbours",
        "faces",
        "Recalculate the normals so that all faces look outward.",
    ),
    "duplicate_faces": _Words(
        "A face is there twice",
        "{count} faces are there more than once",
        "faces",
        "Remove the doubles.",
    ),
    "zero_area_faces": _Words(
        "A face has no area",
        "{count} faces have no area",
        "faces",
        "Merge the vertices that coincide; nothing else hangs on it.",
        Severity.INFO,
    ),
    "hairline_gaps": _Words(
        "A hairline gap runs between faces that should meet",
        "Hairline gaps run along {count} edges of faces that should meet",
        "edges",
        "Merge the vertices along the gaps.",
    ),
    "floating_specks": _Words(
        "A speck floats beside the piece",
        "{count} specks float beside the piece",
        "bodies",
        "Remove them: they are cast as loose crumbs, or not at all.",
    ),
}
_HEALED = "; measured as if it were mended"
_UNITS = (("centimetres", 10.0), ("inches", 25.4), ("metres", 1000.0))


def of_geometry(geometry: Geometry) -> list[Finding]:
    """What is doubtful about a model, whatever it is cast in, the worst first; empty when nothing is."""
    return _worst_first([*_of_faults(geometry), *_of_size(geometry)])


def of_piece(geometry: Geometry, material: str, longest_side_mm: float | None = None) -> list[Finding]:
    """What is doubtful about a piece of this model in a metal and a size, the worst first.

    Args:
        geometry: of the model, at its own size.
        material: what it is cast in, which says how thin a wall may be.
        longest_side_mm: size of the piece; None for the model's own.
    """
    longest = max(geometry.extents_mm)
    scale = longest_side_mm / longest if longest_side_mm and longest > 0 else 1.0
    piece = replace(geometry, walls=None, printing=None)  # few numbers are left to scale
    piece = scaled(piece, longest_side_mm) if longest_side_mm and longest > 0 else piece
    thin = _thin_walls(geometry.walls, scale, MATERIALS[material]) if geometry.walls is not None else ()
    return _worst_first([*_of_faults(piece), *_of_size(piece), *thin])


def _of_faults(geometry: Geometry) -> Iterator[Finding]:
    for fault in geometry.faults:
        yield _of_fault(fault)
    if not geometry.closed and not any(fault.kind == "open_edges" for fault in geometry.faults):
        yield _of_fault(Fault("open_edges", geometry.open_edges))


def _of_fault(fault: Fault) -> Finding:
    words = _WORDS[fault.kind]
    said = words.one if fault.count == 1 else words.many.format(count=f"{fault.count:,}")
    return Finding(
        kind=fault.kind,
        severity=Severity.INFO if fault.healed else words.severity,
        message=f"{said}{_HEALED if fault.healed else ''}.",
        advice=words.advice,
        measure=Measure(fault.size_mm, "mm") if fault.size_mm is not None else Measure(fault.count, words.unit, 0),
        coordinates=fault.places[:PLACES],
    )


def _of_size(geometry: Geometry) -> Iterator[Finding]:
    """A size that no jewelry has, with the unit that the file was probably saved in."""
    longest = max(geometry.extents_mm)
    if SMALLEST_MM <= longest <= LARGEST_MM:
        return
    guess = ""
    if longest < SMALLEST_MM:
        guess = next((f": {unit}?" for unit, mm in _UNITS if LIKELY_MM[0] <= longest * mm <= LIKELY_MM[1]), ".")
    elif LIKELY_MM[0] <= longest / 1000.0 <= LIKELY_MM[1]:
        guess = ": micrometres?"
    yield Finding(
        kind="unlikely_unit",
        severity=Severity.WARNING,
        message=f"The model is only {longest:.3g} mm long{guess}"
        if longest < SMALLEST_MM
        else f"The model is {longest:,.0f} mm long{guess or ', which no jewelry is.'}",
        advice="Save it in millimetres, or ask for a size with longest_side_mm.",
        measure=Measure(longest, "mm", SMALLEST_MM if longest < SMALLEST_MM else LARGEST_MM),
    )


def _thin_walls(walls: Walls, scale: float, material: Material) -> Iterator[Finding]:
    """What is too thin of a piece that is `scale` times as large as the model."""
    least, thinnest_mm = float(material.min_wall_mm), walls.thinnest_mm * scale
    told = least * _FACETED
    if thinnest_mm >= told:
        return
    share = walls.share_below(told / scale)
    thin = [place for place in walls.places if place.thickness_mm * scale < told]
    yield Finding(
        kind=THIN_WALLS,
        severity=Severity.ERROR if share >= THIN_SHARE else Severity.WARNING,
        message=f"{share:.1%} of the surface has a wall under {least:g} mm, which {material.label} needs to fill the "
        f"mould; the thinnest is {thinnest_mm:.2g} mm.",
        advice=f"Make the walls at least {least:g} mm thick there, or choose a larger size or another metal.",
        measure=Measure(thinnest_mm, "mm", least),
        coordinates=tuple(place.at for place in thin[:PLACES]),
    )


def _worst_first(findings: list[Finding]) -> list[Finding]:
    return sorted(findings, key=lambda finding: _RANK[finding.severity])
