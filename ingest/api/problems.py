"""Turns every error into problem+json (RFC 9457), so that a program can always tell what went wrong."""

import json
from collections.abc import Mapping
from datetime import datetime
from http import HTTPStatus
from uuid import UUID

import psycopg
import structlog
from fastapi import FastAPI
from fastapi.exceptions import RequestValidationError
from sqlalchemy.exc import DBAPIError
from sqlalchemy.exc import TimeoutError as PoolExhausted
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from ingest.api import errors
from mes.callers.idempotency import Answer, KeyInUse
from mes.callers.model import NotAuthenticated
from mes.errors import MesError

MEDIA_TYPE = "application/problem+json"
RETRY_AFTER_S = 2

# `status` is the problem's own member; paths and a child's last words are nobody's business
_RENAMED = {"status": "current_status", "version": "current_version"}
_KEPT_TO_OURSELVES = frozenset({"path", "reason", "returncode", "type", "title", "detail", "code", "instance"})
_CLIENT_GONE = 499  # nobody reads it; the name that proxies' logs gave it
_AWAY = (psycopg.OperationalError, psycopg.InterfaceError, psycopg.errors.ReadOnlySqlTransaction)

log = structlog.get_logger(__name__)


def render(error: MesError, instance: str) -> Answer:
    """The answer that tells of an error: status, headers and a problem; `instance` is the request's id."""
    problem = {
        "type": "about:blank",
        "title": HTTPStatus(error.http_status).phrase,
        "status": error.http_status,
        "detail": error.message,
        "code": error.code,
        "instance": instance,
        **(_facts(error.facts) if error.http_status < HTTPStatus.INTERNAL_SERVER_ERROR else {}),
    }
    if isinstance(error, errors.InvalidRequest):
        problem["errors"] = list(error.faults)
    return Answer(error.http_status, {"content-type": MEDIA_TYPE, **_headers(error)}, json.dumps(problem))


def respond(answer: Answer, extra: Mapping[str, str] | None = None) -> Response:
    """The answer as Starlette sends it."""
    return Response(answer.body.encode(), answer.status, headers={**answer.headers, **(extra or {})})


def instance_of(request: Request) -> str:
    """The id of the request, which its log lines carry."""
    return str(request.scope.get("state", {}).get("request_id", ""))


def install(app: FastAPI) -> None:
    """Let the application answer every error as a problem."""
    app.add_exception_handler(MesError, _ours)
    app.add_exception_handler(HTTPException, _of_http)
    app.add_exception_handler(RequestValidationError, _of_fastapi)
    app.add_exception_handler(DBAPIError, _of_database)
    app.add_exception_handler(PoolExhausted, _of_database)
    app.add_exception_handler(ClientDisconnect, _client_gone)
    app.add_middleware(Unforeseen)


class Unforeseen:
    """ASGI middleware that answers what nobody foresaw; Starlette's own would end the caller's connection as well."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Handle one request."""
        started = False

        async def sending(message: Message) -> None:
            nonlocal started
            started = True
            await send(message)

        try:
            await self._app(scope, receive, sending)
        except Exception as error:
            if started or scope["type"] != "http":
                raise
            log.exception("request failed", exc_info=error)
            answer = render(errors.InternalError(), instance_of(Request(scope)))
            await respond(answer)(scope, receive, send)


def _headers(error: MesError) -> dict[str, str]:
    if isinstance(error, NotAuthenticated):
        return {"www-authenticate": "Bearer"}
    if error.http_status == HTTPStatus.SERVICE_UNAVAILABLE:
        return {"retry-after": str(RETRY_AFTER_S)}
    if error.http_status == HTTPStatus.TOO_MANY_REQUESTS:
        return {"retry-after": str(error.facts.get("retry_after_s", 1))}
    return {"retry-after": "1"} if isinstance(error, KeyInUse) else {}


def _facts(facts: Mapping[str, object]) -> dict[str, object]:
    shown: dict[str, object] = {}
    for name, fact in facts.items():
        if name not in _KEPT_TO_OURSELVES and (fact is None or isinstance(fact, str | int | float | UUID | datetime)):
            plain = fact if fact is None or isinstance(fact, bool | int | float) else str(fact)
            shown[_RENAMED.get(name, name)] = plain
    return shown


async def _ours(request: Request, error: Exception) -> Response:
    if not isinstance(error, MesError):
        raise error
    if error.http_status == HTTPStatus.INTERNAL_SERVER_ERROR:
        log.error("request failed", code=error.code, exc_info=error)
        error = errors.InternalError()
    elif error.http_status > HTTPStatus.INTERNAL_SERVER_ERROR:
        log.warning("request refused", code=error.code, error=str(error))
    return respond(render(error, instance_of(request)))


async def _of_http(request: Request, error: Exception) -> Response:
    if not isinstance(error, HTTPException):
        raise error
    if error.status_code == HTTPStatus.NOT_FOUND:
        return await _ours(request, errors.NoSuchPath())
    if error.status_code == HTTPStatus.METHOD_NOT_ALLOWED:
        allowed = request.app.state.methods_of(request.scope["path"])
        answer = render(errors.MethodNotAllowed(), instance_of(request))
        return respond(answer, {"allow": ", ".join(allowed)})
    if error.status_code == HTTPStatus.REQUEST_ENTITY_TOO_LARGE:
        return await _ours(request, errors.BodyTooLarge())
    return await _ours(request, errors.BadRequest() if error.status_code < 500 else errors.InternalError())  # noqa: PLR2004  HTTP


async def _of_fastapi(request: Request, error: Exception) -> Response:
    if not isinstance(error, RequestValidationError):
        raise error
    faults = [{"detail": str(fault["msg"])} for fault in error.errors()]
    return await _ours(request, errors.InvalidRequest(faults))


async def _of_database(request: Request, error: Exception) -> Response:
    cause = error.orig if isinstance(error, DBAPIError) else None
    if isinstance(error, DBAPIError) and not (isinstance(cause, _AWAY) or error.connection_invalidated):
        raise error
    log.warning("database unavailable", error=str(cause or error))
    return respond(render(errors.DatabaseUnavailable(), instance_of(request)))


async def _client_gone(_request: Request, _error: Exception) -> Response:
    return Response(status_code=_CLIENT_GONE)
