"""Shows what happened to an order, and what its sources say that cannot be true together."""

from collections.abc import Sequence

import polars as pl
import streamlit as st

from app import words
from app.queries import Anomaly, Event

_UTC = pl.Datetime("us", "UTC")
_COLUMNS = {
    "sequence": st.column_config.NumberColumn("No.", width=50),
    "at": st.column_config.DatetimeColumn("When (UTC)", format="D MMM YYYY, HH:mm:ss", timezone="UTC", width=170),
    "what": st.column_config.TextColumn("What", width="medium"),
    "by": st.column_config.TextColumn("By", width="medium"),
    "reason": st.column_config.TextColumn("Reason", width="large"),
    "marks": st.column_config.TextColumn(
        "Known from",
        help="history: imported, not seen as it happened; inferred: no source reported it, but it must have happened; "
        "late: reported after the order had moved on",
        width="medium",
    ),
}


def show_timeline(events: Sequence[Event]) -> None:
    """The order's events, the last first."""
    st.subheader("Timeline", anchor=False)
    newest_first = list(reversed(events))
    frame = pl.DataFrame(
        {
            "sequence": [event.sequence for event in newest_first],
            "at": pl.Series([event.occurred_at for event in newest_first], dtype=_UTC),
            "what": [words.event(event) for event in newest_first],
            "by": [f"{words.system(event.system)}: {event.actor}" for event in newest_first],
            "reason": pl.Series([event.reason for event in newest_first], dtype=pl.String),
            "marks": [words.marks(event) for event in newest_first],
        }
    )
    st.dataframe(frame, hide_index=True, height="content", placeholder="", column_config=_COLUMNS, key="timeline")


def show_anomalies(anomalies: Sequence[Anomaly]) -> None:
    """One warning for each contradiction, with what to do."""
    for anomaly in anomalies:
        st.warning(
            f"**{words.plain(words.kind(anomaly.kind))}**: {words.plain(anomaly.reason)}. "
            f"{words.plain(anomaly.advice)} ({words.plain(anomaly.file)}, line {anomaly.line:,})",
            icon=":material/rule:",
        )
