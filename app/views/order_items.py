"""Shows what is to be made: each item's picture and measures, what is doubtful about it, and its price."""

from collections.abc import Sequence

import polars as pl
import streamlit as st

from app import queries, words
from app.queries import Finding, Item
from app.trouble import explained
from app.views import item_findings, item_price

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


def show(items: Sequence[Item]) -> None:
    """All items in a table, and one of them whole."""
    st.subheader("Items", anchor=False)
    if not items:
        st.caption("The order has no items.")
        return
    st.dataframe(
        _items_frame(items), hide_index=True, height="content", placeholder="", column_config=_ITEM_COLUMNS, key="items"
    )
    _show_item(_chosen(items))


@st.fragment
@explained
def _show_item(item: Item) -> None:
    """One item whole; choosing another finding draws only this part anew."""
    piece, told = st.columns([1, 2.2], gap="medium")
    with told:
        finding = item_findings.choose(item)
        item_price.show(item.price)
    with piece, st.container(border=True):
        _show_picture(item, finding)
        _show_measures(item)


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


def _show_picture(item: Item, finding: Finding | None) -> None:
    places = finding.coordinates if finding is not None else ()
    picture = queries.picture(item.model_id, places)
    if picture is None:
        st.markdown(":gray[:material/view_in_ar: No picture yet: it is made when the model is measured.]")
    else:
        marked = f", marked: {finding.message}" if finding is not None and places and picture.hidden else ""
        st.image(picture.png, width="stretch", alt=f"Model of item {item.line}{marked}")
    st.caption(words.plain(item.file_name))
    if finding is not None:
        item_findings.show_places(finding, picture.hidden if picture is not None else None)


def _show_measures(item: Item) -> None:
    if item.geometry is None:
        st.caption("The model has not been measured yet.")
        return
    measures = words.measures(item.geometry)
    st.table(
        pl.DataFrame({"measure": list(measures), "value": list(measures.values())}),
        border="horizontal",
        hide_header=True,
        hide_index=True,
    )
    if item.longest_side_mm is not None:
        st.caption(f"All at the ordered size: the longest side is {_size(item)}.")
