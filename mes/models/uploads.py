"""Knows which models a caller has sent, because a model may be used only by those who have its bytes."""

from dataclasses import dataclass

from sqlalchemy import Connection, text

from mes.callers.model import Caller
from mes.db import query
from mes.models import intake
from mes.models.errors import NoSuchModel
from mes.models.sandbox import Analysis
from mes.pricing import geometry_store
from mes.pricing.findings import Finding, of_geometry
from mes.pricing.geometry import KERNEL_VERSION, Geometry


@dataclass(frozen=True, slots=True)
class UploadedModel:
    """A model as its uploader may see it."""

    model_id: str
    bytes: int
    format: str
    kernel_version: int
    geometry: Geometry

    @property
    def findings(self) -> list[Finding]:
        """What is doubtful about it."""
        return of_geometry(self.geometry)


def is_measured(conn: Connection, model_id: str) -> bool:
    """Whether the bytes with this SHA-256 are stored and measured by the kernel of today."""
    return query.flag(
        conn,
        "select exists (select from ops.geometries where model_id = :model_id and kernel_version = :kernel_version)",
        model_id=model_id,
        kernel_version=KERNEL_VERSION,
    )


def claim(conn: Connection, caller: Caller, model_id: str) -> bool:
    """Remember that the caller sent the bytes of a known model; gives whether that is its first time."""
    claimed = conn.execute(
        text("""
            insert into ops.model_uploads (caller, model_id) values (:caller, :model_id)
            on conflict do nothing returning model_id
        """),
        {"caller": caller.name, "model_id": model_id},
    )
    return claimed.first() is not None


def record(conn: Connection, analysis: Analysis) -> None:
    """Keep what was measured of bytes that are stored, and give it to all who wait for it."""
    intake.record(conn, analysis, f"{analysis.sha256[:12]}.{analysis.format}")


def get(conn: Connection, caller: Caller, model_id: str) -> UploadedModel:
    """A model that the caller has sent.

    Raises:
        NoSuchModel: there is none, or others have sent it, or it is not measured.
    """
    model = get_or_none(conn, caller, model_id)
    if model is None:
        raise NoSuchModel(model_id=model_id)
    return model


def get_or_none(conn: Connection, caller: Caller, model_id: str) -> UploadedModel | None:
    """A model that the caller has sent; None when there is none, or others have sent it, or it is not measured."""
    model = conn.execute(
        text("""
            select bytes, format from ops.models
            where model_id = :model_id and exists (
                select from ops.model_uploads as uploads
                where uploads.caller = :caller and uploads.model_id = models.model_id
            )
        """),
        {"model_id": model_id, "caller": caller.name},
    ).one_or_none()
    stored = geometry_store.newest(conn, model_id) if model is not None else None
    if model is None or stored is None:
        return None
    return UploadedModel(model_id, model.bytes, model.format, stored.kernel_version, stored.geometry)
