"""Turns errors into a page that says what is wrong and what to do, never a traceback."""

from collections.abc import Callable
from functools import wraps
from typing import ParamSpec

import streamlit as st
import structlog

from mes.errors import MesError

log = structlog.get_logger(__name__)

Parameters = ParamSpec("Parameters")


def explained(show: Callable[Parameters, None]) -> Callable[Parameters, None]:
    """Let a page, or a part of one, show our own errors in words; others go to the log and to Streamlit's message."""

    @wraps(show)
    def guarded(*args: Parameters.args, **kwargs: Parameters.kwargs) -> None:
        try:
            show(*args, **kwargs)
        except MesError as error:
            log.warning("page not shown", code=error.code, error=str(error))
            st.error(error.message, icon=":material/error:")
            st.caption(f"This page tries again by itself when you reload it. Code: `{error.code}`.")

    return guarded
