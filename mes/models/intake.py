"""Takes the models that orders name into the store, measured once each; what cannot be used is kept with its reason."""

import hashlib
import re
from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

from sqlalchemy import Connection, text

from mes.errors import MesError
from mes.models import measuring, pending, sandbox
from mes.models.errors import UnreadableModel
from mes.models.paths import MissingModel, OutsideModelRoot, resolve_model
from mes.models.sandbox import Analysis, Limits
from mes.models.store import ObjectStore
from mes.pricing import geometry_store
from mes.pricing.geometry import KERNEL_VERSION

_SHA256 = re.compile("[0-9a-f]{64}")
_ADVICE = {
    "missing_model": "Put the file below the model root, or have the order's model corrected; then load again.",
    "outside_model_root": "A model's path must lead below the model root: have the order's model corrected.",
}
_REPAIR = "Ask the customer for a sound file (or repair it), put it in the place of this one, then load again."
Progress = Callable[[str, int, int], None]


@dataclass(frozen=True)
class TakenIn:
    """What one pass did: names looked at, models that were new, and names that cannot be used."""

    names: int
    new: int
    unusable: int


def names_wanted(conn: Connection) -> list[str]:
    """The models named by landed orders that were not applied yet."""
    rows = conn.execute(
        text("""
            select distinct item ->> 'model' as model
            from (select items from raw.shop_orders where applied_at is null
                  union all select items from raw.crm_orders where applied_at is null) as orders
            cross join lateral jsonb_array_elements(items) as item
            order by model
        """)
    )
    return [str(name) for (name,) in rows]


def take_in(
    conn: Connection,
    names: Iterable[str],
    *,
    store: ObjectStore,
    root: Path,
    limits: Limits,
    progress: Progress = lambda _what, _done, _of: None,
) -> TakenIn:
    """Resolve `names` (paths below `root`, or ids), store and measure what is new, and say what cannot be used."""
    measured = _measured(conn)
    models: dict[str, str] = {}
    files: dict[str, Path] = {}
    faults: dict[str, MesError] = {}
    for name in names:
        try:
            models[name], file = _resolve(root, name, measured)
        except (OutsideModelRoot, MissingModel) as fault:
            faults[name] = fault
        else:
            if file is not None and models[name] not in measured:
                files[models[name]] = file
    measuring.await_turns(conn, files)
    for model_id in files.keys() & _measured(conn, files):  # while we waited
        del files[model_id]
    unreadable = _measure(conn, store, files, limits, progress)
    faults |= {name: unreadable[model_id] for name, model_id in models.items() if model_id in unreadable}
    _remember(conn, models, faults)
    return TakenIn(names=len(models.keys() | faults.keys()), new=len(files) - len(unreadable), unusable=len(faults))


def put_objects(store: ObjectStore, file: Path, analysis: Analysis) -> None:
    """Store a model's bytes and picture; before its rows, which must never name an object that is not there."""
    store.put_model(file)
    store.put_picture(analysis.sha256, analysis.picture_png)


def record(conn: Connection, analysis: Analysis, file_name: str) -> None:
    """Keep what is known of a model whose objects are stored, for all who wait for it; known measures stay."""
    conn.execute(
        text("""
            insert into ops.models (model_id, bytes, format, file_name)
            values (:model_id, :bytes, :format, :file_name)
            on conflict do nothing
        """),
        {
            "model_id": analysis.sha256,
            "bytes": analysis.bytes,
            "format": analysis.format,
            "file_name": file_name,
        },
    )
    geometry_store.keep(conn, analysis.sha256, analysis.geometry)
    pending.fulfil(conn, analysis.sha256)


def _resolve(root: Path, name: str, measured: Collection[str]) -> tuple[str, Path | None]:
    if _SHA256.fullmatch(name):
        if name not in measured:
            raise MissingModel("No model with this id was uploaded.", model=name)
        return name, None
    file = resolve_model(root, name)
    with file.open("rb") as content:
        return hashlib.file_digest(content, "sha256").hexdigest(), file


def _measure(
    conn: Connection, store: ObjectStore, files: Mapping[str, Path], limits: Limits, progress: Progress
) -> dict[str, UnreadableModel]:
    unreadable: dict[str, UnreadableModel] = {}
    expected = {file: model_id for model_id, file in files.items()}
    for done, (file, result) in enumerate(sandbox.analyse_many(files.values(), limits), start=1):
        progress(file.name, done, len(files))
        if isinstance(result, UnreadableModel):
            unreadable[expected[file]] = result
        elif result.sha256 != expected[file]:
            unreadable[expected[file]] = UnreadableModel("The file changed while it was read; load again.")
        else:
            put_objects(store, file, result)
            record(conn, result, file.name)
    return unreadable


def _measured(conn: Connection, among: Iterable[str] | None = None) -> set[str]:
    """The models that today's kernel has measured, of all or `among` these."""
    rows = conn.execute(
        text("""
            select model_id from ops.geometries
            where kernel_version = :kernel and (cast(:among as text[]) is null or model_id = any(:among))
        """),
        {"kernel": KERNEL_VERSION, "among": list(among) if among is not None else None},
    )
    return {str(model_id) for (model_id,) in rows}


def _remember(conn: Connection, models: Mapping[str, str], faults: Mapping[str, MesError]) -> None:
    rows = [
        {
            "model": name,
            "model_id": None if fault else models[name],
            "kind": _kind(fault) if fault else None,
            "reason": str(fault) if fault else None,
            "advice": _ADVICE.get(_kind(fault), _REPAIR) if fault else None,
        }
        for name in models.keys() | faults.keys()
        for fault in (faults.get(name),)
    ]
    if rows:
        conn.execute(
            text("""
                insert into raw.model_files (model, model_id, kind, reason, advice)
                values (:model, :model_id, :kind, :reason, :advice)
                on conflict (model) do update set
                    model_id = excluded.model_id, kind = excluded.kind, reason = excluded.reason,
                    advice = excluded.advice, checked_at = now()
            """),
            rows,
        )


def _kind(fault: MesError) -> str:
    return fault.code if fault.code in _ADVICE else "unreadable_model"
