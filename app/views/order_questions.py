"""Asks before a step that needs a reason or a choice, or cannot be undone; and tells what became of the last one."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from uuid import UUID

import streamlit as st

from app.actions import Outcome

_ASKED, _OUTCOME, _TEXT, _CHOICE = "asked_step", "outcome", "step_text", "step_choice"
_MOST_CHARACTERS = 1_000


@dataclass(frozen=True)
class Question:
    """A step that was asked for but not yet taken, about an order as it was on screen then.

    `act` gets the order's id, what was written or chosen, and the version. `choices` are values with their labels.
    """

    order_id: UUID
    version: int
    title: str
    confirm: str
    act: Callable[[UUID, str, int], Outcome]
    label: str | None = None
    needs_text: bool = False
    text: str = ""
    choices: Mapping[str, str] | None = None


def show(order_id: UUID) -> None:
    """The question that was asked about this order, if one is open."""
    question = st.session_state.get(_ASKED)
    if question is not None and question.order_id == order_id:
        _form(question)


def ask(question: Question) -> None:
    """Open a question, at the next run."""
    st.session_state[_ASKED] = question
    st.session_state[_TEXT] = question.text


def act(step: Callable[[], Outcome]) -> None:
    """Take a step, and keep what became of it for the next run."""
    remember(step())


def remember(outcome: Outcome) -> None:
    """Keep what became of a step for the next run."""
    st.session_state[_OUTCOME] = outcome


def tell() -> None:
    """What became of the last step, once."""
    outcome = st.session_state.pop(_OUTCOME, None)
    if outcome is None:
        return
    if outcome.done:
        st.success(outcome.message, icon=":material/check_circle:")
    else:
        st.error(outcome.message, icon=":material/error:")


def _form(question: Question) -> None:
    with st.form("step", width=680):
        st.markdown(f"**{question.title}**")
        if question.choices is not None:
            labels = question.choices
            st.selectbox(question.label or "", list(labels), format_func=lambda value: labels[value], key=_CHOICE)
        elif question.label is not None:
            st.text_area(question.label, key=_TEXT, max_chars=_MOST_CHARACTERS, height=90)
        with st.container(horizontal=True):
            st.form_submit_button(question.confirm, type="primary", on_click=_confirm, args=(question,))
            st.form_submit_button("Not now", on_click=_forget)


def _confirm(question: Question) -> None:
    answer = st.session_state.get(_CHOICE if question.choices is not None else _TEXT) or ""
    if question.needs_text and not answer.strip():
        remember(Outcome(done=False, message="Say why: this step needs a reason."))
        return
    _forget()
    act(partial(question.act, question.order_id, answer, question.version))


def _forget() -> None:
    st.session_state.pop(_ASKED, None)
