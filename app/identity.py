"""Knows who looks at a page and acts from it: asked of the database at every run, never remembered from the last."""

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass

import streamlit as st

from app import queries, sign_in
from app.sign_in import NotSignedIn, Permission, Role

_checked: ContextVar["Identity | None"] = ContextVar("checked", default=None)


@dataclass(frozen=True)
class Identity:
    """Who is signed in; the name is the one that his actions are recorded under."""

    user_name: str
    role: Role

    def may(self, permission: Permission) -> bool:
        """Whether to offer it; the action itself asks the database again."""
        return sign_in.allows(self.role, permission)


def signed_in() -> Identity:
    """Who this page belongs to, as of this run.

    Raises:
        NotSignedIn: nobody, any more.
    """
    return _checked.get() or _look()


@contextmanager
def required() -> Iterator[Identity]:
    """Make sure that somebody is signed in while the block draws; inside of it nobody asks the database again.

    Raises:
        NotSignedIn: nobody is.
    """
    identity = signed_in()
    mark = _checked.set(identity)
    try:
        with queries.reading_as(identity.user_name):
            yield identity
    finally:
        _checked.reset(mark)


def _look() -> Identity:
    user = sign_in.user_of(st.context.cookies.get(sign_in.COOKIE))
    if user is None:
        raise NotSignedIn
    return Identity(user.user_name, user.role)
