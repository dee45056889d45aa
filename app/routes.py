"""Names the console's pages and leads from one to another; a page's code is loaded when it is first shown."""

from dataclasses import dataclass
from importlib import import_module
from typing import Literal, NoReturn
from uuid import UUID

import streamlit as st
from streamlit.navigation.page import StreamlitPage


@dataclass(frozen=True)
class Route:
    """A page: where its code is (`render` of a module below `app.views`), and how the navigation shows it."""

    module: str
    title: str
    icon: str
    default: bool = False
    visibility: Literal["visible", "hidden"] = "visible"

    def page(self) -> StreamlitPage:
        """The page as Streamlit knows it."""
        return st.Page(
            self._render,
            title=self.title,
            icon=f":material/{self.icon}:",
            url_path=None if self.default else self.module,
            default=self.default,
            visibility=self.visibility,
        )

    def _render(self) -> None:
        import_module(f"app.views.{self.module}").render()


ORDERS = Route("orders", "Orders", "list_alt", default=True)
ORDER = Route("order", "Order", "receipt_long", visibility="hidden")
THROUGHPUT = Route("throughput", "Throughput", "monitoring")
QUARANTINE = Route("quarantine", "Quarantine", "report")


def pages() -> list[StreamlitPage]:
    """All pages, in the order of the navigation."""
    return [route.page() for route in (ORDERS, ORDER, THROUGHPUT, QUARANTINE)]


def open_order(order_id: UUID) -> NoReturn:
    """Go to an order's page."""
    st.switch_page(ORDER.page(), query_params={"order": str(order_id)})


def open_list() -> NoReturn:
    """Go back to the list."""
    st.switch_page(ORDERS.page())
