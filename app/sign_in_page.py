"""Draws the page on which people sign in: plain HTML, which needs no script and loads at once."""

import base64
import hashlib
from functools import cache
from html import escape
from pathlib import Path
from string import Template

_FOLDER = Path(__file__).parent
_NO_USERS = (
    "There are no users yet. Create the first one on the server: <code>mes users create NAME --role manager</code>"
)


def html(next_address: str, user_name: str = "", error: str | None = None, *, anybody: bool = True) -> str:
    """The page.

    Args:
        next_address: where to go after signing in.
        user_name: what was typed last time.
        error: why signing in did not work.
        anybody: whether there is a user at all; without one it says how to make the first.
    """
    notices = [] if anybody else [f'<p class="notice">{_NO_USERS}</p>']
    notices += [f'<p class="notice error" role="alert">{escape(error)}</p>'] if error else []
    return _template().safe_substitute(
        notice="\n".join(notices),
        next=escape(next_address),
        user_name=escape(user_name),
        focus_name="" if user_name else " autofocus",
        focus_password=" autofocus" if user_name else "",
    )


@cache
def headers() -> dict[str, str]:
    """What the browser may do with the page: show it, and send its form to us."""
    style = base64.b64encode(hashlib.sha256(_style().encode()).digest()).decode()
    return {
        "Content-Security-Policy": f"default-src 'none'; style-src 'sha256-{style}'; img-src data:; "
        "form-action 'self'; base-uri 'none'; frame-ancestors 'none'",
        "Cache-Control": "no-store",
        "Referrer-Policy": "same-origin",  # not no-referrer, which would hide the form's origin from us
        "X-Content-Type-Options": "nosniff",
    }


@cache
def _template() -> Template:
    page = Template((_FOLDER / "templates" / "sign_in.html").read_text())
    icon = base64.b64encode((_FOLDER / "images" / "icon.png").read_bytes()).decode()
    logo = (
        (_FOLDER / "images" / "logo.svg").read_text().replace("<svg ", '<svg role="img" aria-label="Atelier MES" ', 1)
    )
    return Template(page.safe_substitute(style=_style(), icon=icon, logo=logo))


@cache
def _style() -> str:
    return (_FOLDER / "templates" / "sign_in.css").read_text()
