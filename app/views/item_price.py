"""Shows what an item's price is made of, and what would make it cheaper."""

from collections.abc import Sequence
from decimal import Decimal

import polars as pl
import streamlit as st

from app import words
from app.queries import ItemPrice, Lever

_PRICE_COLUMNS = {
    "line": st.column_config.TextColumn("Line", width="medium"),
    "driver": st.column_config.TextColumn("Driven by", width="large"),
    "quantity": st.column_config.TextColumn("Quantity", width="small", alignment="right"),
    "unit": st.column_config.TextColumn("Unit", width="small"),
    "rate": st.column_config.TextColumn("Rate", width="small", alignment="right"),
    "amount": st.column_config.TextColumn("Amount", width="small", alignment="right"),
}
_LEVER_COLUMNS = {
    "change": st.column_config.TextColumn("What would make it cheaper", width="large"),
    "mass": st.column_config.TextColumn("Metal", width="small", alignment="right"),
    "price": st.column_config.TextColumn("Price", width="small", alignment="right"),
}


def show(price: ItemPrice | None) -> None:
    """The breakdown and the levers of an item's quote."""
    if price is None:
        st.info("This item has no price yet.", icon=":material/payments:")
        return
    total = words.plain(words.money(price.total, price.currency))
    st.markdown(f"**Price {total}**")
    frame = pl.DataFrame(
        {
            "line": [line.label for line in price.lines],
            "driver": [line.driver for line in price.lines],
            "quantity": [_figure(line.quantity) for line in price.lines],
            "unit": [line.unit for line in price.lines],
            "rate": [_figure(line.rate) for line in price.lines],
            "amount": [f"{line.amount:,.2f}" for line in price.lines],
        }
    )
    st.dataframe(frame, hide_index=True, height="content", placeholder="", column_config=_PRICE_COLUMNS, key="price")
    st.caption(
        f"Rates: {words.plain(price.rate_card)} \N{MIDDLE DOT} valid until {words.moment(price.valid_until)} "
        f"\N{MIDDLE DOT} amounts in {price.currency}, each line rounded to the cent"
    )
    if price.levers:
        _show_levers(price.levers)


def _show_levers(levers: Sequence[Lever]) -> None:
    frame = pl.DataFrame(
        {
            "change": [lever.label for lever in levers],
            "mass": [f"{lever.mass_change_g:+,.2f} g" if lever.mass_change_g else "" for lever in levers],
            "price": [f"{lever.price_change:+,.2f}" for lever in levers],
        }
    )
    st.dataframe(frame, hide_index=True, height="content", placeholder="", column_config=_LEVER_COLUMNS, key="levers")


def _figure(value: Decimal) -> str:
    """All digits that count, and two decimals at least: `9.00`, `0.085361`."""
    whole, _, decimals = f"{value:,f}".partition(".")
    return f"{whole}.{decimals.rstrip('0').ljust(2, '0')}"
