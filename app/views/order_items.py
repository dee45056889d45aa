"""Shows what is to be made: each item's picture, measures, and the breakdown of its price."""

from collections.abc import Sequence
from decimal import Decimal

import polars as pl
import streamlit as st

from app import queries, words
from app.queries import Geometry, Item, ItemPrice

_ITEM = "shown_item"

_ITEM_COLUMNS = {
    "line": st.column_config.NumberColumn("Item", width=50),
    "model": st.column_config.TextColumn("Model", width="medium"),
    "material": st.column_config.TextColumn("Material"),
    "finish": st.column_config.TextColumn("Finish"),
    "size": st.column_config.TextColumn("Longest side"),
    "quantity": st.column_config.NumberColumn("Pieces"),
    "stones": st.column_config.TextColumn("Stones"),
    "engraving": st.column_config.TextColumn("Engraving"),
    "price": st.column_config.TextColumn("Price"),
}
_PRICE_COLUMNS = {
    "line": st.column_config.TextColumn("Line", width="medium"),
    "driver": st.column_config.TextColumn("Driven by", width="large"),
    "quantity": st.column_config.TextColumn("Quantity", width="small", alignment="right"),
    "unit": st.column_config.TextColumn("Unit", width="small"),
    "rate": st.column_config.TextColumn("Rate", width="small", alignment="right"),
    "amount": st.column_config.TextColumn("Amount", width="small", alignment="right"),
}


def show(items: Sequence[Item]) -> None:
    """All items in a table, and one of them whole."""
    st.subheader("Items", anchor=False)
    if not items:
        st.caption("The order has no items.")
        return
    st.dataframe(
        _items_frame(items), hide_index=True, height="content", placeholder="", column_config=_ITEM_COLUMNS, key="items"
    )
    shown = _chosen(items)
    picture, price = st.columns([1, 2.6], gap="medium")
    with picture, st.container(border=True):
        _show_picture(shown)
        _show_geometry(shown.geometry)
    with price:
        _show_price(shown.price)


def _items_frame(items: Sequence[Item]) -> pl.DataFrame:
    return pl.DataFrame(
        {
            "line": [item.line for item in items],
            "model": [item.file_name for item in items],
            "material": [words.material(item.material) for item in items],
            "finish": [item.finish.capitalize() for item in items],
            "size": [_size(item) for item in items],
            "quantity": [item.quantity for item in items],
            "stones": [words.stones(item.stones) for item in items],
            "engraving": [words.engraving(item.engraving) for item in items],
            "price": [words.money(item.price.total, item.price.currency) if item.price else None for item in items],
        }
    )


def _size(item: Item) -> str:
    return f"{item.longest_side_mm.normalize():f} mm" if item.longest_side_mm is not None else "as modelled"


def _chosen(items: Sequence[Item]) -> Item:
    if len(items) == 1:
        return items[0]
    return st.selectbox(
        "Show item", items, format_func=lambda item: f"{item.line}: {item.file_name}", key=_ITEM, width=420
    )


def _show_picture(item: Item) -> None:
    png = queries.picture(item.model_id)
    if png is None:
        st.markdown(":gray[:material/view_in_ar: No picture yet: it is made when the model is measured.]")
    else:
        st.image(png, width="stretch", alt=f"Model of item {item.line}")
    st.caption(words.plain(item.file_name))


def _show_geometry(geometry: Geometry | None) -> None:
    if geometry is None:
        st.caption("The model has not been measured yet.")
        return
    sides = (geometry.extent_x_mm, geometry.extent_y_mm, geometry.extent_z_mm)
    measures = {
        "Extents": " \N{MULTIPLICATION SIGN} ".join(f"{side:.1f}" for side in sides) + " mm",
        "Volume": f"{geometry.volume_mm3:,.1f} mm\N{SUPERSCRIPT THREE}",
        "Surface": f"{geometry.area_mm2:,.1f} mm\N{SUPERSCRIPT TWO}",
        "Triangles": f"{geometry.triangles:,}",
        "Bodies": f"{geometry.bodies:,}",
        "Closed": "yes" if geometry.closed else f"no: {geometry.open_edges:,} open edges",
    }
    st.table(
        pl.DataFrame({"measure": list(measures), "value": list(measures.values())}),
        border="horizontal",
        hide_header=True,
        hide_index=True,
    )


def _show_price(price: ItemPrice | None) -> None:
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


def _figure(value: Decimal) -> str:
    """All digits that count, and two decimals at least: `9.00`, `0.085361`."""
    whole, _, decimals = f"{value:,f}".partition(".")
    return f"{whole}.{decimals.rstrip('0').ljust(2, '0')}"
