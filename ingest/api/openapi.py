"""Writes `/openapi.json`: FastAPI lists the routes, this adds the bodies that we read and every answer that we give."""

import re
from collections.abc import Mapping, Sequence
from http import HTTPStatus
from typing import Any, Literal

from fastapi import FastAPI
from fastapi.openapi.utils import get_openapi
from fastapi.routing import APIRoute
from pydantic import BaseModel
from pydantic.json_schema import models_json_schema
from starlette.routing import compile_path

from ingest.api import examples, problems
from ingest.api.errors import (
    BodyTooLarge,
    DatabaseUnavailable,
    InternalError,
    InvalidRequest,
    MalformedJson,
    UnsupportedMediaType,
)
from ingest.api.overload import Overloaded, TooManyRequests
from ingest.api.shape import Shape
from ingest.api.shapes import Problem
from mes.callers.idempotency import KeyInUse, KeyInvalid, KeyMissing, KeyReused
from mes.callers.model import NotAuthenticated
from mes.errors import MesError
from mes.pricing.materials import MATERIALS

Refusal = type[MesError]
Documented = dict[str, Any]
Mode = Literal["validation", "serialization"]

ANYBODY: tuple[Refusal, ...] = (NotAuthenticated, TooManyRequests, InternalError, DatabaseUnavailable, Overloaded)
JSON_BODY: tuple[Refusal, ...] = (MalformedJson, InvalidRequest, BodyTooLarge, UnsupportedMediaType)
KEYED: tuple[Refusal, ...] = (KeyMissing, KeyInvalid, KeyInUse, KeyReused)

REQUEST_ID_HEADER = {"description": "Id of the request.", "schema": {"type": "string"}}
LOCATION = {"description": "Where to find it.", "schema": {"type": "string"}}
RETRY_AFTER = {
    "description": "Seconds to wait before asking again.",
    "schema": {"type": "string", "pattern": "^[0-9]+$"},
}
REPLAYED = {
    "description": "`true` when this is the answer that was given to this `Idempotency-Key` before.",
    "schema": {"type": "string", "enum": ["true"]},
}
KEY_PARAMETER: Documented = {
    "name": "Idempotency-Key",
    "in": "header",
    "required": True,
    "description": "New for each new request; the same when you try again: the answer is then the first one's, and "
    "nothing is done twice. Kept for 7 days. It belongs to you, the method and the path.",
    "schema": {"type": "string", "minLength": 1, "maxLength": 255, "pattern": "^[!-~]([ -~]{0,253}[!-~])?$"},
    "example": "0d5dc9d4-6f0b-4b4e-9f2c-0f8a3c1b7e55",
}

_TITLE, _VERSION = "Atelier MES", "1"
_DESCRIPTION = """\
Send models, ask for prices, place orders and follow them.

- Give your key with every call: `Authorization: Bearer <key>`.
- Every error is `application/problem+json`; act on `code`, show `detail` to people.
- Repeat a creating call with the same `Idempotency-Key` until it is answered: it has one effect.
- Money is decimal text. Times are RFC 3339, in UTC. Ignore members that you don't know.
"""
_TAGS = [
    {"name": "models", "description": "3D models, named by the SHA-256 of their bytes."},
    {"name": "quotes", "description": "Prices with their breakdown, frozen."},
    {"name": "orders", "description": "Orders, their moves and their history."},
    {"name": "events", "description": "What happened to all orders that you may see, one after the other."},
    {"name": "webhooks", "description": "Calls to you, as things happen."},
    {"name": "machines", "description": "For whoever runs the workshop's machines."},
]


def json_answer(shape: type[Shape], description: str, example: Any, **headers: Documented) -> Documented:  # noqa: ANN401  JSON
    """A successful answer; `_` in a header's name stands for `-`."""
    return {
        "description": description,
        "headers": {"X-Request-Id": REQUEST_ID_HEADER, **{n.replace("_", "-"): h for n, h in headers.items()}},
        "content": {
            "application/json": {
                "schema": {"$ref": _ref(shape)},
                "examples": {"example": {"value": example}},
            }
        },
    }


def refusals(*errors: Refusal, keyed: bool = False) -> dict[int | str, Documented]:
    """The problems that a call may answer with, by status, an example for each code."""
    by_status: dict[int | str, Documented] = {}
    for error in errors:
        said = by_status.setdefault(error.http_status, _problem_answer(error.http_status, keyed=keyed))
        example = {"summary": _sentence(error), "value": problem_example(error)}
        said["content"][problems.MEDIA_TYPE]["examples"][error.code] = example
    return by_status


def problem_example(error: Refusal) -> Documented:
    """What a problem of this kind looks like."""
    said = {
        "type": "about:blank",
        "title": HTTPStatus(error.http_status).phrase,
        "status": error.http_status,
        "detail": _sentence(error),
        "code": error.code,
        "instance": examples.REQUEST_ID,
    }
    if error is InvalidRequest:
        said["errors"] = [
            {"pointer": "/items/0/quantity", "detail": "input should be greater than or equal to 1, not 0"}
        ]
    return said


def json_body(model: type[BaseModel], **named: Documented) -> Documented:
    """What a call takes, as `openapi_extra`; the examples are sent by a test, in their order."""
    return {
        "requestBody": {
            "required": True,
            "content": {
                "application/json": {
                    "schema": {"$ref": _ref(model)},
                    "examples": {name: {"value": value} for name, value in named.items()},
                }
            },
        }
    }


def query_parameters(model: type[BaseModel], **named: object) -> Documented:
    """The members of a model as parameters of a query, as `openapi_extra`; `named` are their examples."""
    schema = model.model_json_schema(ref_template="#/components/schemas/{model}")
    return {
        "parameters": [
            {
                "name": name,
                "in": "query",
                "required": False,
                "description": member.pop("description"),
                "schema": _without_null(member),
                **({"example": named[name]} if name in named else {}),
            }
            for name, member in schema["properties"].items()
        ]
    }


def install(app: FastAPI, routes: Sequence[APIRoute], bodies: Sequence[type[BaseModel]]) -> None:
    """Let the application serve our document, and know the methods of each path.

    Args:
        app: with all its routes.
        routes: those to be documented.
        bodies: the models of the bodies that are read.
    """
    document = _document(app, routes, bodies)
    app.openapi = lambda: document  # type: ignore[method-assign]  # FastAPI's own way to replace it
    known = [(compile_path(path)[0], _methods(calls)) for path, calls in document["paths"].items()]
    known += [(re.compile(re.escape(path) + "$"), ["GET", "HEAD"]) for path in ("/openapi.json", "/docs")]

    def methods_of(path: str) -> list[str]:
        return next((methods for pattern, methods in known if pattern.match(path)), [])

    app.state.methods_of = methods_of


def _document(app: FastAPI, routes: Sequence[APIRoute], bodies: Sequence[type[BaseModel]]) -> Documented:
    document = get_openapi(
        title=_TITLE, version=_VERSION, description=_DESCRIPTION, routes=app.routes, tags=_TAGS, openapi_version="3.1.0"
    )
    document["servers"] = [{"url": "/"}]
    tags = [tag["name"] for tag in _TAGS]
    document["paths"] = dict(sorted(document["paths"].items(), key=lambda path: tags.index(_tag_of(path[1]))))
    components = document.setdefault("components", {})
    components["schemas"] = _schemas(bodies)
    for route in routes:
        for method in route.methods or ():
            call = document["paths"][route.path_format][method.lower()]
            for status, answer in route.responses.items():  # once more: FastAPI drops what is null in their examples
                if "content" in answer:
                    call["responses"][str(status)]["content"] = answer["content"]
    for calls in document["paths"].values():
        for call in calls.values():
            answer = call["responses"].get("422", {})
            if "HTTPValidationError" in str(answer):  # FastAPI's own guess; we say ourselves what we answer
                del call["responses"]["422"]
    return document


def _tag_of(calls: Mapping[str, Documented]) -> str:
    return str(next(iter(calls.values()))["tags"][0])


def _schemas(bodies: Sequence[type[BaseModel]]) -> Documented:
    described: list[tuple[type[BaseModel], Mode]] = [(body, "validation") for body in bodies]
    described += [(shape, "serialization") for shape in _all_subclasses(Shape)]
    _, definitions = models_json_schema(described, ref_template="#/components/schemas/{model}")
    schemas: Documented = definitions["$defs"]
    for schema in schemas.values():
        if (material := schema.get("properties", {}).get("material")) and schema.get("additionalProperties") is False:
            material["enum"] = list(MATERIALS)
    return schemas


def _all_subclasses(shape: type[Shape]) -> list[type[Shape]]:
    return [found for child in shape.__subclasses__() for found in (child, *_all_subclasses(child))]


def _problem_answer(status: int, *, keyed: bool) -> Documented:
    headers: Documented = {"X-Request-Id": REQUEST_ID_HEADER}
    if status == HTTPStatus.UNAUTHORIZED:
        headers["WWW-Authenticate"] = {"description": "Always `Bearer`.", "schema": {"type": "string"}}
    waiting = {HTTPStatus.SERVICE_UNAVAILABLE, HTTPStatus.TOO_MANY_REQUESTS}
    if status in waiting or (keyed and status == HTTPStatus.CONFLICT):
        headers["Retry-After"] = RETRY_AFTER
    if keyed and status < HTTPStatus.INTERNAL_SERVER_ERROR:
        headers["Idempotency-Replayed"] = REPLAYED
    content = {"schema": {"$ref": _ref(Problem)}, "examples": {}}
    return {"description": HTTPStatus(status).phrase, "headers": headers, "content": {problems.MEDIA_TYPE: content}}


def _methods(calls: Mapping[str, object]) -> list[str]:
    return sorted(method.upper() for method in calls)


def _sentence(error: Refusal) -> str:
    return (error.__doc__ or error.__name__).strip().splitlines()[0]


def _ref(model: type[BaseModel]) -> str:
    return f"#/components/schemas/{model.__name__}"


def _without_null(member: Documented) -> Documented:
    """A parameter is there or it is not: it is never null."""
    member.pop("title", None)
    if member.get("default", ...) is None:
        member.pop("default")
    kinds: list[Documented] = [kind for kind in member.pop("anyOf", []) if kind != {"type": "null"}]
    return member | (kinds[0] if kinds else {})
