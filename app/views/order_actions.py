"""Offers the steps that the person may take with an order now, and says who has it when a colleague does."""

from collections.abc import Callable
from functools import partial
from typing import Literal

import streamlit as st

from app import actions, identity, queries, words
from app.actions import Offers, Outcome
from app.queries import Move, Order, Status
from app.sign_in import Permission
from app.views import order_questions
from app.views.order_questions import Question

_IRREVERSIBLE = (Status.SHIPPED,)


def show(order: Order) -> None:
    """What became of the last step, who has the order or whom it waits for, and the buttons."""
    order_questions.tell()
    _say_whose(order)
    offers = actions.offers(order)
    with st.container(horizontal=True, vertical_alignment="center"):
        for move in offers.moves:
            _move_button(order, move)
        if order.held and identity.signed_in().may(Permission.HOLD):
            release = partial(actions.release, order.order_id, order.version)
            _button("Release", release, icon="play_arrow", primary=True)
        _claim_buttons(order, offers)
        if offers.hold:
            _ask_button("Put on hold", _hold(order), icon="front_hand")
        _ask_button("Write a note", _note(order), icon="edit_note")
    order_questions.show(order.order_id)


def _say_whose(order: Order) -> None:
    user = identity.signed_in().user_name
    has_it = words.holder(order, user) if order.status in queries.OPEN_STATUSES else None
    if has_it is not None:
        anothers = (order.claimed_by or order.assigned_to) != user
        st.info(has_it, icon=":material/lock_person:" if anothers and order.claimed_by else ":material/person:")
    waiting = words.waits_for(order.status)
    if waiting and not order.held:
        st.info(waiting, icon=":material/hourglass_empty:")


def _move_button(order: Order, move: Move) -> None:
    label = words.step(move.start, move.to)
    if move.needs_reason:
        _ask_button(label, _rework(order, move), icon="undo")
    elif move.to in _IRREVERSIBLE:
        _ask_button(label, _shipping(order, move), icon="local_shipping", primary=True)
    else:
        _button(label, partial(actions.move, order.order_id, move.to, order.version), primary=True)


def _claim_buttons(order: Order, offers: Offers) -> None:
    if offers.claim:
        _button("Claim", partial(actions.claim, order.order_id, order.version), icon="lock_person")
    if offers.give_back:
        _ask_button("Give back", _give_back(order), icon="undo")
    if offers.take_over:
        _ask_button("Take over", _take_over(order), icon="swap_horiz")
    if offers.assign:
        _ask_button("Assign to", partial(_assign, order), icon="person_add")


def _give_back(order: Order) -> Question:
    return Question(
        order.order_id,
        order.version,
        title="Give this order back? It goes to somebody else.",
        confirm="Give it back",
        act=actions.give_back,
        label="Why? (may stay empty)",
    )


def _take_over(order: Order) -> Question:
    colleague = words.plain(order.claimed_by or order.assigned_to or "")
    return Question(
        order.order_id,
        order.version,
        title=f"Take this order over from {colleague}?",
        confirm="Take it over",
        act=actions.take_over,
        label="Reason",
        needs_text=True,
    )


def _assign(order: Order) -> Question:
    labels = {queue.operator: words.queue(queue) for queue in queries.queues()}
    return Question(
        order.order_id,
        order.version,
        title="Whose queue should this order stand in? A claim of anybody else ends.",
        confirm="Assign it",
        act=lambda order_id, operator, version: actions.assign(order_id, operator or None, version),
        label="Operator",
        choices=labels | {"": "Nobody: share it out to whoever has least to do"},
    )


def _hold(order: Order) -> Question:
    return Question(
        order.order_id,
        order.version,
        title="Put this order on hold? It will not move until somebody releases it.",
        confirm="Put it on hold",
        act=actions.hold,
        label="Reason",
        needs_text=True,
    )


def _note(order: Order) -> Question:
    return Question(
        order.order_id,
        order.version,
        title="Note to the workshop",
        confirm="Save the note",
        act=actions.write_note,
        label="Note",
        text=order.note or "",
    )


def _rework(order: Order, move: Move) -> Question:
    return Question(
        order.order_id,
        order.version,
        title="Send the pieces back to production?",
        confirm="Rework",
        act=lambda order_id, reason, version: actions.move(order_id, move.to, version, reason),
        label="What is wrong with them?",
        needs_text=True,
    )


def _shipping(order: Order, move: Move) -> Question:
    return Question(
        order.order_id,
        order.version,
        title="Ship this order? The parcel leaves the workshop; this cannot be undone.",
        confirm="Yes, it is shipped",
        act=lambda order_id, _text, version: actions.move(order_id, move.to, version),
    )


def _button(label: str, act: Callable[[], Outcome], *, icon: str | None = None, primary: bool = False) -> None:
    """A button that acts at once, on the version of the order that it was drawn with."""
    st.button(
        label,
        key=f"do-{label}",
        type=_type(primary=primary),
        icon=_icon(icon),
        on_click=order_questions.act,
        args=(act,),
    )


def _ask_button(
    label: str, question: Question | Callable[[], Question], *, icon: str | None = None, primary: bool = False
) -> None:
    """A button that asks first; what it costs to put the question is spent when it is pressed."""
    st.button(
        f"{label}\N{HORIZONTAL ELLIPSIS}",
        key=f"ask-{label}",
        type=_type(primary=primary),
        icon=_icon(icon),
        on_click=_ask,
        args=(question,),
    )


def _ask(question: Question | Callable[[], Question]) -> None:
    order_questions.ask(question if isinstance(question, Question) else question())


def _type(*, primary: bool) -> Literal["primary", "secondary"]:
    return "primary" if primary else "secondary"


def _icon(name: str | None) -> str | None:
    return f":material/{name}:" if name is not None else None
