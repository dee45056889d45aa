"""Offers the steps that an order may take now, and asks again before one that needs a reason or cannot be undone."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Literal
from uuid import UUID

import streamlit as st

from app import actions, words
from app.actions import Outcome
from app.queries import Move, Order, Status

_ASKED, _OUTCOME, _TEXT = "asked_step", "outcome", "step_text"
_IRREVERSIBLE = (Status.SHIPPED,)
_MOST_CHARACTERS = 1_000


@dataclass(frozen=True)
class _Question:
    """A step that was asked for but not yet taken, about an order as it was on screen then."""

    order_id: UUID
    version: int
    title: str
    confirm: str
    act: Callable[[UUID, str, int], Outcome]
    text_label: str | None = None
    needs_text: bool = False
    text: str = ""


def show(order: Order) -> None:
    """What became of the last step, whom the order waits for, and the buttons."""
    _tell(st.session_state.pop(_OUTCOME, None))
    waiting = words.waits_for(order.status)
    if waiting and not order.held:
        st.info(waiting, icon=":material/hourglass_empty:")
    with st.container(horizontal=True, vertical_alignment="center"):
        for move in actions.moves(order):
            _move_button(order, move)
        if order.held:
            release = partial(actions.release, order.order_id, order.version)
            _button("Release", release, icon="play_arrow", primary=True)
        if actions.can_be_held(order):
            _ask_button("Put on hold", _hold(order), icon="front_hand")
        _ask_button("Write a note", _note(order), icon="edit_note")
    question = st.session_state.get(_ASKED)
    if question is not None and question.order_id == order.order_id:
        _ask_again(question)


def _tell(outcome: Outcome | None) -> None:
    if outcome is None:
        return
    if outcome.done:
        st.success(outcome.message, icon=":material/check_circle:")
    else:
        st.error(outcome.message, icon=":material/error:")


def _move_button(order: Order, move: Move) -> None:
    label = words.step(move.start, move.to)
    if move.needs_reason:
        _ask_button(label, _rework(order, move), icon="undo")
    elif move.to in _IRREVERSIBLE:
        _ask_button(label, _shipping(order, move), icon="local_shipping", primary=True)
    else:
        _button(label, partial(actions.move, order.order_id, move.to, order.version), primary=True)


def _hold(order: Order) -> _Question:
    return _Question(
        order.order_id,
        order.version,
        title="Put this order on hold? It will not move until somebody releases it.",
        confirm="Put it on hold",
        act=actions.hold,
        text_label="Reason",
        needs_text=True,
    )


def _note(order: Order) -> _Question:
    return _Question(
        order.order_id,
        order.version,
        title="Note to the workshop",
        confirm="Save the note",
        act=actions.write_note,
        text_label="Note",
        text=order.note or "",
    )


def _rework(order: Order, move: Move) -> _Question:
    return _Question(
        order.order_id,
        order.version,
        title="Send the pieces back to production?",
        confirm="Rework",
        act=lambda order_id, reason, version: actions.move(order_id, move.to, version, reason),
        text_label="What is wrong with them?",
        needs_text=True,
    )


def _shipping(order: Order, move: Move) -> _Question:
    return _Question(
        order.order_id,
        order.version,
        title="Ship this order? The parcel leaves the workshop; this cannot be undone.",
        confirm="Yes, it is shipped",
        act=lambda order_id, _text, version: actions.move(order_id, move.to, version),
    )


def _button(label: str, act: Callable[[], Outcome], *, icon: str | None = None, primary: bool = False) -> None:
    """A button that acts at once, on the version of the order that it was drawn with."""
    st.button(label, key=f"do-{label}", type=_type(primary=primary), icon=_icon(icon), on_click=_do, args=(act,))


def _ask_button(label: str, question: _Question, *, icon: str | None = None, primary: bool = False) -> None:
    st.button(
        f"{label}\N{HORIZONTAL ELLIPSIS}",
        key=f"ask-{label}",
        type=_type(primary=primary),
        icon=_icon(icon),
        on_click=_ask,
        args=(question,),
    )


def _ask_again(question: _Question) -> None:
    with st.form("step", width=680):
        st.markdown(f"**{question.title}**")
        if question.text_label is not None:
            st.text_area(question.text_label, key=_TEXT, max_chars=_MOST_CHARACTERS, height=90)
        with st.container(horizontal=True):
            st.form_submit_button(question.confirm, type="primary", on_click=_confirm, args=(question,))
            st.form_submit_button("Not now", on_click=_forget)


def _ask(question: _Question) -> None:
    st.session_state[_ASKED] = question
    st.session_state[_TEXT] = question.text


def _confirm(question: _Question) -> None:
    text = st.session_state.get(_TEXT) or ""
    if question.needs_text and not text.strip():
        st.session_state[_OUTCOME] = Outcome(done=False, message="Say why: this step needs a reason.")
        return
    _forget()
    _do(partial(question.act, question.order_id, text, question.version))


def _do(act: Callable[[], Outcome]) -> None:
    st.session_state[_OUTCOME] = act()


def _forget() -> None:
    st.session_state.pop(_ASKED, None)


def _type(*, primary: bool) -> Literal["primary", "secondary"]:
    return "primary" if primary else "secondary"


def _icon(name: str | None) -> str | None:
    return f":material/{name}:" if name is not None else None
