"""Shows at the top of every page who is signed in, and lets him or her sign out."""

from html import escape

import streamlit as st

from app import identity, sign_in

# beside the navigation, where Streamlit has no place of its own to offer
_STYLE = """<style>
[data-testid="stLayoutWrapper"]:has(> .st-key-who) { display: contents; }
.st-key-who { position: fixed; top: .8rem; right: 3.6rem; width: auto; z-index: 999991; }
.st-key-who form { display: flex; gap: .8rem; align-items: center; margin: 0; font-size: .9rem; white-space: nowrap; }
.st-key-who button { padding: .2rem .6rem; font: inherit; color: inherit; background: #ffffff; cursor: pointer;
    border: 1px solid #e4dfd6; border-radius: 6px; }
.st-key-who button:hover, .st-key-who button:focus-visible { border-color: #8a5a12; color: #8a5a12; }
@media (max-width: 50rem) { .st-key-who .name { display: none; } }
</style>"""


def show() -> None:
    """Name, role, and a form that goes to the server, which alone can clear the cookie."""
    person = identity.signed_in()
    with st.container(key="who"):
        st.html(
            f"""{_STYLE}<form method="post" action="{sign_in.SIGN_OUT}">
            <span class="name">{escape(person.user_name)} \N{MIDDLE DOT} {person.role.value}</span>
            <button type="submit">Sign out</button></form>"""
        )
