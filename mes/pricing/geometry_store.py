"""Keeps what was measured of models, once per model and kernel version."""

from dataclasses import dataclass

from sqlalchemy import Connection, Row, text

from mes.pricing.geometry import Geometry


@dataclass(frozen=True, slots=True)
class StoredGeometry:
    """A model's measures, and the version of the kernel that took them."""

    kernel_version: int
    geometry: Geometry


_SELECT = """
    select kernel_version, triangles, volume_mm3, area_mm2, extent_x_mm, extent_y_mm, extent_z_mm,
        bodies, closed, open_edges, facing, unit
    from ops.geometries where model_id = :model_id
"""


def newest(conn: Connection, model_id: str) -> StoredGeometry | None:
    """The measures by the newest kernel that saw this model; None when none did."""
    rows = conn.execute(text(f"{_SELECT} order by kernel_version desc limit 1"), {"model_id": model_id})
    return _stored(rows.one_or_none())


def of_version(conn: Connection, model_id: str, kernel_version: int) -> StoredGeometry | None:
    """The measures by this version of the kernel; None when it never saw the model."""
    rows = conn.execute(
        text(f"{_SELECT} and kernel_version = :kernel_version"),
        {"model_id": model_id, "kernel_version": kernel_version},
    )
    return _stored(rows.one_or_none())


def _stored(row: Row[tuple[object, ...]] | None) -> StoredGeometry | None:
    if row is None:
        return None
    measures = dict(row._mapping)  # noqa: SLF001 - SQLAlchemy's public name for the row as a mapping
    kernel_version = measures.pop("kernel_version")
    extents = [measures.pop(f"extent_{axis}_mm") for axis in "xyz"]
    return StoredGeometry(kernel_version, Geometry.from_dict(measures | {"extents_mm": extents}))
