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

_JUST_FAILED = "just_failed"
_SERVER_ERROR = 500


def explained_page(show: Callable[Parameters, None]) -> Callable[Parameters, None]:
    """Guard a page: it is drawn for people who are signed in at this moment.

    Our own errors are shown in words, and the page tries again unless that is of no use, as for an order that is not
    there; others go to the log and to Streamlit's message.
    """

    def fail(error: MesError) -> None:
        if error.http_status < _SERVER_ERROR:
            _say(error, "Go back to the list, or look whether the link is whole.")
            return
        _say(error, "This page tries again by itself.")
        st.session_state[_JUST_FAILED] = True
        _try_again()

    return _guarded(show, _signed_out, fail)


def explained(show: Callable[Parameters, None]) -> Callable[Parameters, None]:
    """Guard a part of a page that runs by itself, as the page; for whoever is signed out, all of the page goes."""
    return _guarded(
        show,
        lambda _error: st.rerun(scope="app"),
        lambda error: _say(error, "Reload the page to try again, if this does not go by itself."),
    )


def _guarded(
    show: Callable[Parameters, None],
    sign_out: Callable[[sign_in.NotSignedIn], None],
    fail: Callable[[MesError], None],
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
            fail(error)

    return guarded


def _say(error: MesError, hope: str) -> None:
    st.error(error.message, icon=":material/error:")
    st.caption(f"{hope} Code: `{error.code}`.")


@st.fragment(run_every="5s")
def _try_again() -> None:
    """Draw the page that failed again, though not within the very run that failed."""
    if not st.session_state.pop(_JUST_FAILED, False):
        st.rerun(scope="app")


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
