"""Measures stored models again that only an older kernel has measured, from the object store and at any pace."""

import tempfile
from collections.abc import Iterable, Iterator
from pathlib import Path

from sqlalchemy import Connection, text

from mes.errors import MesError
from mes.models import intake, sandbox
from mes.models.sandbox import Analysis, Limits
from mes.models.store import DamagedObject, NoSuchObject, ObjectStore
from mes.pricing.geometry import KERNEL_VERSION

PARTS = tuple("0123456789abcdef")
"""The backlog is cut by the first digit of the models' ids, which are hashes: into parts of equal size."""


def waiting(conn: Connection, part: str) -> list[str]:
    """The models of one part that the kernel of today has not measured, by id."""
    rows = conn.execute(
        text("""
            select model_id from ops.models
            where starts_with(model_id, :part) and not exists (
                select from ops.geometries
                where geometries.model_id = models.model_id and kernel_version >= :kernel_version
            )
            order by model_id
        """),
        {"part": part, "kernel_version": KERNEL_VERSION},
    )
    return [row.model_id for row in rows]


def measure(
    model_ids: Iterable[str], *, store: ObjectStore, limits: Limits
) -> Iterator[tuple[str, Analysis | MesError]]:
    """Fetch and measure models one after the other; yields each with its measures, or why it has none.

    A model that is missing, damaged or refused stops no other. At most a few are on the disk at a time.

    Raises:
        StoreUnavailable: the object store cannot be reached; what was yielded before is good.
    """
    absent: list[tuple[str, MesError]] = []
    with tempfile.TemporaryDirectory(prefix="mes-backlog-") as folder:
        files = _fetched(model_ids, store, Path(folder), absent)
        for file, found in sandbox.analyse_many(files, limits):
            file.unlink()
            yield file.name, found
    yield from absent


def keep(conn: Connection, store: ObjectStore, analysis: Analysis) -> None:
    """Keep new measures, and the picture as it is drawn today; older measures stay, as quotes name them."""
    store.put_picture(analysis.sha256, analysis.picture_png)
    intake.record(conn, analysis, file_name="")


def _fetched(
    model_ids: Iterable[str], store: ObjectStore, folder: Path, absent: list[tuple[str, MesError]]
) -> Iterator[Path]:
    """The models' files, as they are asked for; those that are not there or not whole go to `absent`."""
    for model_id in model_ids:
        file = folder / model_id
        try:
            store.fetch_model(model_id, file)
        except (NoSuchObject, DamagedObject) as fault:
            absent.append((model_id, fault))
        else:
            yield file
