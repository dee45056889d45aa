"""Shows operators what to do next: the order list, the order with the least slack first."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, cast

import pandas as pd
import streamlit as st

from app import queries, routes, words
from app.queries import FINISHED_STATUSES, OPEN_STATUSES, Filter, Key, ListedOrder, OpenCounts, OrderListView, Scope
from app.trouble import explained
from mes.clock import utc_now

_SCOPE, _LATE, _HELD, _SEARCH, _NUMBER, _TABLE = "scope", "late_only", "on_hold", "search", "number", "order_table"
_PLACE, _SHOWN, _CHOSEN, _COUNTS, _MISSED = "place", "shown_orders", "chosen_order", "open_counts", "missed_number"
_SCOPES = (Scope.OPEN, *OPEN_STATUSES, *FINISHED_STATUSES, Scope.ALL)
_MOST_WORDS = 6
_MOST_CHARACTERS = 100

_COLUMNS = {
    "order": st.column_config.TextColumn("Order", width=170, pinned=True),
    "why": st.column_config.TextColumn("Why it is next", width=250),
    "status": st.column_config.TextColumn("Status", width=105),
    "customer": st.column_config.TextColumn("Customer", width=150),
    "tier": st.column_config.TextColumn("Tier", width=60),
    "pieces": st.column_config.NumberColumn("Pieces", width=60),
    "material": st.column_config.TextColumn("Material", width=105),
    "due": st.column_config.DatetimeColumn("Due (UTC)", format="D MMM YYYY", timezone="UTC", width=95),
    "start": st.column_config.DatetimeColumn(
        "Latest start (UTC)", format="D MMM YYYY, HH:mm", timezone="UTC", width=140
    ),
    "price": st.column_config.NumberColumn("Price, USD", format="%.2f", width=85),
    "hold": st.column_config.TextColumn("On hold", width=150),
    "note": st.column_config.TextColumn("Note", width=140),
}


@dataclass(frozen=True)
class _Place:
    """Which page of which filter is on screen."""

    chosen: Filter
    number: int = 1
    after: Key | None = None
    before: Key | None = None


def render() -> None:
    """The page."""
    st.header("Orders", anchor=False)
    _list()


@st.fragment(run_every="5s")
@explained
def _list() -> None:
    _go_to_chosen()
    chosen = _filters()
    place = st.session_state.get(_PLACE)
    if place is None or place.chosen != chosen:
        place = st.session_state[_PLACE] = _Place(chosen)
    view = queries.orders(chosen, place.after, place.before)
    if view.counts != st.session_state.get(_COUNTS):  # the tabs above were drawn with the counts of the last run
        st.session_state[_COUNTS] = view.counts
        st.rerun(scope="fragment") if _COUNTS_DRAWN in st.session_state else None
    if view.no_orders:
        _no_orders()
    elif not view.page.rows:
        _no_match(chosen)
    else:
        _pager(place, view)
        _table(view.page.rows)
