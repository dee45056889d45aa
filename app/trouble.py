"""Turns errors into a page that says what is wrong and what to do, never a traceback."""

from collections.abc import Callable
from functools import wraps
from html import escape
from typing import ParamSpec
from urllib.parse import quote, urlencode, urlsplit

import streamlit as st
import structlog

from app import identity, sign_in
from mes.errors import MesError

log = structlog.get_logger(__name__)

Parameters = ParamSpec("Parameters")


def explained_page(show: Callable[Parameters, None]) -> Callable[Parameters, None]:
    """Guard a page: it is drawn for people who are signed in at this moment.

    Our own errors are shown in words; others go to the log and to Streamlit's message.
    """
    return _guarded(show, _signed_out)


def explained(show: Callable[Parameters, None]) -> Callable[Parameters, None]:
    """Guard a part of a page that runs by itself, as the page; for whoever is signed out, all of the page goes."""
    return _guarded(show, lambda _error: st.rerun(scope="app"))


def _guarded(
    show: Callable[Parameters, None], sign_out: Callable[[sign_in.NotSignedIn], None]
) -> Callable[Parameters, None]:
    @wraps(show)
    def guarded(*args: Parameters.args, **kwargs: Parameters.kwargs) -> None:
        try:
            with identity.required():
                show(*args, **kwargs)
        except sign_in.NotSignedIn as error:
            sign_out(error)
        except MesError as error:
            log.warning("page not shown", code=error.code, error=str(error))
            st.error(error.message, icon=":material/error:")
            st.caption(f"This page tries again by itself when you reload it. Code: `{error.code}`.")

    return guarded


def _signed_out(error: sign_in.NotSignedIn) -> None:
    """Say so, with the way back to this very page; a link of our own, since Streamlit's open another tab."""
    st.warning(error.message, icon=":material/lock:")
    to = f"{sign_in.SIGN_IN}?next={quote(_address(), safe='')}"
    st.html(f'<a href="{escape(to)}" target="_self">Sign in</a>')


def _address() -> str:
    """Path and query of the page that is open."""
    query = urlencode(st.query_params.to_dict())
    path = urlsplit(st.context.url or sign_in.LOCAL_HOME).path or sign_in.LOCAL_HOME
    return f"{path}?{query}" if query else path
