"""The console's door for changing: each action is one transaction of `mes.dispatch`, by whoever is signed in."""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import timedelta
from uuid import UUID

import structlog
from opentelemetry.trace import SpanKind
from sqlalchemy import Connection

from app import identity, queries, words
from app.queries import Drift, Move, Order, Status
from mes import config
from mes.dispatch import claims, desk
from mes.dispatch.model import WORKABLE_STATUSES, ClaimedByAnother
from mes.errors import MesError
from mes.events import inbox
from mes.events.parked import ParkedOrder
from mes.events.webhooks import deliveries
from mes.lists import refresher
from mes.observability import metrics, traces
from mes.observability.metrics import ActionOutcome
from mes.orders import life
from mes.orders.life import System
from mes.orders.model import IllegalTransition, NoSuchOrder, OrderHeld, ReasonMissing, VersionConflict
from mes.people.permissions import Permission, require
from mes.reconciliation import drift

log = structlog.get_logger(__name__)
_SERVER_ERROR = 500

_CLAIMED = "This order is yours now."
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
    """What became of an action, in a sentence, and the order that it was about."""

    done: bool
    message: str
    order_id: UUID | None = None


@dataclass(frozen=True)
class Offers:
    """What the console may offer the person who looks at an order."""

    moves: tuple[Move, ...] = ()
    claim: bool = False
    give_back: bool = False
    take_over: bool = False
    assign: bool = False
    hold: bool = False


def offers(order: Order) -> Offers:
    """What whoever is signed in may do with an order: steps only while no colleague has it."""
    if order.status not in life.OPEN_STATUSES:
        return Offers()
    person = identity.signed_in()
    workable = order.status in WORKABLE_STATUSES and not order.held
    anothers = (order.claimed_by or order.assigned_to) not in {None, person.user_name}
    may_work = person.may(Permission.WORK) and workable and not anothers
    return Offers(
        moves=life.moves_from(order.status, System.MES) if may_work else (),
        claim=may_work and order.claimed_by is None,
        give_back=order.claimed_by == person.user_name,
        take_over=person.may(Permission.TAKE_OVER) and anothers and (workable or order.claimed_by is not None),
        assign=person.may(Permission.ASSIGN),
        hold=person.may(Permission.HOLD) and not order.held,
    )


def next_job() -> Outcome | None:
    """Claim what is to be done next; None when there is nothing."""
    outcome = _act("next_job", lambda conn, user: claims.next_job(conn, user, lease=_lease()), _CLAIMED)
    return None if outcome.done and outcome.order_id is None else outcome


def claim(order_id: UUID, expected_version: int) -> Outcome:
    """Keep others off an order while the person begins to work on it."""
    return _act(
        "claim",
        lambda conn, user: claims.claim(conn, user, order_id, expected_version=expected_version, lease=_lease()),
        _CLAIMED,
    )


def give_back(order_id: UUID, reason: str, expected_version: int) -> Outcome:
    """End the person's own claim."""
    return _act(
        "give_back",
        lambda conn, user: claims.give_back(conn, user, order_id, reason, expected_version=expected_version),
        "You gave the order back; it goes to somebody else.",
    )


def take_over(order_id: UUID, reason: str, expected_version: int) -> Outcome:
    """Claim what a colleague has."""
    return _act(
        "take_over",
        lambda conn, user: claims.take_over(
            conn, user, order_id, reason, expected_version=expected_version, lease=_lease()
        ),
        "You took the order over.",
    )


def assign(order_id: UUID, operator: str | None, expected_version: int) -> Outcome:
    """Put an order into an operator's queue; None shares it out."""
    return _act(
        "assign",
        lambda conn, user: desk.assign(conn, user, order_id, operator, expected_version=expected_version),
        f"The order is in {words.plain(operator)}'s queue."
        if operator
        else "The order goes to whoever has least to do.",
    )


def move(order_id: UUID, to: Status, expected_version: int, reason: str | None = None) -> Outcome:
    """Move an order as the person saw it."""
    return _act(
        "move",
        lambda conn, user: desk.move(conn, user, order_id, to, reason=reason, expected_version=expected_version),
        f"Done: {words.status(to).lower()}.",
    )


def hold(order_id: UUID, reason: str, expected_version: int) -> Outcome:
    """Stop an order until somebody releases it."""
    return _act(
        "hold",
        lambda conn, user: desk.hold(conn, user, order_id, reason, expected_version=expected_version),
        "The order is on hold.",
    )


def release(order_id: UUID, expected_version: int) -> Outcome:
    """Let a held order move again."""
    return _act(
        "release",
        lambda conn, user: desk.release(conn, user, order_id, expected_version=expected_version),
        "The order is free to move again.",
    )


def write_note(order_id: UUID, note: str, expected_version: int) -> Outcome:
    """Replace the note to the workshop."""
    return _act(
        "write_note",
        lambda conn, user: desk.write_note(conn, user, order_id, note, expected_version=expected_version),
        "The note is saved.",
    )


def continue_events(order: ParkedOrder, *, skip: bool) -> Outcome:
    """Go on with an order whose next event was parked: try it again, or leave it out."""
    return _act(
        "continue_events",
        lambda conn, user: _continue(conn, user, order, skip=skip),
        "",
        said="The event is left out, and those after it go on." if skip else "The event is tried again.",
    )


def send_webhook_again(delivery_id: int) -> Outcome:
    """Call a webhook again at once."""
    return _act(
        "send_webhook_again",
        lambda conn, user: _send_again(conn, user, delivery_id),
        "",
        said="It is sent again within a second or so.",
    )


def repair_drift(found: Drift) -> Outcome:
    """Repair a difference now: tell them the whole order, or have the inbox look again."""
    return _act(
        "repair_drift",
        lambda conn, user: _repair(conn, user, found),
        "",
        said="It is begun. The next comparison says whether it had an effect.",
    )


def accept_drift(found: Drift, reason: str) -> Outcome:
    """Let a difference be, for a reason."""
    return _act(
        "accept_drift",
        lambda conn, user: _accept(conn, user, found, reason),
        "",
        said="Accepted. It is shown again when either side changes.",
    )


def _repair(conn: Connection, user: str, found: Drift) -> None:
    require(conn, user, Permission.MESSAGES)
    drift.repair(conn, found.drift_id, user)


def _accept(conn: Connection, user: str, found: Drift, reason: str) -> None:
    require(conn, user, Permission.MESSAGES)
    if not reason.strip():
        raise ReasonMissing
    drift.accept(conn, found.drift_id, user, reason.strip())


def _continue(conn: Connection, user: str, order: ParkedOrder, *, skip: bool) -> None:
    require(conn, user, Permission.MESSAGES)
    inbox.replay(conn, order.key, skip=skip, by=user)


def _send_again(conn: Connection, user: str, delivery_id: int) -> None:
    require(conn, user, Permission.MESSAGES)
    deliveries.send_again(conn, delivery_id)


def _act(name: str, change: Callable[[Connection, str], Order | None], success: str, *, said: str = "") -> Outcome:
    """Change an order and its row in the list in one transaction; a refusal becomes a sentence."""
    with traces.span(f"action {name}", kind=SpanKind.SERVER):
        return _attempt(name, change, success, said=said)


def _attempt(name: str, change: Callable[[Connection, str], Order | None], success: str, *, said: str) -> Outcome:
    try:
        user = identity.signed_in().user_name
        with queries.change(user) as conn:
            changed = change(conn, user)
            if changed is not None:
                refresher.refresh_now(conn, [changed.order_id])
    except MesError as error:
        failed = error.http_status >= _SERVER_ERROR
        metrics.observe_action(name, ActionOutcome.FAILED if failed else ActionOutcome.REFUSED)
        log.info(
            "action refused", action=name, code=error.code, **{name: str(value) for name, value in error.facts.items()}
        )
        return Outcome(done=False, message=_refusal(error))
    metrics.observe_action(name, ActionOutcome.DONE)
    if changed is None:
        return Outcome(done=True, message=said)
    log.info(
        "action done",
        action=name,
        order_id=str(changed.order_id),
        status=changed.status,
        sequence=changed.version,
        actor=user,
    )
    return Outcome(done=True, message=success, order_id=changed.order_id)


def _refusal(error: MesError) -> str:
    if isinstance(error, ClaimedByAnother):
        colleague = words.plain(str(error.facts["operator"]))
        return f"{colleague} works on this order, so nothing was done; this is how it stands now."
    return next((text for kind, text in _REFUSALS.items() if type(error) is kind), error.message)


def _lease() -> timedelta:
    return timedelta(minutes=config.load().lease_minutes)
