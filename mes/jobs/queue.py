"""Puts jobs into the queue in the caller's transaction: what was committed is done, what was rolled back never was."""

import json
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from uuid import UUID

from sqlalchemy import Connection, text

from mes.jobs.names import (
    MEASURE_MODEL,
    MEASURING_QUEUE,
    PRICE_ORDER,
    PRICE_QUOTE,
    PRICING_QUEUE,
    Priority,
    model_lock,
)

COUNTED = 1_000
"""Jobs ahead are counted up to so many: whoever asks again every second must not read a whole backlog."""


class State(StrEnum):
    """What is being done about something that waits."""

    QUEUED = "queued"
    MEASURING = "measuring"


@dataclass(frozen=True, slots=True)
class Progress:
    """How far something is: `ahead` jobs go first (`COUNTED` or more when it says so), and `since` when it is so."""

    state: State
    ahead: int
    since: datetime


_DEFER = text("""
    select procrastinate_defer_jobs_v1(array[row(
        cast(:queue as text), cast(:task as text), cast(:priority as integer), cast(:lock as text), null,
        cast(:args as jsonb), null
    )::procrastinate_job_to_defer_v1])
""")
# `lock` is unique among the jobs that run, and indexed so
_STANDING = text("""
    with first as (
        select args, row_number() over (order by priority desc, id) - 1 as ahead
        from (
            select args, priority, id from procrastinate_jobs
            where status = 'todo' and queue_name = :queue and priority >= :priority
            order by priority desc, id limit :counted
        ) as jobs
    )
    select
        exists (select from procrastinate_jobs where status = 'doing' and lock = :lock) as running,
        (select min(ahead) from first where args @> cast(:args as jsonb)) as ahead,
        (select count(*) from first) as counted
""")


def price_order(conn: Connection, order_id: UUID) -> None:
    """Have an order priced; a job more than is needed finds it priced and does nothing."""
    job = _Job(PRICING_QUEUE, PRICE_ORDER, Priority.ORDER, f"order:{order_id}", {"order_id": str(order_id)})
    job.defer(conn)


def price_quote(conn: Connection, quote_id: UUID, model_id: str) -> None:
    """Have a quote priced that somebody waits for, its model measured before if need be."""
    args = {"quote_id": str(quote_id)}
    _Job(MEASURING_QUEUE, PRICE_QUOTE, Priority.WAITING, model_lock(model_id), args).defer(conn)


def measure_model(conn: Connection, model_id: str, priority: Priority = Priority.WAITING) -> None:
    """Have a stored model measured by the kernel of today; a job more than is needed finds it measured."""
    args = {"model_id": model_id}
    _Job(MEASURING_QUEUE, MEASURE_MODEL, priority, model_lock(model_id), args).defer(conn)


def progress(conn: Connection, args: dict[str, str], model_id: str, since: datetime) -> Progress:
    """How far the job with these arguments is, for whoever waits for it.

    Args:
        conn: a transaction.
        args: of the job.
        model_id: what it measures.
        since: from when on it waits.
    """
    row = conn.execute(
        _STANDING,
        {
            "queue": MEASURING_QUEUE,
            "priority": Priority.WAITING.value,
            "counted": COUNTED,
            "lock": model_lock(model_id),
            "args": json.dumps(args),
        },
    ).one()
    if row.running:
        return Progress(State.MEASURING, 0, since)
    beyond = COUNTED if row.counted == COUNTED else 0  # or it is just being taken
    return Progress(State.QUEUED, row.ahead if row.ahead is not None else beyond, since)


@dataclass(frozen=True, slots=True)
class _Job:
    queue: str
    task: str
    priority: Priority
    lock: str
    args: dict[str, str]

    def defer(self, conn: Connection) -> None:
        values = {"queue": self.queue, "task": self.task, "priority": self.priority.value, "lock": self.lock}
        conn.execute(_DEFER, values | {"args": json.dumps(self.args)})
