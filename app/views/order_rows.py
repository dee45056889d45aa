"""Lays out rows of the order list as a table."""

from collections.abc import Sequence

import polars as pl
import streamlit as st

from app import words
from app.queries import ListedOrder
from mes.clock import utc_now

_UTC = pl.Datetime("us", "UTC")

COLUMNS = {
    "order": st.column_config.TextColumn("Order", width=135, pinned=True),
    "why": st.column_config.TextColumn("Why it is next", width=215),
    "status": st.column_config.TextColumn("Status", width=100),
    "operator": st.column_config.TextColumn(
        "Operator", help="In whose queue it stands; claimed: only he may move it.", width=100
    ),
    "customer": st.column_config.TextColumn("Customer", width=110),
    "tier": st.column_config.TextColumn("Tier", width=60),
    "pieces": st.column_config.NumberColumn("Pieces", width=60),
    "material": st.column_config.TextColumn("Material", width=140),
    "due": st.column_config.DatetimeColumn("Due (UTC)", format="D MMM YYYY", timezone="UTC", width=95),
    "start": st.column_config.DatetimeColumn(
        "Latest start (UTC)", format="D MMM YYYY, HH:mm", timezone="UTC", width=140
    ),
    "price": st.column_config.NumberColumn("Price, USD", format="%.2f", width=85),
    "hold": st.column_config.TextColumn("On hold", width=150),
    "note": st.column_config.TextColumn("Note", width=140),
}


def frame(rows: Sequence[ListedOrder]) -> pl.DataFrame:
    """The rows as they are shown, in the columns of `COLUMNS`."""
    now = utc_now()
    return pl.DataFrame(
        {
            "order": [row.external_id for row in rows],
            "why": [words.why(row, now) for row in rows],
            "status": [words.status(row.status) for row in rows],
            "operator": pl.Series([words.whose(row) for row in rows], dtype=pl.String),
            "customer": [row.customer_name or row.customer_external_id for row in rows],
            "tier": [words.tier(row.tier) for row in rows],
            "pieces": [row.pieces for row in rows],
            "material": [words.material(row.materials) for row in rows],
            "due": pl.Series([row.due_at for row in rows], dtype=_UTC),
            "start": pl.Series([row.latest_start_at for row in rows], dtype=_UTC),
            "price": pl.Series([row.total for row in rows], dtype=pl.Decimal(14, 2)),
            "hold": pl.Series([row.hold_reason for row in rows], dtype=pl.String),
            "note": pl.Series([row.note for row in rows], dtype=pl.String),
        }
    )
