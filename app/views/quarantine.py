"""Shows data engineers what the feeds brought that could not be used or trusted, and what to do about it."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Generic

import polars as pl
import streamlit as st
from streamlit.elements.arrow import DataframeState

from app import queries, routes, words
from app.queries import ANOMALIES, BAD_ROWS, BadRow, Findings, FindingsPage, Group, OrderAnomaly, Row, Turn

_COLUMNS = {
    "kind": st.column_config.TextColumn("Kind", width=165),
    "order": st.column_config.TextColumn("Order", width=150),
    "status": st.column_config.TextColumn("Status", width=110),
    "feed": st.column_config.TextColumn("Feed", width=140),
    "file": st.column_config.TextColumn("File", width=185),
    "line": st.column_config.NumberColumn("Line", width=65),
    "reason": st.column_config.TextColumn("Reason", width=330),
    "advice": st.column_config.TextColumn("What to do", width=320),
    "content": st.column_config.TextColumn("Content", width=260),
    "seen": st.column_config.DatetimeColumn("Seen (UTC)", format="D MMM YYYY, HH:mm", timezone="UTC", width=135),
}
_FORMULA_STARTS = ("=", "+", "-", "@", "\t", "\r")


@dataclass(frozen=True)
class _Section(Generic[Row]):
    """One tab: what it lists, how a row looks, and what a click on one does."""

    name: str
    findings: Findings[Row]
    about: str
    all_well: str
    fields: Callable[[Row], Mapping[str, object]]
    open: Callable[[Row], None]


@dataclass(frozen=True)
class _Place:
    """Which page is on screen, of what."""

    feed: str | None
    kind: str | None
    turn: Turn = Turn.AFTER
    key: int | None = None
    number: int = 1


def render() -> None:
    """The page."""
    st.header("Quarantine", anchor=False)
    bad, odd = queries.finding_groups(BAD_ROWS), queries.finding_groups(ANOMALIES)
    rows_tab, odd_tab = st.tabs([f"Bad rows ({_total(bad):,})", f"Contradictions ({_total(odd):,})"])
    with rows_tab:
        _show(_BAD_ROWS, bad)
    with odd_tab:
        _show(_CONTRADICTIONS, odd)


def _show(section: _Section[Row], groups: Sequence[Group]) -> None:
    if not groups:
        st.success(section.all_well, icon=":material/check_circle:")
        return
    st.caption(section.about)
    feed, kind = _filters(section, groups)
    place = st.session_state.get(_key(section, "place"))
    if place is None or (place.feed, place.kind) != (feed, kind):
        place = _Place(feed, kind)
    page = queries.findings_page(section.findings, feed, kind, place.turn, place.key)
    if not page.has_previous and place.key is not None:
        place = _Place(feed, kind)
        page = queries.findings_page(section.findings, feed, kind, place.turn, place.key)
    if place != st.session_state.get(_key(section, "place")):
        st.session_state[_key(section, "place")] = place
        _forget_clicks(section)
    if not page.rows:
        st.info("Nothing of this feed and kind.", icon=":material/filter_alt_off:")
        return
    _pager(section, place, page)
    _table(section, page.rows)


def _filters(section: _Section[Row], groups: Sequence[Group]) -> tuple[str | None, str | None]:
    with st.container(horizontal=True, vertical_alignment="bottom"):
        feed = _choice(section, "feed", groups, lambda name: name)
        kind = _choice(section, "kind", [group for group in groups if feed in {None, group.feed}], words.kind)
        st.space("stretch")
        st.download_button(
            "Download as CSV",
            data=lambda: _csv(queries.all_findings(section.findings, feed, kind)),
            file_name=f"{section.name}.csv",
            mime="text/csv",
            icon=":material/download:",
            key=_key(section, "csv"),
            on_click="ignore",
        )
    return feed, kind


def _choice(section: _Section[Row], field: str, groups: Sequence[Group], named: Callable[[str], str]) -> str | None:
    """A drop-down of the feeds or kinds with how many findings each has; None for all of them."""
    counts: dict[str, int] = {}
    for group in groups:
        counts[getattr(group, field)] = counts.get(getattr(group, field), 0) + group.rows
    return st.selectbox(
        field.capitalize(),
        [None, *counts],
        format_func=lambda of: f"All ({_total(groups):,})" if of is None else f"{named(of)} ({counts[of]:,})",
        key=_key(section, field),
        width=300,
    )


def _pager(section: _Section[Row], place: _Place, page: FindingsPage[Row]) -> None:
    turns = (
        ("Previous", Turn.BEFORE, page.rows[0].key, place.number - 1, page.has_previous),
        ("Next", Turn.AFTER, page.rows[-1].key, place.number + 1, page.has_next),
    )
    with st.container(horizontal=True, vertical_alignment="center"):
        st.caption(f"Newest first \N{MIDDLE DOT} page {place.number}", width="stretch")
        for label, turn, key, number, possible in turns:
            st.button(
                label,
                key=_key(section, label),
                disabled=not possible,
                on_click=_go,
                args=(section, _Place(place.feed, place.kind, turn, key, number)),
            )


def _go(section: _Section[Any], place: _Place) -> None:
    st.session_state[_key(section, "place")] = place


def _table(section: _Section[Row], rows: Sequence[Row]) -> None:
    event: DataframeState = st.dataframe(
        pl.DataFrame([section.fields(row) for row in rows]),
        hide_index=True,
        height="content",
        placeholder="",
        column_config=_COLUMNS,
        key=_key(section, f"table-{st.session_state.get(_key(section, 'tables'), 0)}"),
        on_select="rerun",
        selection_mode=["single-row", "single-cell"],
    )
    selected = [*event.selection.rows, *(row for row, _ in event.selection.cells)]
    if selected and selected[0] < len(rows):
        _forget_clicks(section)  # or the next look at the page would open it again
        section.open(rows[selected[0]])


def _forget_clicks(section: _Section[Any]) -> None:
    """Make the table a new one, in which nothing is selected."""
    st.session_state[_key(section, "tables")] = st.session_state.get(_key(section, "tables"), 0) + 1


def _key(section: _Section[Any], widget: str) -> str:
    return f"{section.name}-{widget}"


def _total(groups: Sequence[Group]) -> int:
    return sum(group.rows for group in groups)


def _where(row: BadRow | OrderAnomaly) -> dict[str, object]:
    return {"feed": row.feed, "file": row.file, "line": row.line, "reason": row.reason, "advice": row.advice}


def _bad_row_fields(row: BadRow) -> Mapping[str, object]:
    return {"kind": words.kind(row.kind), **_where(row), "content": row.content, "seen": row.last_seen_at}


def _anomaly_fields(row: OrderAnomaly) -> Mapping[str, object]:
    status = words.status(queries.Status(row.status))
    return {"kind": words.kind(row.kind), "order": row.external_id, "status": status, **_where(row)}


@st.dialog("Bad row", width="large")
def _show_whole(row: BadRow) -> None:
    st.markdown(f"**{words.plain(words.kind(row.kind))}** in {words.plain(row.file)}, line {row.line:,}")
    st.markdown(f"{words.plain(row.reason)}  \n**What to do:** {words.plain(row.advice)}")
    st.code(row.content, language=None, wrap_lines=True)
    st.caption(f"First seen {words.moment(row.first_seen_at)}, last seen {words.moment(row.last_seen_at)}")


def _open_order(row: OrderAnomaly) -> None:
    routes.switch_to_order(row.order_id)


def _csv(rows: Sequence[Row]) -> str:
    """The rows for a spreadsheet; a text that it would run as a formula gets an apostrophe in front."""
    table = [{name: _harmless(value) for name, value in asdict(row).items() if name != "key"} for row in rows]
    return pl.DataFrame(table).write_csv()


def _harmless(value: object) -> object:
    return f"'{value}" if isinstance(value, str) and value.startswith(_FORMULA_STARTS) else value


_BAD_ROWS = _Section(
    name="bad_rows",
    findings=BAD_ROWS,
    about="Rows of feeds that could not be used, and why. A row leaves this list when its mended file is loaded. "
    "Click one to see it whole.",
    all_well="All is well: every row of every feed could be used.",
    fields=_bad_row_fields,
    open=_show_whole,
)
_CONTRADICTIONS = _Section(
    name="contradictions",
    findings=ANOMALIES,
    about="Orders whose sources cannot all be right. They are loaded all the same; click one to open its order.",
    all_well="All is well: no order's sources contradict each other.",
    fields=_anomaly_fields,
    open=_open_order,
)
