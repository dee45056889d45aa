"""The console's door for changing: each action is one transaction of `mes.orders.service`, as the API's are."""

from collections.abc import Callable
from dataclasses import dataclass
from uuid import UUID

import structlog
from sqlalchemy import Connection

from app import queries, words
from app.queries import Move, Order, Status
from mes import config
from mes.errors import MesError
from mes.lists import refresher
from mes.orders import life, service
from mes.orders.life import System
from mes.orders.model import Actor, IllegalTransition, NoSuchOrder, OrderHeld, ReasonMissing, VersionConflict

log = structlog.get_logger(__name__)

_REFUSALS: dict[type[MesError], str] = {
    VersionConflict: "Somebody else changed this order while you were looking at it. "
    "Nothing was done; this is how it stands now.",
    OrderHeld: "The order is on hold, so it was not moved. Release it first.",
    IllegalTransition: "The order can no longer make this step. Nothing was done; this is how it stands now.",
    ReasonMissing: "Say why: this step needs a reason.",
    NoSuchOrder: "There is no such order any more.",
    queries.DatabaseDown: "The database did not answer. Look at the order's events before you try again.",
}


@dataclass(frozen=True)
class Outcome:
    """What became of an action, in a sentence."""

    done: bool
    message: str


def moves(order: Order) -> tuple[Move, ...]:
    """The steps that this console may offer for an order: none while it is on hold."""
    return () if order.held else life.moves_from(order.status, System.MES)


def can_be_held(order: Order) -> bool:
    """Whether the order is open and free."""
    return not order.held and order.status in life.OPEN_STATUSES


def move(order_id: UUID, to: Status, expected_version: int, reason: str | None = None) -> Outcome:
    """Move an order as the operator saw it."""
    return _act(
        order_id,
        lambda conn: service.transition(
            conn, order_id, to, _operator(), reason=reason, expected_version=expected_version
        ),
        f"Done: {words.status(to).lower()}.",
    )


def hold(order_id: UUID, reason: str, expected_version: int) -> Outcome:
    """Stop an order until somebody releases it."""
    return _act(
        order_id,
        lambda conn: service.hold(conn, order_id, _operator(), reason, expected_version=expected_version),
        "The order is on hold.",
    )


def release(order_id: UUID, expected_version: int) -> Outcome:
    """Let a held order move again."""
    return _act(
        order_id,
        lambda conn: service.release(conn, order_id, _operator(), expected_version=expected_version),
        "The order is free to move again.",
    )


def write_note(order_id: UUID, note: str, expected_version: int) -> Outcome:
    """Replace the note to the workshop."""
    return _act(
        order_id,
        lambda conn: service.write_note(conn, order_id, _operator(), note, expected_version=expected_version),
        "The note is saved.",
    )


def _act(order_id: UUID, change: Callable[[Connection], Order], success: str) -> Outcome:
    """Change the order and its row in the list in one transaction; a refusal becomes a sentence."""
    try:
        with queries.connection(write=True) as conn:
            changed = change(conn)
            refresher.refresh_now(conn, [order_id])
    except MesError as error:
        log.info("action refused", order_id=str(order_id), code=error.code)
        refusal = next((text for kind, text in _REFUSALS.items() if type(error) is kind), error.message)
        return Outcome(done=False, message=refusal)
    log.info("action done", order_id=str(order_id), status=changed.status, version=changed.version)
    return Outcome(done=True, message=success)


def _operator() -> Actor:
    return Actor(System.MES, config.load().operator)
