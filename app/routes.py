"""Names the console's pages and leads from one to another; a page's code is loaded when it is first shown."""

from dataclasses import dataclass
from importlib import import_module
from typing import NoReturn
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

    def page(self) -> StreamlitPage:
        """The page as Streamlit knows it."""
        return st.Page(
            self._render,
            title=self.title,
            icon=f":material/{self.icon}:",
            url_path=None if self.default else self.module,
            default=self.default,
        )

    def _render(self) -> None:
        import_module(f"app.views.{self.module}").render()


ORDERS = Route("orders", "Orders", "list_alt", default=True)
THROUGHPUT = Route("throughput", "Throughput", "monitoring")
QUARANTINE = Route("quarantine", "Quarantine", "report")
MESSAGES = Route("messages", "Messages", "mark_email_unread")
DRIFT = Route("drift", "Drift", "compare_arrows")
SYSTEM = Route("system", "System", "monitor_heart")

_ORDER, _CUSTOMER = "order", "customer"


def pages() -> list[StreamlitPage]:
    """All pages, in the order of the navigation; an order's page is the list's with `?order=<id>` in its address."""
    return [route.page() for route in (ORDERS, THROUGHPUT, QUARANTINE, MESSAGES, DRIFT, SYSTEM)]


def order_in_address() -> str | None:
    """What the address says after `?order=`, which may be anything."""
    return st.query_params.get(_ORDER)


def customer_in_address() -> str | None:
    """What the address says after `?customer=`, which may be anything."""
    return st.query_params.get(_CUSTOMER)


def open_customer(customer_id: UUID) -> NoReturn:
    """Go from an order's page to the list of its customer's orders."""
    st.query_params.from_dict({_CUSTOMER: str(customer_id)})
    st.rerun(scope="app")


def leave_customer() -> None:
    """Show everybody's orders again."""
    st.query_params.pop(_CUSTOMER, None)


def open_order(order_id: UUID) -> NoReturn:
    """Go from the list to an order's page."""
    st.query_params[_ORDER] = str(order_id)
    st.rerun(scope="app")


def switch_to_order(order_id: UUID) -> NoReturn:
    """Go from another page to an order's page."""
    st.switch_page(ORDERS.page(), query_params={_ORDER: str(order_id)})
