"""Shows what other systems told us and we could not apply, and what we told them and they did not take."""

from collections.abc import Callable, Sequence
from functools import partial

import polars as pl
import streamlit as st

from app import actions, identity, queries, routes, words
from app.actions import Outcome
from app.queries import ParkedOrder, RejectedMessage, Trouble
from app.sign_in import Permission
from app.views import webhook_calls

_SAID = "messages-said"
_SHOWN = 25


def render() -> None:
    """The page."""
    st.header("Messages", anchor=False)
    _tell()
    parked, failed, unreadable = (
        queries.parked_orders(),
        queries.webhooks_in_trouble(),
        queries.unreadable_messages(),
    )
    tabs = st.tabs(
        [
            f"Parked orders ({len(parked)})",
            f"Webhooks ({len(failed)})",
            f"Unreadable messages ({len(unreadable)})",
            "All webhook calls",
        ]
    )
    with tabs[0]:
        _show_parked(parked)
    with tabs[1]:
        _show_failed(failed)
    with tabs[2]:
        _show_unreadable(unreadable)
    with tabs[3]:
        webhook_calls.show(queries.webhooks())


def _show_parked(orders: Sequence[ParkedOrder]) -> None:
    if not orders:
        st.success("All is well: every event of shop and CRM could be applied.", icon=":material/check_circle:")
        return
    st.caption(
        "The next event of these orders can never be applied as it is, so those after it wait. Mend the order, then "
        "try the event again; or leave it out."
    )
    for order in orders[:_SHOWN]:
        with st.container(border=True):
            number = words.plain(order.external_id)
            st.markdown(f"**{words.system(order.sender)} about order {number}** \N{MIDDLE DOT} {_event(order)}")
            st.markdown(words.plain(_sentence(order.reason)))
            st.caption(f"Since {words.moment(order.since)} \N{MIDDLE DOT} {_behind(order)}")
            with st.container(horizontal=True):
                key = f"{order.sender}-{order.source}-{order.external_id}"
                _button("Try again", partial(actions.continue_events, order, skip=False), f"again-{key}")
                _button("Leave it out", partial(actions.continue_events, order, skip=True), f"skip-{key}")
                if order.order_id is not None and st.button("Open the order", key=f"open-{key}"):
                    routes.switch_to_order(order.order_id)
    _more(len(orders))


def _show_failed(calls: Sequence[Trouble]) -> None:
    if not calls:
        st.success("All is well: every webhook takes what it is told.", icon=":material/check_circle:")
        return
    st.caption("Calls that failed. They are made again for three days by themselves; then they are given up.")
    for call in calls[:_SHOWN]:
        with st.container(border=True):
            st.markdown(f"**{words.plain(call.caller)}** \N{MIDDLE DOT} {words.plain(call.url)}")
            came = f"answered {call.last_status}" if call.last_status is not None else call.last_error or "failed"
            state = "given up" if call.state == "failed" else "tried again later"
            disabled = f"; the webhook is disabled: {call.disabled_reason}" if call.disabled_reason else ""
            st.markdown(words.plain(f"{call.event_type}: {came}, {call.attempts} attempts, {state}{disabled}"))
            _button("Send again", partial(actions.send_webhook_again, call.delivery_id), f"send-{call.delivery_id}")
    _more(len(calls))


def _show_unreadable(messages: Sequence[RejectedMessage]) -> None:
    if not messages:
        st.success("All is well: every message could be read.", icon=":material/check_circle:")
        return
    st.caption("Messages of which nobody can tell what they are about. Ask their sender; nothing else waits for them.")
    rows = [
        {
            "Sender": message.sender,
            "By": message.carrier,
            "On": message.subject,
            "Reason": message.reason,
            "Bytes": message.bytes,
            "Received (UTC)": message.received_at,
        }
        for message in messages
    ]
    st.dataframe(pl.DataFrame(rows), hide_index=True)


def _button(label: str, act: Callable[[], Outcome], key: str) -> None:
    if not identity.signed_in().may(Permission.MESSAGES):
        return
    if st.button(label, key=key):
        st.session_state[_SAID] = act()
        st.rerun()


def _tell() -> None:
    outcome: Outcome | None = st.session_state.pop(_SAID, None)
    if outcome is not None and outcome.message:
        (st.success if outcome.done else st.warning)(outcome.message)


def _event(order: ParkedOrder) -> str:
    number = f", number {order.sequence}" if order.sequence is not None else ""
    return words.plain(f"{order.event_type or 'its next event'}{number}")


def _behind(order: ParkedOrder) -> str:
    return "nothing waits behind it" if order.waiting < 1 else f"{order.waiting} behind it"


def _sentence(reason: str) -> str:
    return f"{reason[:1].upper()}{reason[1:]}."


def _more(number: int) -> None:
    if number > _SHOWN:
        st.caption(f"{number - _SHOWN} more; these come first.")
