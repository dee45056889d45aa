"""Answers `/sign-in` and `/sign-out`: forms that set and clear the cookie of a person's session."""

from urllib.parse import parse_qs, urlsplit

import structlog
from anyio import CapacityLimiter, to_thread
from starlette.requests import Request
from starlette.responses import HTMLResponse, RedirectResponse, Response
from starlette.routing import Route

from app import sign_in, sign_in_page
from mes.errors import MesError

log = structlog.get_logger(__name__)

_MAX_FORM_BYTES = 16 * 1024  # a name, a password of 1,024 bytes and an address, all percent-encoded
_AT_ONCE = 2  # a hash takes 64 MiB and 4 threads for some 0.1 s: guests must not use up the machine

_REFUSED = "Name or password is wrong. After five failed attempts in a row, signing in is refused for 15 minutes."
_FOREIGN = "The form came from another site. Open this console's own address and sign in there."
_TOO_LONG = "What was sent is too long for a name and a password."


def routes() -> list[Route]:
    """The routes, for `streamlit.starlette.App(routes=...)`."""
    limiter = CapacityLimiter(_AT_ONCE)

    async def submit(request: Request) -> Response:
        return await _sign_in(request, limiter)

    return [
        Route(sign_in.SIGN_IN, _form, methods=["GET"]),
        Route(sign_in.SIGN_IN, submit, methods=["POST"]),
        Route(sign_in.SIGN_OUT, _sign_out, methods=["POST"]),
    ]


def is_own(request: Request) -> bool:
    """Whether a form was sent from one of our pages, or by a program that is no browser (CSRF).

    As Go's `net/http.CrossOriginProtection`: browsers say where a request comes from in `Sec-Fetch-Site`, and over
    plain http, where they leave that out, in `Origin`.
    """
    site = request.headers.get("sec-fetch-site")
    if site is not None:
        return site in {"same-origin", "none"}
    origin = request.headers.get("origin")
    return origin is None or urlsplit(origin).netloc == request.headers.get("host")


def _form(request: Request) -> Response:
    """Starlette runs this in a thread, since it is no coroutine."""
    address = sign_in.local(request.query_params.get("next"))
    try:
        if sign_in.user_of(request.cookies.get(sign_in.COOKIE)) is not None:
            return RedirectResponse(address, 303)
        return _page(address, anybody=sign_in.anybody())
    except MesError as error:
        return _page(address, error=error)


async def _sign_in(request: Request, limiter: CapacityLimiter) -> Response:
    if not is_own(request):
        return _page(sign_in.LOCAL_HOME, refusal=_FOREIGN, status=403)
    body = await _read(request)
    if body is None:
        return _page(sign_in.LOCAL_HOME, refusal=_TOO_LONG, status=413)
    fields = {name: values[0] for name, values in parse_qs(body, errors="replace").items()}
    return await to_thread.run_sync(_answer, request, fields, limiter=limiter)


def _answer(request: Request, fields: dict[str, str]) -> Response:
    address, user_name = sign_in.local(fields.get("next")), fields.get("user_name", "")
    try:
        token = sign_in.sign_in(user_name, fields.get("password", ""), request.cookies.get(sign_in.COOKIE))
    except MesError as error:
        return _page(address, user_name=user_name, error=error)
    if token is None:
        return _page(address, user_name=user_name, refusal=_REFUSED, status=401)
    response = RedirectResponse(address, 303)
    response.set_cookie(
        sign_in.COOKIE,
        token,
        max_age=int(sign_in.lasts().total_seconds()),
        path="/",
        httponly=True,
        samesite="lax",  # strict would show the sign-in page to whoever follows a link from a message to an order
        secure=request.url.scheme == "https",
    )
    return response


def _sign_out(request: Request) -> Response:
    """Starlette runs this in a thread, since it is no coroutine."""
    if not is_own(request):
        return _page(sign_in.LOCAL_HOME, refusal=_FOREIGN, status=403)
    try:
        sign_in.sign_out(request.cookies.get(sign_in.COOKIE))
    except MesError as error:
        return _page(sign_in.LOCAL_HOME, error=error)
    response = RedirectResponse(sign_in.SIGN_IN, 303)
    response.delete_cookie(sign_in.COOKIE, path="/", httponly=True, samesite="lax")
    return response


def _page(
    address: str,
    user_name: str = "",
    *,
    refusal: str | None = None,
    error: MesError | None = None,
    status: int = 200,
    anybody: bool = True,
) -> Response:
    if error is not None:
        log.warning("sign-in page has trouble", code=error.code, error=str(error))
        refusal, status = error.message, error.http_status
    page = sign_in_page.html(address, user_name, refusal, anybody=anybody)
    return HTMLResponse(page, status, sign_in_page.headers())


async def _read(request: Request) -> str | None:
    """The form as it was sent; None when it is longer than a form of ours can be."""
    body = b""
    async for chunk in request.stream():
        body += chunk
        if len(body) > _MAX_FORM_BYTES:
            return None
    return body.decode("ascii", "replace")
