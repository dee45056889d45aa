"""Shows managers how much the workshop finishes, how much is under way, and how much of it is late."""

from collections.abc import Sequence
from dataclasses import asdict

import altair as alt
import polars as pl
import streamlit as st

from app import queries, words
from app.queries import OPEN_STATUSES, OrderCounts, Week

_PERIODS: dict[str, int | None] = {"13 weeks": 13, "26 weeks": 26, "52 weeks": 52, "2 years": 104, "All": None}
_DEFAULT = "26 weeks"
_CHART_HEIGHT = 260
_ON_TIME, _LATE, _UNDER_WAY = "#b9a27a", "#c0483b", "#5f7d8c"

_COLUMNS = {
    "week": st.column_config.DateColumn("Week of (Monday)", format="D MMM YYYY"),
    "placed": st.column_config.NumberColumn("Placed", format="localized"),
    "finished": st.column_config.NumberColumn("Finished", format="localized"),
    "finished_late": st.column_config.NumberColumn("Finished late", format="localized"),
    "cancelled": st.column_config.NumberColumn("Cancelled", format="localized"),
    "in_progress": st.column_config.NumberColumn("In progress at its end", format="localized"),
    "cycle_days_median": st.column_config.NumberColumn("Cycle time, median days", format="%.1f"),
}


def render() -> None:
    """The page."""
    with st.container(horizontal=True, vertical_alignment="center"):
        st.header("Throughput", anchor=False)
        st.space("stretch")
        period = st.segmented_control(
            "Period",
            list(_PERIODS),
            default=_DEFAULT,
            required=True,
            key="period",
            label_visibility="collapsed",
            persist_state="session",
        )
    weeks = queries.weeks(_PERIODS[period])
    counts = queries.order_counts()
    _now(counts)
    if not weeks:
        st.info(
            "No order was placed yet, so there is nothing to report. Load feeds with `mes ingest`, or run `mes demo`.",
            icon=":material/monitoring:",
        )
        return
    _figures(weeks)
    frame = pl.DataFrame([asdict(week) for week in weeks])
    _charts(frame)
    _table(frame, weeks)


def _now(counts: OrderCounts) -> None:
    st.subheader("Now", anchor=False)
    figures = {"In progress": counts.open, "Late": counts.late, "On hold": counts.held}
    figures |= {words.status(status): counts.by_status[status] for status in OPEN_STATUSES if counts.by_status[status]}
    for column, (label, number) in zip(st.columns(max(6, len(figures))), figures.items(), strict=False):
        column.metric(label, f"{number:,}", border=True)


def _figures(weeks: Sequence[Week]) -> None:
    finished = sum(week.finished for week in weeks)
    late = sum(week.finished_late for week in weeks)
    st.subheader(f"{weeks[0].week:%-d %b %Y} to the week of {weeks[-1].week:%-d %b %Y}", anchor=False)
    columns = st.columns(6)
    columns[0].metric("Placed", f"{sum(week.placed for week in weeks):,}", border=True)
    columns[1].metric("Finished", f"{finished:,}", border=True)
    columns[2].metric("Finished a week", f"{finished / len(weeks):,.1f}", border=True)
    columns[3].metric("Finished late", f"{late:,}", border=True)
    columns[4].metric("Late share", f"{late / finished:.1%}" if finished else "\N{EN DASH}", border=True)
    columns[5].metric("Cancelled", f"{sum(week.cancelled for week in weeks):,}", border=True)


def _charts(frame: pl.DataFrame) -> None:
    left, right = st.columns(2, gap="medium")
    with left:
        st.markdown("**Finished per week**")
        st.altair_chart(_finished_chart(frame))
    with right:
        st.markdown("**In progress at the end of the week**")
        st.altair_chart(_in_progress_chart(frame))


def _finished_chart(frame: pl.DataFrame) -> alt.Chart:
    on_time = pl.col("finished") - pl.col("finished_late")
    split = frame.select("week", on_time.alias("on time"), pl.col("finished_late").alias("late"))
    split = split.unpivot(["on time", "late"], index="week", variable_name="when", value_name="orders")
    chart: alt.Chart = (
        alt.Chart(split, height=_CHART_HEIGHT)
        .mark_bar()
        .encode(
            x=_week_axis(),
            y=alt.Y("orders:Q", title=None),
            color=alt.Color(
                "when:N",
                title=None,
                scale=alt.Scale(domain=["on time", "late"], range=[_ON_TIME, _LATE]),
                legend=alt.Legend(orient="top"),
            ),
            order=alt.Order("when:N", sort="descending"),
            tooltip=[alt.Tooltip("week:T", format="%d %b %Y"), "when:N", "orders:Q"],
        )
    )
    return chart


def _in_progress_chart(frame: pl.DataFrame) -> alt.Chart:
    standing = frame.select("week", pl.col("in_progress").alias("orders"))
    chart: alt.Chart = (
        alt.Chart(standing, height=_CHART_HEIGHT)
        .mark_area(line={"color": _UNDER_WAY}, color=_UNDER_WAY, opacity=0.25)
        .encode(
            x=_week_axis(),
            y=alt.Y("orders:Q", title=None),
            tooltip=[alt.Tooltip("week:T", format="%d %b %Y"), "orders:Q"],
        )
    )
    return chart


def _week_axis() -> alt.X:
    return alt.X("week:T", title=None, axis=alt.Axis(format="%-d %b %Y", labelAngle=0, tickCount=6, grid=False))


def _table(frame: pl.DataFrame, weeks: Sequence[Week]) -> None:
    with st.container(horizontal=True, vertical_alignment="center"):
        st.subheader("Weeks", anchor=False)
        st.space("stretch")
        st.download_button(
            "Download as CSV",
            data=frame.write_csv,
            file_name=f"throughput_{weeks[0].week}_{weeks[-1].week}.csv",
            mime="text/csv",
            icon=":material/download:",
            on_click="ignore",
        )
    st.dataframe(frame.reverse(), hide_index=True, placeholder="", column_config=_COLUMNS, key="weeks")
    st.caption(
        "Finished means shipped. The weeks are as of the report's last refresh (the `throughput_weekly` model); "
        "the figures under Now are live."
    )
