"""Shows one order whole: pieces, price and history, and the steps that the operator may take."""

from uuid import UUID

import streamlit as st

from app import queries, routes, words
from app.queries import FINISHED_STATUSES, OrderDetails
from app.trouble import explained
from app.views import order_actions, order_history, order_items
from mes.clock import utc_now


def render(asked: str) -> None:
    """The page of the order with the id that was asked for, whatever was."""
    st.page_link(routes.ORDERS.page(), label="Orders", icon=":material/arrow_back:")
    try:
        order_id = UUID(asked)
    except ValueError:
        st.error("This link names no order: it should end in `?order=` and the order's id.", icon=":material/error:")
        return
    details = queries.order(order_id)
    _header(details)
    order_actions.show(details.order)
    _facts(details)
    order_items.show(details.items)
    order_history.show_anomalies(details.anomalies)
    order_history.show_timeline(details.events)
    _watch(order_id, details.order.version)


def _header(details: OrderDetails) -> None:
    order = details.order
    st.header(f"Order {words.plain(order.external_id)}", anchor=False)
    with st.container(horizontal=True, vertical_alignment="center", gap="small"):
        st.badge(words.status(order.status), color="gray" if order.status in FINISHED_STATUSES else "primary")
        if _is_late(details):
            st.badge(words.due(details.due_at, utc_now()).capitalize(), color="red", icon=":material/schedule:")
        if details.rush:
            st.badge("Rush", color="orange", icon=":material/bolt:")
        if details.tier != "retail":
            st.badge(words.tier(details.tier), color="violet")
        st.caption(f"since {words.moment(order.status_since)} \N{MIDDLE DOT} version {order.version}")
    if order.held:
        st.warning(
            f"**On hold** by {words.plain(order.held_by or 'somebody')} since {words.moment(order.held_since)}: "
            f"{words.plain(order.hold_reason or '')}",
            icon=":material/front_hand:",
        )


def _is_late(details: OrderDetails) -> bool:
    unfinished = details.order.status not in FINISHED_STATUSES
    return unfinished and details.due_at is not None and details.due_at < utc_now()


def _facts(details: OrderDetails) -> None:
    name = details.customer_name
    facts = {
        "Customer": f"{name} ({details.customer})" if name else details.customer,
        "Placed": words.moment(details.placed_at),
        "Due": words.moment(details.due_at),
        "Price": words.money(details.total, details.currency),
        "Paid": words.money(details.paid, details.currency) if details.paid is not None else "\N{EN DASH}",
        "Source": words.system(details.order.source),
    }
    with st.container(border=True):
        widths = [3, 2, 2, 1.4, 1.2, 1]
        for column, (label, value) in zip(st.columns(widths), facts.items(), strict=True):
            with column:
                st.caption(label)
                st.markdown(words.plain(value))
                if label == "Customer" and st.button("All orders of this customer", type="tertiary", key="customer"):
                    routes.open_customer(details.customer_id)
        if details.order.note:
            st.caption("Note to the workshop")
            st.markdown(words.plain(details.order.note))


@st.fragment(run_every="5s")
@explained
def _watch(order_id: UUID, version: int) -> None:
    """Draw the page again when somebody changed the order; while nobody does, one small query is all."""
    if queries.order_version(order_id) != version:
        st.rerun(scope="app")
