"""Lets nobody past the sign-in page without a session: pages redirect to it, everything else is refused."""

from urllib.parse import quote

from anyio import to_thread
from starlette.requests import HTTPConnection
from starlette.responses import PlainTextResponse, RedirectResponse, Response
from starlette.types import ASGIApp, Receive, Scope, Send

from app import sign_in
from mes.errors import MesError

# what machines ask, and the program of the pages, which is the same for everybody and shows nothing by itself
_OPEN = frozenset({
    sign_in.SIGN_IN, sign_in.SIGN_OUT, "/healthz", "/readyz", "/metrics",
    "/_stcore/health", "/_stcore/host-config", "/favicon.png", "/manifest.json",
})  # fmt: skip
_OPEN_FOLDERS = ("/static/",)
_NO_PAGES = ("/_stcore/", "/media/", "/component/", "/auth/", "/oauth2callback")


class SessionGate:
    """ASGI middleware in front of Streamlit.

    A websocket only has to bring a cookie: each run of a page asks whose it is, and says "signed out" in place of
    data where the session is over. Were it refused here, an open page would wait for its connection for ever.
    """

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass a request on, or answer it."""
        refusal = await _refusal(scope)
        await (self.app if refusal is None else refusal)(scope, receive, send)


async def _refusal(scope: Scope) -> ASGIApp | None:
    if scope["type"] == "websocket":
        return None if HTTPConnection(scope).cookies.get(sign_in.COOKIE) else _refuse_websocket
    if scope["type"] != "http" or scope["path"] in _OPEN or scope["path"].startswith(_OPEN_FOLDERS):
        return None
    token = HTTPConnection(scope).cookies.get(sign_in.COOKIE)
    try:
        if await to_thread.run_sync(sign_in.user_of, token) is not None:
            return None
    except MesError as error:  # the sign-in page says so in words
        return _to_sign_in(scope, error.http_status)
    return _to_sign_in(scope, 401)


def _to_sign_in(scope: Scope, status: int) -> Response:
    if scope["method"] not in {"GET", "HEAD"} or scope["path"].startswith(_NO_PAGES):
        return PlainTextResponse("Sign in first.", status)
    query = scope["query_string"].decode("ascii", "replace")
    address = scope["path"] + (f"?{query}" if query else "")
    to = sign_in.SIGN_IN if address == sign_in.LOCAL_HOME else f"{sign_in.SIGN_IN}?next={quote(address, safe='')}"
    return RedirectResponse(to, 303, {"Cache-Control": "no-store"})


async def _refuse_websocket(_scope: Scope, _receive: Receive, send: Send) -> None:
    """Closed before it was accepted: the server answers 403."""
    await send({"type": "websocket.close", "code": 1008})
