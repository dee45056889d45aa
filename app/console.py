"""Shows the page that the address names; Streamlit runs this file at every interaction (see main.py)."""

from pathlib import Path

import streamlit as st

from app import header, routes
from app.trouble import explained_page

IMAGES = Path(__file__).parent / "images"


@explained_page
def main() -> None:
    """The page, for whoever is signed in."""
    page = st.navigation(routes.pages(), position="top")
    header.show()
    page.run()


st.set_page_config(page_title="Atelier MES", page_icon=IMAGES / "icon.png", layout="wide")
st.logo(IMAGES / "logo.svg", size="large")
main()
