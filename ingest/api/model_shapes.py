"""Shapes the answers about models: what was measured, what is doubtful, and what waits."""

from dataclasses import asdict
from typing import Annotated, Literal, Self

from pydantic import Field

from ingest.api.shape import Shape, Waiting
from mes.models import pending, uploads
from mes.pricing import findings, geometry

Point = Annotated[list[float], Field(min_length=3, max_length=3, description="x, y and z.")]


class Measure(Shape):
    """How large a finding is; `limit` is what it should keep to, where there is one."""

    value: float
    unit: str
    limit: float | None


class Finding(Shape):
    """Something doubtful about a model; with an `error`, its price is a guess and an order waits for a person."""

    kind: str
    severity: findings.Severity
    message: str
    advice: str
    measure: Measure | None
    coordinates: Annotated[
        list[Point], Field(description="Where, some places of it, in the file's own coordinates and unit.")
    ]

    @classmethod
    def of(cls, finding: findings.Finding) -> Self:
        """As found."""
        return cls.model_validate(
            {
                "kind": finding.kind,
                "severity": finding.severity,
                "message": finding.message,
                "advice": finding.advice,
                "measure": asdict(finding.measure) if finding.measure is not None else None,
                "coordinates": [list(place) for place in finding.coordinates],
            }
        )


class SurfaceFault(Shape):
    """Something wrong with a model's surface; `healed` when it was measured as if it were mended."""

    kind: str
    count: Annotated[int, Field(description="Edges, faces or bodies.")]
    places: Annotated[list[Point], Field(description="Some of them, in the file's own coordinates and unit.")]
    size_mm: Annotated[float | None, Field(description="Length of the edges, or the widest gap.")]
    healed: bool


class ThinPlace(Shape):
    """Where a wall is thin, in the file's own coordinates and unit."""

    thickness_mm: float
    at: Point


class Walls(Shape):
    """Wall thickness, weighted by area."""

    thinnest_mm: float
    median_mm: Annotated[float, Field(description="Half of the area has a thinner wall.")]
    distribution: Annotated[
        list[Annotated[list[float], Field(min_length=2, max_length=2)]],
        Field(description="Pairs: a thickness in mm, and the share of the area whose wall is at most so thick."),
    ]
    places: Annotated[list[ThinPlace], Field(description="The thinnest ones, apart from each other.")]
    rays: Annotated[int, Field(description="How many found a wall.")]


class Printing(Shape):
    """How the wax is printed best: with the least height and support."""

    height_mm: float
    support_mm3: Annotated[float, Field(description="Under overhangs, down to what is below them.")]
    overhang_mm2: Annotated[float, Field(description="Area that faces down more steeply than 45 degrees.")]
    up: Annotated[Point, Field(description="Unit vector, in the file's axes, that points up.")]
    layer_areas_mm2: Annotated[list[float], Field(description="Of equally high layers, from the plate up.")]


class Geometry(Shape):
    """What a model measures at its own size, in millimetres; null is what an older `kernel_version` did not measure."""

    kernel_version: int
    triangles: int
    volume_mm3: float
    area_mm2: float
    extents_mm: Annotated[list[float], Field(min_length=3, max_length=3, description="Size in x, y and z.")]
    bodies: int
    closed: bool
    open_edges: int
    facing: Literal["outward", "inward", "mixed"]
    unit: Annotated[str | None, Field(description="The unit that the file states, if it states one.")]
    box_mm: Annotated[
        list[float] | None,
        Field(min_length=3, max_length=3, description="Sides of the smallest box around it, longest first."),
    ]
    hull_mm3: Annotated[float | None, Field(description="Volume of the convex hull.")]
    detail: Annotated[float | None, Field(description="How richly it is shaped: 1 for a sphere, more for more.")]
    printing: Printing | None
    walls: Walls | None
    faults: list[SurfaceFault]

    @classmethod
    def of(cls, geometry: geometry.Geometry, kernel_version: int) -> Self:
        """As measured."""
        measures = geometry.as_dict() | {"kernel_version": kernel_version}
        if geometry.walls is not None:
            measures["walls"] |= {
                "thinnest_mm": geometry.walls.thinnest_mm,
                "median_mm": geometry.walls.median_mm,
            }
        return cls.model_validate(measures)


class UploadAnswer(Shape):
    """A model that is stored and measured."""

    model_id: Annotated[str, Field(description="SHA-256 of the file's bytes.", pattern="^[0-9a-f]{64}$")]
    bytes: int
    format: Literal["stl", "obj", "ply", "3mf"]
    findings: list[Finding]

    @classmethod
    def of(cls, model: uploads.UploadedModel) -> Self:
        """As stored."""
        found = [Finding.of(finding) for finding in model.findings]
        return cls.model_validate(
            {"model_id": model.model_id, "bytes": model.bytes, "format": model.format, "findings": found}
        )


class Model(UploadAnswer):
    """A model with its measures."""

    geometry: Geometry

    @classmethod
    def of(cls, model: uploads.UploadedModel) -> Self:
        """As stored."""
        said = UploadAnswer.of(model).model_dump()
        return cls.model_validate(said | {"geometry": Geometry.of(model.geometry, model.kernel_version)})


class PendingModel(Shape):
    """A model that is stored, and will be measured: ask for it again after `Retry-After` seconds."""

    model_id: Annotated[str, Field(description="SHA-256 of the file's bytes.", pattern="^[0-9a-f]{64}$")]
    status: Literal["measuring"] = "measuring"
    bytes: int
    progress: Waiting

    @classmethod
    def of(cls, waiting: pending.PendingModel) -> Self:
        """As it stands."""
        return cls(model_id=waiting.model_id, bytes=waiting.bytes, progress=Waiting.of(waiting.progress))
