"""Starts the console: `streamlit run app/main.py`."""

import streamlit as st

from app import routes
from app.trouble import explained
from mes import config
from mes.observability import logs


@st.cache_resource
def _configure_logs() -> None:
    """Once per process, though this file runs at every interaction."""
    logs.configure("console", config.load().log_level)


@explained
def main() -> None:
    """Show the page that the address names; `/?order=<id>` opens an order from any system that knows its id."""
    st.set_page_config(page_title="Atelier MES", page_icon=":material/diamond:", layout="wide")
    _configure_logs()
    chosen = st.navigation(routes.pages(), position="top")
    if chosen.url_path == "" and "order" in st.query_params:
        st.switch_page(routes.ORDER.page(), query_params={"order": st.query_params["order"]})
    chosen.run()


main()
