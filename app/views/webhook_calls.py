"""Shows what a webhook was told and what came of it, page by page, and has a call made again."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any
from uuid import UUID

import polars as pl
import streamlit as st

from app import actions, identity, queries, words
from app.actions import Outcome
from app.queries import Delivery, Webhook
from app.sign_in import Permission

_SHOWN = 25
_SAID, _PLACE, _CHOSEN = "webhook-calls-said", "webhook-calls-place", "webhook-calls-chosen"
_STATES = {"All": None, "Waiting": "waiting", "Delivered": "delivered", "Given up": "failed"}
_COLUMNS = {
    "order": st.column_config.TextColumn("Order", width=290),
    "sequence": st.column_config.NumberColumn("Version", width=70),
    "type": st.column_config.TextColumn("Event", width=250),
    "state": st.column_config.TextColumn("State", width=110),
    "answer": st.column_config.TextColumn("Last answer", width=200),
    "attempts": st.column_config.NumberColumn("Attempts", width=75),
    "ms": st.column_config.NumberColumn("Took (ms)", width=80, format="%.0f"),
    "last": st.column_config.DatetimeColumn("Called (UTC)", format="D MMM YYYY, HH:mm:ss", timezone="UTC", width=165),
    "next": st.column_config.DatetimeColumn("Next (UTC)", format="D MMM YYYY, HH:mm:ss", timezone="UTC", width=165),
}


@dataclass(frozen=True)
class _Place:
    """Which page is on screen: of whom, in which state, after which calls on the pages before it."""

    endpoint_id: UUID
    state: str | None
    before: tuple[int, ...] = ()


def show(webhooks: Sequence[Webhook]) -> None:
    """The tab."""
    if not webhooks:
        st.info("Nobody has a webhook yet: the integrator's page says how to make one.", icon=":material/webhook:")
        return
    _tell()
    place = _place(webhooks)
    before = place.before[-1] if place.before else None
    calls = queries.webhook_calls(place.endpoint_id, place.state, before, _SHOWN + 1)
    if not calls:
        st.info("Nothing in this state.", icon=":material/filter_alt_off:")
    else:
        _show_calls(calls[:_SHOWN], place)
    _turn(place, calls)


def _place(webhooks: Sequence[Webhook]) -> _Place:
    known = {webhook.endpoint_id: webhook for webhook in webhooks}
    chosen = known[
        st.selectbox("Webhook", list(known), format_func=lambda each: _title(known[each]), key="webhook-calls-webhook")
    ]
    st.caption(words.plain(_standing(chosen)))
    state = st.segmented_control("State", list(_STATES), default="All", key="webhook-calls-state") or "All"
    asked = _Place(chosen.endpoint_id, _STATES[state])
    place: _Place | None = st.session_state.get(_PLACE)
    if place is None or (place.endpoint_id, place.state) != (asked.endpoint_id, asked.state):
        place = asked
    return place


def _show_calls(calls: Sequence[Delivery], place: _Place) -> None:
    table: Any = st.dataframe(
        pl.DataFrame([_row(call) for call in calls], infer_schema_length=None),
        column_config=_COLUMNS,
        hide_index=True,
        on_select="rerun",
        selection_mode="single-row",
        key=f"{_CHOSEN}-{place.endpoint_id}-{place.state}-{len(place.before)}",
    )
    chosen = [calls[row] for row in table["selection"]["rows"] if row < len(calls)]
    if not identity.signed_in().may(Permission.MESSAGES):
        return
    label = f"Send event {chosen[0].sequence} of this order again" if chosen else "Choose a call to send it again"
    if st.button(label, key="webhook-calls-send", disabled=not chosen):
        st.session_state[_SAID] = actions.send_webhook_again(chosen[0].delivery_id)
        st.rerun()


def _turn(place: _Place, calls: Sequence[Delivery]) -> None:
    with st.container(horizontal=True):
        if st.button("Newest", key="webhook-calls-newest", disabled=not place.before):
            _go(_Place(place.endpoint_id, place.state))
        if st.button("Newer", key="webhook-calls-newer", disabled=not place.before):
            _go(_Place(place.endpoint_id, place.state, place.before[:-1]))
        if st.button("Older", key="webhook-calls-older", disabled=len(calls) <= _SHOWN):
            _go(_Place(place.endpoint_id, place.state, (*place.before, calls[_SHOWN - 1].delivery_id)))


def _go(place: _Place) -> None:
    st.session_state[_PLACE] = place
    st.rerun()


def _tell() -> None:
    outcome: Outcome | None = st.session_state.pop(_SAID, None)
    if outcome is not None and outcome.message:
        (st.success if outcome.done else st.warning)(outcome.message)


def _title(webhook: Webhook) -> str:
    """The same from one run to the next, and unlike any other's: by it, a choice is found again."""
    return f"{webhook.caller}, {webhook.url} ({str(webhook.endpoint_id)[-6:]})"


def _standing(webhook: Webhook) -> str:
    many = "+" if webhook.waiting == queries.MOST_WAITING else ""
    state = f" It is disabled: {webhook.disabled_reason}" if webhook.disabled_reason else ""
    return f"{webhook.waiting:,}{many} calls wait for it.{state}"


def _row(call: Delivery) -> dict[str, object]:
    return {
        "order": str(call.order_id),
        "sequence": call.sequence,
        "type": call.event_type,
        "state": {"failed": "given up"}.get(call.state, call.state),
        "answer": str(call.last_status) if call.last_status is not None else call.last_error,
        "attempts": call.attempts,
        "ms": call.last_duration_ms,
        "last": call.last_at,
        "next": call.next_at,
    }
