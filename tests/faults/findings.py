"""Compares what was promised outside with what the system has, once it is at rest."""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from nats.js.errors import NotFoundError
from sqlalchemy import Connection, Row, text

from mes.errors import MesError
from mes.events import rebuild
from tests.faults.receiver import TYPES, Receiver
from tests.faults.traffic import Ledger, Life
from tests.faults.world import World
from tests.listed import differences

Figures = dict[str, object]

FAILURES = (
    "orders_lost",
    "orders_unfinished",
    "moves_lost",
    "answers_that_differ",
    "events_lost",
    "events_twice",
    "events_told_twice",
    "out_of_order",
    "version_gaps",
    "list_differences",
    "replay_differences",
    "undecided",
    "webhook_events_lost",
    "webhook_out_of_order",
    "webhook_bad_signatures",
    "models_lost",
)
"""What must be 0."""


def at_rest(world: World, ledger: Ledger, lives: Sequence[Life]) -> bool:
    """Whether nothing is left to do, by what is quickly asked; what the system then has is `found`.

    Raises:
        SQLAlchemyError, NatsError, OSError, TimeoutError: it cannot be asked.
    """
    if len(ledger.orders) < len(lives):
        return False
    with world.engine.begin() as conn:
        told, busy = conn.execute(_TOLD).scalar_one(), conn.execute(_BUSY).scalar_one()
    return not busy and _kept(world) >= told


def found(world: World, ledger: Ledger, lives: Sequence[Life], receiver: Receiver) -> Figures:
    """All that is compared; each figure of `FAILURES` is a number of faults."""
    with world.engine.begin() as conn:
        rows = conn.execute(text("select external_id, order_id, status, version from ops.orders")).all()
        events = conn.execute(_EVENTS).all()
        undecided = conn.execute(_UNDECIDED).scalar_one()
    return {
        **_orders(rows, ledger, lives),
        **_events(rows, events, ledger),
        **_on_bus(world, rows),
        "list_differences": differences(world.engine),
        "replay_differences": _not_as_replayed(world),
        "undecided": undecided,
        **_by_webhook(events, receiver),
        "models_lost": sum(not _is_whole(world, model) for model in ledger.models),
    }


def unfinished(conn: Connection, limit: int = 5) -> list[str]:
    """Some orders that have not come to their end, in words for a person who looks for the reason."""
    rows = conn.execute(_UNFINISHED, {"limit": limit})
    return [str(dict(row._mapping)) for row in rows]


def _kept(world: World) -> int:
    try:
        info = world.bus.ask(lambda js: js.stream_info("MES"))
    except NotFoundError:
        return 0
    return info.state.messages


def _orders(rows: Sequence[Row[Any]], ledger: Ledger, lives: Sequence[Life]) -> Figures:
    known = {row.external_id: row for row in rows}
    ends = {life.number: "CANCELLED" if life.cancelled else "CLOSED" for life in lives}
    return {
        "orders_lost": sum(
            number not in known or known[number].order_id != order_id for number, order_id in ledger.orders.items()
        ),
        "orders_unfinished": sum(row.status != ends[row.external_id] for row in rows),
        "answers_that_differ": len(ledger.disagreements),
    }


def _events(rows: Sequence[Row[Any]], events: Sequence[Row[Any]], ledger: Ledger) -> Figures:
    recorded: dict[object, list[int]] = defaultdict(list)
    applied: dict[str, int] = defaultdict(int)
    for event in events:
        recorded[event.order_id].append(event.sequence)
        if event.source_event_id:
            applied[event.source_event_id] += 1
    happened = {(event.order_id, event.sequence, event.type) for event in events}
    return {
        "moves_lost": len(ledger.moves - happened),
        "events_twice": sum(count - 1 for count in applied.values()),
        "version_gaps": sum(recorded[row.order_id] != list(range(1, row.version + 1)) for row in rows),
    }


def _on_bus(world: World, rows: Sequence[Row[Any]]) -> Figures:
    told: dict[str, list[int]] = defaultdict(list)
    for event in world.bus.events():
        told[event["subject"]].append(int(event["sequence"]))
    expected = {str(row.order_id): range(1, row.version + 1) for row in rows}
    return {
        "events_lost": sum(len(set(numbers) - set(told[order])) for order, numbers in expected.items()),
        "events_told_twice": sum(len(numbers) - len(set(numbers)) for numbers in told.values()),
        "out_of_order": _unsorted(told),
    }


def _by_webhook(events: Sequence[Row[Any]], receiver: Receiver) -> Figures:
    expected: dict[str, list[int]] = defaultdict(list)
    for event in events:
        if f"mes.order.{event.type.lower()}.v1" in TYPES:
            expected[str(event.order_id)].append(event.sequence)
    told = receiver.sequences()
    return {
        "webhook_events": sum(map(len, told.values())),
        "webhook_calls_failed": receiver.failed,
        "webhook_repeats": receiver.repeats(),
        "webhook_events_lost": sum(len(set(numbers) - set(told.get(order, ()))) for order, numbers in expected.items()),
        "webhook_out_of_order": _unsorted(told),
        "webhook_calls_torn": receiver.torn,
        "webhook_bad_signatures": receiver.bad_signatures,
    }


def _unsorted(told: Mapping[str, Sequence[int]]) -> int:
    return sum(list(numbers) != sorted(numbers) for numbers in told.values())


def _not_as_replayed(world: World) -> int:
    """Orders that their events, applied anew from the first one, make otherwise than they are."""
    with rebuild.snapshot(world.engine) as conn:
        return rebuild.compare(conn).different


def _is_whole(world: World, model_id: str) -> bool:
    with TemporaryDirectory() as folder:
        try:
            world.store.fetch_model(model_id, Path(folder) / "model")
        except MesError:
            return False
    return True


_EVENTS = text("select order_id, sequence, type, source_event_id from ops.order_events order by order_id, sequence")
_UNDECIDED = text("select count(*) from ops.inbox where state in ('waiting', 'parked')")
_TOLD = text("select count(*) from ops.outbox")
_BUSY = text("""
    select exists (select from ops.orders where status not in ('CLOSED', 'CANCELLED'))
        or exists (select from ops.inbox where state in ('waiting', 'parked'))
        or exists (select from ops.outbox where position is null)
        or exists (
            select from ops.carriers
            where position < (select position from ops.carriers as numbered where numbered.name = 'outbox')
        )
        or exists (select from ops.webhook_deliveries where state = 'waiting')
        or exists (select from ops.pending_models where failure is null)
        or exists (select from ops.dirty_orders)
""")
_UNFINISHED = text("""
    select external_id, status, held_since, (
        select array_agg(concat_ws(' ', sender, type, state, outcome)) from ops.inbox
        where inbox.source = orders.source and inbox.external_id = orders.external_id
    ) as told, (
        select array_agg(concat_ws(' ', task_name, status, attempts, scheduled_at)) from procrastinate_jobs
        where args ->> 'order_id' = cast(orders.order_id as text)
    ) as jobs
    from ops.orders where status not in ('CLOSED', 'CANCELLED') limit :limit
""")
