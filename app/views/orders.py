"""Shows operators what to do next: their work queue and the order list, the order with the least slack first."""

import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from enum import StrEnum
from uuid import UUID

import streamlit as st

from app import actions, identity, queries, routes, words
from app.identity import Identity
from app.queries import (
    FINISHED_STATUSES,
    OPEN_STATUSES,
    Filter,
    Key,
    ListedOrder,
    OrderCounts,
    Page,
    Scope,
    Status,
    Turning,
)
from app.sign_in import Permission, Role
from app.trouble import explained
from app.views import order, order_questions, order_rows
from mes.clock import utc_now
from mes.errors import MesError

_SCOPE, _LATE, _HELD, _SEARCH, _NUMBER, _TABLE = "scope", "late_only", "on_hold", "search", "number", "table_number"
_PLACE, _SHOWN, _OPENED, _CLEARED = "place", "shown_orders", "opened_at", "times_cleared"
_SIGHT, _DRAWN, _DRAWN_ALONE_AT, _AGAIN_AT, _NO_JOB = "sight", "just_drawn", "drawn_alone_at", "again_at", "no_job"
# the browser removes what is no longer drawn when it is told that the list's own run has ended; a run that begins right
# behind it takes that message back, so then all is drawn again, as it is once when nobody has clicked for a while
_RIGHT_BEHIND_S, _QUIET_S = 0.25, 3.0
_AT_ONCE_S = 5.0  # an overloaded console may take that long to begin
_MOST_WORDS = 6
_MOST_CHARACTERS = 100


class _Pile(StrEnum):
    """Tabs that are no scope of the list: open orders by whose they are."""

    MINE = "mine"
    UNASSIGNED = "unassigned"


_Tab = _Pile | Scope | Status
_SCOPES: tuple[_Tab, ...] = (Scope.OPEN, _Pile.UNASSIGNED, *OPEN_STATUSES, *FINISHED_STATUSES, Scope.ALL)


@dataclass(frozen=True)
class _Place:
    """Which page of which filter is on screen.

    A page stays where it is while orders come ahead of it: `top` is the row that stood first when the list was opened,
    `key` that from which on this page is read, once it was shown.
    """

    chosen: Filter
    number: int = 1
    turn: Turning = Turning.START
    key: Key | None = None
    top: Key | None = None

    def shown(self, page: Page) -> "_Place":
        """The same page, from the row on that it now begins with."""
        if not page.rows:
            return _Place(self.chosen)
        first = queries.key_of(page.rows[0], self.chosen)
        if not page.has_previous:
            return _Place(self.chosen, key=first, top=first)
        return replace(self, turn=Turning.START, key=first)


@dataclass(frozen=True)
class _Sight:
    """What the list shows that changes without whoever looks at it."""

    reader: Identity
    counts: OrderCounts
    rows: Sequence[ListedOrder]
    reasons: Sequence[str]
    has_next: bool
    newer: int
    too_many: bool
    no_orders: bool


@dataclass(frozen=True)
class _NoJob:
    """Why there is no next job; it stays when the list is drawn again by itself."""

    message: str
    failed: bool = False

    def show(self) -> None:
        if self.failed:
            st.error(self.message, icon=":material/error:")
        else:
            st.info(self.message, icon=":material/free_breakfast:")


def render() -> None:
    """The list, or the page of the order that the address names (`/?order=<id>`, for any system that knows an id)."""
    asked = routes.order_in_address()
    if asked is not None:
        order.render(asked)
        return
    st.session_state.setdefault(_OPENED, time.perf_counter())
    with st.container(horizontal=True, vertical_alignment="center"):
        st.header("Orders", anchor=False, width="stretch")
        asked_for_job = identity.signed_in().may(Permission.WORK) and st.button(
            "Next job", type="primary", icon=":material/play_arrow:", key="next-job"
        )
    if time.monotonic() - st.session_state.pop(_AGAIN_AT, float("-inf")) > _AT_ONCE_S:
        _begin_anew()
    if asked_for_job:
        _next_job()
    if (no_job := st.session_state[_NO_JOB]) is not None:
        no_job.show()
    st.session_state[_DRAWN] = True
    _watch()
    _list()
    st.session_state[_DRAWN_ALONE_AT] = None


def _begin_anew() -> None:
    """Whoever comes back to the first page finds what is first now."""
    st.session_state[_NO_JOB] = None
    place = st.session_state.get(_PLACE)
    if place is not None and place.number == 1:
        st.session_state[_PLACE] = _Place(place.chosen)


def _next_job() -> None:
    """Claim what is next and open its page, or have it said why there is nothing."""
    outcome = actions.next_job()
    if outcome is None:
        waiting = queries.waiting(identity.signed_in().user_name)
        st.session_state[_NO_JOB] = _NoJob(words.nothing_to_do(waiting))
    elif outcome.order_id is None:
        st.session_state[_NO_JOB] = _NoJob(outcome.message, failed=True)
    else:
        order_questions.remember(outcome)
        routes.open_order(outcome.order_id)


@st.fragment(run_every="1s")  # an order is on its operator's screen within two seconds of being placed
@explained
def _watch() -> None:
    """Draw the page again when it would show anything else; while it would not, a few small queries are all.

    Drawn each second, it kept a click that fell into that waiting, and busy the browser of whoever only had it open.
    """
    if st.session_state.pop(_DRAWN, False):
        return
    seen = st.session_state.get(_SIGHT)
    try:
        sight = _look(_counts(), st.session_state.get(_PLACE) or _Place(Filter()))[1]
    except MesError:
        if seen is None:  # the list says so already
            return
        raise
    if sight != seen or _may_be_left_over():
        st.session_state[_AGAIN_AT] = time.monotonic()
        st.rerun(scope="app")


def _may_be_left_over() -> bool:
    """Whether something may still be on screen that the list has not drawn when it last ran alone."""
    drawn_at = st.session_state.get(_DRAWN_ALONE_AT)
    return drawn_at is not None and not _RIGHT_BEHIND_S <= time.monotonic() - drawn_at < _QUIET_S


@st.fragment
@explained
def _list() -> None:
    st.session_state[_SIGHT] = None  # until it is drawn
    try:
        _draw()
    finally:
        st.session_state[_DRAWN_ALONE_AT] = time.monotonic()


def _draw() -> None:
    counts = _counts()
    chosen = _filters(counts)
    place = st.session_state.get(_PLACE)
    if place is None or place.chosen != chosen:
        place = _Place(chosen)
    turned = place.turn is not Turning.START or place.key is None
    place, sight = _look(counts, place)
    st.session_state[_PLACE] = place
    if turned:
        _forget_clicks()
    if sight.no_orders:
        _no_orders()
    elif not sight.rows:
        _no_match(chosen)
    else:
        _pager(place, sight)
        _table(sight.rows, chosen)
    if (opened_at := st.session_state[_OPENED]) is not None:
        st.session_state[_OPENED] = None
        queries.rows_are_there(opened_at)
    if sight.too_many:
        st.caption("More customers or numbers match than are shown here: add a word, or more of the number.")
    st.session_state[_SIGHT] = sight


def _counts() -> OrderCounts:
    return queries.order_counts(identity.signed_in().user_name)


def _look(counts: OrderCounts, place: _Place) -> tuple[_Place, _Sight]:
    """Read what stands at a place."""
    page, no_orders = queries.orders(place.chosen, place.turn, place.key)
    place, now = place.shown(page), utc_now()
    newer = queries.newer_orders(place.chosen, place.top) if place.top is not None else 0
    reasons = [words.why(row, now) for row in page.rows]
    return place, _Sight(
        identity.signed_in(), counts, page.rows, reasons, page.has_next, newer, page.too_many, no_orders
    )


def _filters(counts: OrderCounts) -> Filter:
    """Draw the filters, with how many orders each would show, and read them."""
    customer_id = _customer()
    tabs = _tabs(customer_id)
    tab = st.segmented_control(
        "Status",
        tabs,
        default=tabs[0],
        required=True,
        format_func=lambda of: words.scope(of) if customer_id else _tab(of, counts),
        key=f"{_SCOPE}-{tabs[0]}-{len(tabs)}",  # who becomes a manager meanwhile has other tabs
        label_visibility="collapsed",
        persist_state="session",
    )
    finished = tab in FINISHED_STATUSES
    cleared = st.session_state.setdefault(_CLEARED, 0)
    with st.container(horizontal=True, vertical_alignment="center", gap="medium"):
        search = st.text_input(
            "Search",
            type="search",
            live="300ms",
            max_chars=_MOST_CHARACTERS,
            placeholder="Search number, customer, material or note",
            key=f"{_SEARCH}-{cleared}",
            label_visibility="collapsed",
            icon=":material/search:",
            width=380,
            persist_state="session",
        )
        late = st.toggle(
            f"Late only ({counts.late:,})", key=f"{_LATE}-{cleared}", disabled=finished, persist_state="session"
        )
        held = st.toggle(
            f"On hold ({counts.held:,})", key=f"{_HELD}-{cleared}", disabled=finished, persist_state="session"
        )
        st.space("stretch")
        _jump()
    return Filter(
        scope=Scope.OPEN if isinstance(tab, _Pile) else tab,
        late=late and not finished,
        held=held and not finished,
        words=tuple((search or "").split())[:_MOST_WORDS],
        assigned_to=identity.signed_in().user_name if tab is _Pile.MINE else None,
        unassigned=tab is _Pile.UNASSIGNED,
        customer_id=customer_id,
    )


def _customer() -> UUID | None:
    """The customer whose orders alone are listed, as the address says; his name, and a way back to all orders."""
    asked = routes.customer_in_address()
    if asked is None:
        return None
    try:
        customer_id = UUID(asked)
        name = queries.customer_name(customer_id)
    except ValueError:
        name = None
    with st.container(horizontal=True, vertical_alignment="center"):
        st.markdown(f"Orders of **{words.plain(name)}**" if name else "This link names no customer.")
        st.button("Show all customers", icon=":material/close:", key="all-customers", on_click=routes.leave_customer)
    return customer_id if name else None


def _tabs(customer_id: UUID | None) -> tuple[_Tab, ...]:
    """The tabs, the one to begin with first: an operator's own queue; managers have none."""
    if customer_id is not None:
        return (Scope.OPEN, Scope.ALL)
    return (_Pile.MINE, *_SCOPES) if identity.signed_in().role is Role.OPERATOR else _SCOPES


def _tab(tab: _Tab, counts: OrderCounts) -> str:
    """The name of a tab, and how many orders it has."""
    if tab is _Pile.MINE:
        return f"My queue {counts.mine:,}"
    if tab is _Pile.UNASSIGNED:
        return f"Unassigned {counts.unassigned:,}"
    number = counts.by_status[tab] if isinstance(tab, Status) else counts.open if tab is Scope.OPEN else counts.all
    return f"{words.scope(tab)} {number:,}"


def _jump() -> None:
    """Open an order by its number, whatever its status."""
    number = st.text_input(
        "Open by number",
        placeholder="Open by order number",
        key=_NUMBER,
        max_chars=_MOST_CHARACTERS,
        label_visibility="collapsed",
        icon=":material/tag:",
        width=260,
    )
    if not number:
        return
    found = queries.find_orders(number.strip())
    if len(found) == 1:
        routes.open_order(found[0].order_id)
    if not found:
        st.caption("No order has this number.")
    for same in found:
        if st.button(f"{words.system(same.source)}'s {words.plain(number.strip())}", key=f"open-{same.order_id}"):
            routes.open_order(same.order_id)


def _pager(place: _Place, sight: _Sight) -> None:
    first, last = sight.rows[0], sight.rows[-1]
    with st.container(horizontal=True, vertical_alignment="center"):
        st.caption(f"{_sorted_by(place.chosen)} \N{MIDDLE DOT} page {place.number}", width="stretch")
        _newer(place, sight.newer)
        st.button(
            "Previous",
            icon=":material/chevron_left:",
            key="previous",
            disabled=place.number == 1,
            on_click=_turn,
            args=(_previous(place, first),),
        )
        following = replace(place, number=place.number + 1, turn=Turning.AFTER, key=queries.key_of(last, place.chosen))
        st.button(
            "Next",
            icon=":material/chevron_right:",
            icon_position="right",
            key="next",
            disabled=not sight.has_next,
            on_click=_turn,
            args=(following,),
        )


def _newer(place: _Place, newer: int) -> None:
    """Say how many orders came ahead of the list since it was opened; the page does not jump under the pointer."""
    if newer:
        st.button(
            f"{newer} newer" if newer < queries.MOST_NEWER else f"{newer} newer or more",
            icon=":material/arrow_upward:",
            type="primary",
            key="newer",
            help="They come ahead of what you see. Shows the list from its beginning.",
            on_click=_turn,
            args=(_Place(place.chosen),),
        )


def _previous(place: _Place, first: ListedOrder) -> _Place:
    if place.number <= 2:  # noqa: PLR2004 - ahead of page two is the first, which has no key
        return _Place(place.chosen)
    return replace(place, number=place.number - 1, turn=Turning.BEFORE, key=queries.key_of(first, place.chosen))


def _turn(place: _Place) -> None:
    st.session_state[_PLACE] = place


def _table(rows: Sequence[ListedOrder], chosen: Filter) -> None:
    """Draw the rows; a click anywhere in one opens its order, as it was on screen when it was clicked."""
    on_screen = st.session_state.get(_SHOWN)
    finished = chosen.scope in FINISHED_STATUSES
    event = st.dataframe(
        order_rows.frame(rows),
        hide_index=True,
        height="content",
        placeholder="",
        row_height=33,
        column_config=order_rows.COLUMNS | ({"why": "Ended"} if finished else {}),
        key=f"orders-{st.session_state.get(_TABLE, 0)}",
        on_select="rerun",
        selection_mode=["single-row", "single-cell"],
    )
    st.session_state[_SHOWN] = [row.order_id for row in rows]
    selected = [*event.selection.rows, *(row for row, _ in event.selection.cells)]
    if selected and on_screen is not None and selected[0] < len(on_screen):
        _forget_clicks()  # or coming back to the list would open the order again
        routes.open_order(on_screen[selected[0]])


def _forget_clicks() -> None:
    """Make the table a new one, in which nothing is selected."""
    st.session_state[_TABLE] = st.session_state.get(_TABLE, 0) + 1


def _no_orders() -> None:
    st.info(
        "There are no orders yet. Load feeds with `mes ingest`, or run `mes demo` for a generated workshop. "
        "Orders show here by themselves as they come.",
        icon=":material/inbox:",
    )


def _no_match(chosen: Filter) -> None:
    if not chosen.narrowed:
        st.info(_none_there(chosen), icon=":material/check_circle:")
        return
    st.info("No order matches these filters.", icon=":material/filter_alt_off:")
    st.button("Clear the filters", key="clear", on_click=_clear)


def _none_there(chosen: Filter) -> str:
    if chosen.assigned_to is not None:
        return "Your queue is empty. Orders are shared out as they get their price; **Next job** looks for one now."
    if chosen.unassigned:
        return "Every open order stands in somebody's queue."
    return "No order has this status now."


def _clear() -> None:
    """Make the filters new ones: a browser that has not heard of it yet sends what the old ones held once more."""
    st.session_state[_CLEARED] += 1


def _sorted_by(chosen: Filter) -> str:
    if chosen.open_only:
        return "Least slack first: the top one is next"
    return "Newest first" if chosen.scope is Scope.ALL else "Last ended first"
