"""Starts the console: `streamlit run app/main.py`."""

from pathlib import Path

import streamlit as st

from app import routes
from app.trouble import explained
from mes import config
from mes.observability import logs

IMAGES = Path(__file__).parent / "images"


@st.cache_resource
def _configure_logs() -> None:
    """Once per process, though this file runs at every interaction."""
    logs.configure("console", config.load().log_level)


@explained
def main() -> None:
    """Show the page that the address names."""
    st.set_page_config(page_title="Atelier MES", page_icon=IMAGES / "icon.png", layout="wide")
    _configure_logs()
    st.logo(IMAGES / "logo.svg", size="large")
    st.navigation(routes.pages(), position="top").run()


main()
