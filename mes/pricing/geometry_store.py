"""Keeps what was measured of models, once per model and kernel version."""

import json
from dataclasses import dataclass
from functools import lru_cache

from sqlalchemy import Connection, Row, text

from mes.pricing.geometry import KERNEL_VERSION, Geometry


@dataclass(frozen=True, slots=True)
class StoredGeometry:
    """A model's measures, and the version of the kernel that took them."""

    kernel_version: int
    geometry: Geometry


_FIRST_KERNEL = ("triangles", "volume_mm3", "area_mm2", "bodies", "closed", "open_edges", "facing", "unit")
_SELECT = f"""
    select kernel_version, measures, {", ".join(_FIRST_KERNEL)}, extent_x_mm, extent_y_mm, extent_z_mm
    from ops.geometries where model_id = :model_id
"""
_KEEP = text("""
    insert into ops.geometries (
        model_id, kernel_version, triangles, volume_mm3, area_mm2, extent_x_mm, extent_y_mm, extent_z_mm, bodies,
        closed, open_edges, facing, unit, box_length_mm, box_width_mm, box_height_mm, print_height_mm, support_mm3,
        detail, thinnest_mm, measures
    ) values (
        :model_id, :kernel_version, :triangles, :volume_mm3, :area_mm2, :extent_x_mm, :extent_y_mm, :extent_z_mm,
        :bodies, :closed, :open_edges, :facing, :unit, :box_length_mm, :box_width_mm, :box_height_mm, :print_height_mm,
        :support_mm3, :detail, :thinnest_mm, cast(:measures as jsonb)
    )
    on conflict do nothing
""")


def keep(conn: Connection, model_id: str, geometry: Geometry) -> None:
    """Keep the measures that the kernel of today took; what is known already stays as it is."""
    printing = geometry.printing
    conn.execute(
        _KEEP,
        {
            "model_id": model_id,
            "kernel_version": KERNEL_VERSION,
            **{name: getattr(geometry, name) for name in _FIRST_KERNEL},
            **_sides("extent_{}_mm", "xyz", geometry.extents_mm),
            **_sides("box_{}_mm", ("length", "width", "height"), geometry.box_mm or (None, None, None)),
            "print_height_mm": printing.height_mm if printing else None,
            "support_mm3": printing.support_mm3 if printing else None,
            "detail": geometry.detail,
            "thinnest_mm": geometry.walls.thinnest_mm if geometry.walls else None,
            "measures": json.dumps(geometry.as_dict()),
        },
    )


def newest(conn: Connection, model_id: str) -> StoredGeometry | None:
    """The measures by the newest kernel that saw this model; None when none did."""
    rows = conn.execute(text(f"{_SELECT} order by kernel_version desc limit 1"), {"model_id": model_id})
    return stored(rows.one_or_none())


def of_version(conn: Connection, model_id: str, kernel_version: int) -> StoredGeometry | None:
    """The measures by this version of the kernel; None when it never saw the model."""
    rows = conn.execute(
        text(f"{_SELECT} and kernel_version = :kernel_version"),
        {"model_id": model_id, "kernel_version": kernel_version},
    )
    return stored(rows.one_or_none())


@lru_cache(maxsize=256)
def read(kernel_version: int, measures: str) -> StoredGeometry:
    """The measures from the text of the column `measures`; kept, as a customer asks for one price after another."""
    return StoredGeometry(kernel_version, Geometry.from_dict(json.loads(measures)))


def stored(row: Row[tuple[object, ...]] | None) -> StoredGeometry | None:
    """The measures in a row of `ops.geometries`."""
    if row is None:
        return None
    columns = row._mapping  # noqa: SLF001 - SQLAlchemy's public name for the row as a mapping
    measures = columns["measures"] or {
        **{name: columns[name] for name in _FIRST_KERNEL},
        "extents_mm": [columns[f"extent_{axis}_mm"] for axis in "xyz"],
    }
    return StoredGeometry(columns["kernel_version"], Geometry.from_dict(measures))


def _sides(pattern: str, names: "str | tuple[str, ...]", values: "tuple[float | None, ...]") -> dict[str, float | None]:
    return {pattern.format(name): value for name, value in zip(names, values, strict=True)}
