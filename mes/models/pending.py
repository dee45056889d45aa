"""Remembers who waits for a model that takes longer to measure than a request may, and what became of it."""

import json
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, ClassVar

from sqlalchemy import Connection, Row, text

from mes.callers.model import Caller
from mes.clock import Clock, utc_now
from mes.db import query
from mes.errors import MesError
from mes.jobs import queue
from mes.jobs.queue import Progress, State
from mes.models.errors import BY_CODE, UnreadableModel

REFUSALS_KEPT = timedelta(days=7)
WAITING_MOST = 1_000
"""More models than that, sent by all callers together, are not put off: they would wait for hours."""


class ModelPending(MesError):
    """This model is still being measured: ask for it until it is, then try again."""

    code: ClassVar[str] = "model_pending"
    http_status: ClassVar[int] = 409


@dataclass(frozen=True, slots=True)
class PendingModel:
    """A model that a worker measures, and how far it is."""

    model_id: str
    bytes: int
    progress: Progress


_REMEMBER = text("""
    insert into ops.pending_models as known (model_id, caller, bytes, requested_at)
    values (:model_id, :caller, :bytes, :now)
    on conflict (model_id, caller) do update set
        requested_at = excluded.requested_at, started_at = null, failure = null
    where known.failure is not null
    returning model_id
""")
_FIND = text("""
    select bytes, requested_at, started_at, failure from ops.pending_models
    where model_id = :model_id and caller = :caller
""")
_FULFIL = text("""
    with fulfilled as (
        delete from ops.pending_models where model_id = :model_id returning caller, model_id
    )
    insert into ops.model_uploads (caller, model_id)
    select caller, model_id from fulfilled order by caller
    on conflict do nothing
""")


def remember(conn: Connection, caller: Caller, model_id: str, size: int, *, clock: Clock = utc_now) -> PendingModel:
    """Have a stored model measured by a job, for this caller; sent again meanwhile, it waits as it did.

    Args:
        conn: the caller's transaction, which puts the job into the queue too.
        caller: who sent the model.
        model_id: whose bytes are in the store by now.
        size: their number.
        clock: tells the time.
    """
    values = {"model_id": model_id, "caller": caller.name, "bytes": size, "now": clock()}
    if conn.execute(_REMEMBER, values).first() is not None:
        queue.measure_model(conn, model_id)
    row = conn.execute(_FIND, {"model_id": model_id, "caller": caller.name}).one()
    return _waiting(conn, model_id, row)


def is_awaited(conn: Connection, model_id: str) -> bool:
    """Whether a job is to measure this model already, for whomever."""
    return query.flag(
        conn,
        "select exists (select from ops.pending_models where model_id = :model_id and failure is null)",
        model_id=model_id,
    )


def are_too_many(conn: Connection) -> bool:
    """Whether so many wait that no more should be put off."""
    waiting = "select from ops.pending_models where failure is null limit :most"
    return query.number(conn, f"select count(*) from ({waiting}) as waiting", most=WAITING_MOST) >= WAITING_MOST


def get(conn: Connection, caller: Caller, model_id: str) -> PendingModel | None:
    """The caller's model that waits to be measured; None when he has sent none such, or it is measured.

    Raises:
        UnreadableModel: it was refused; the subclass and the message are those that the upload would have given.
    """
    row = conn.execute(_FIND, {"model_id": model_id, "caller": caller.name}).one_or_none()
    if row is None:
        return None
    if row.failure is not None:
        raise _refusal(row.failure)
    return _waiting(conn, model_id, row)


def require_not_refused(conn: Connection, caller_name: str, model_id: str) -> None:
    """Make sure that the model was not refused to this caller.

    Raises:
        UnreadableModel: it was.
    """
    failure: dict[str, Any] | None = conn.execute(
        text("select failure from ops.pending_models where model_id = :model_id and caller = :caller"),
        {"model_id": model_id, "caller": caller_name},
    ).scalar_one_or_none()
    if failure is not None:
        raise _refusal(failure)


def begin(conn: Connection, model_id: str, at: datetime) -> None:
    """Tell those who wait that the model is being measured since then."""
    conn.execute(
        text("update ops.pending_models set started_at = :at where model_id = :model_id and failure is null"),
        {"model_id": model_id, "at": at},
    )


def fulfil(conn: Connection, model_id: str) -> None:
    """Give a measured model to all who waited for it: from the commit on it is theirs like any that they have sent."""
    conn.execute(_FULFIL, {"model_id": model_id})


def refuse(conn: Connection, model_id: str, fault: MesError) -> None:
    """Keep why a model cannot be used, for all who wait for it."""
    facts = {name: fact for name, fact in fault.facts.items() if isinstance(fact, str | int | float)}
    failure = {"code": fault.code, "detail": fault.message, "facts": facts}
    conn.execute(
        text("""
            update ops.pending_models set failure = cast(:failure as jsonb)
            where model_id = :model_id and failure is null
        """),
        {"model_id": model_id, "failure": json.dumps(failure)},
    )


def purge(conn: Connection, *, clock: Clock = utc_now) -> int:
    """Forget refusals that nobody asked for in time; gives how many."""
    gone = conn.execute(
        text("delete from ops.pending_models where failure is not null and requested_at <= :before"),
        {"before": clock() - REFUSALS_KEPT},
    )
    return gone.rowcount


def _waiting(conn: Connection, model_id: str, row: Row[Any]) -> PendingModel:
    if row.started_at is not None:
        return PendingModel(model_id, row.bytes, Progress(State.MEASURING, 0, row.started_at))
    progress = queue.progress(conn, {"model_id": model_id}, model_id, since=row.requested_at)
    return PendingModel(model_id, row.bytes, progress)


def _refusal(failure: dict[str, Any]) -> UnreadableModel:
    return BY_CODE.get(failure["code"], UnreadableModel)(failure["detail"], **failure["facts"])
