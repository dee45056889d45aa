"""Reads bodies strictly: JSON whole and within bounds, what it says against the model that describes it."""

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from email.message import Message
from functools import lru_cache
from typing import Any, TypeVar

from pydantic import BaseModel, ValidationError
from pydantic_core import ErrorDetails
from starlette.requests import Request

from ingest.api.errors import BodyTooLarge, InvalidRequest, MalformedJson, UnsupportedMediaType
from mes.errors import MesError
from mes.pricing.options import fault_in_words

JSON_MAX_BYTES = 2 * 1024 * 1024  # an order of 200 items with 50 kinds of stones each takes 1.3 MB
_FAULTS_SHOWN = 50
_WORDS = {"application/json": "JSON", "application/x-ndjson": "a line of JSON for each order"}

Model = TypeVar("Model", bound=BaseModel)


@dataclass(frozen=True)
class Body:
    """What came with the request; a fault of it is kept until we know that the caller may ask at all."""

    content: bytes = b""
    fault: MesError | None = None

    def read(self) -> bytes:
        """The bytes.

        Raises:
            UnsupportedMediaType: they are not declared as JSON.
            BodyTooLarge: there are too many.
        """
        if self.fault is not None:
            raise self.fault
        return self.content


async def receive_json(request: Request) -> Body:
    """Receive the body of a request that must be JSON; for `Depends`."""
    return await receive(request, ("application/json",), JSON_MAX_BYTES)


async def receive(request: Request, media_types: Sequence[str], most: int) -> Body:
    """Receive a body of one of these types, of at most so many bytes, in UTF-8."""
    media_type = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if media_type not in media_types:
        wanted = media_types[0]
        return Body(fault=UnsupportedMediaType(f"Send {_WORDS.get(wanted, wanted)}, with `Content-Type: {wanted}`."))
    if request.headers.get("content-encoding", "identity").strip().lower() != "identity":
        return Body(fault=UnsupportedMediaType("Send the body as it is, without a Content-Encoding."))
    if _charset(request.headers["content-type"]) not in {"utf-8", "utf8", "us-ascii"}:
        return Body(fault=UnsupportedMediaType("JSON is UTF-8: send it so, with no other charset."))
    declared = request.headers.get("content-length", "")
    if declared.isdecimal() and int(declared) > most:
        return Body(fault=BodyTooLarge(most=most))
    content = bytearray()
    async for chunk in request.stream():
        content += chunk
        if len(content) > most:
            return Body(fault=BodyTooLarge(most=most))
    return Body(bytes(content))


@lru_cache(maxsize=64)
def _charset(content_type: str) -> str:
    message = Message()
    message["content-type"] = content_type
    return str(message.get_content_charset("utf-8"))


def parse(model: type[Model], content: bytes) -> Model:
    """What a JSON body says.

    Raises:
        MalformedJson: it is no JSON, or not in UTF-8, or nested absurdly deep.
        InvalidRequest: it is no such thing; names each member at fault by its JSON pointer (RFC 6901).
    """
    try:
        said = model.model_validate_json(content)
    except ValidationError as error:
        details = error.errors(include_url=False)
        if details[0]["type"] == "json_invalid":
            raise MalformedJson(f"The body is not JSON in UTF-8: {details[0]['ctx']['error']}.") from None
        raise InvalidRequest([_fault(detail) for detail in _true_faults(details)[:_FAULTS_SHOWN]]) from None
    if b"\\u0000" in content and (holders := list(_with_nul(json.loads(content), ""))):
        # JSON allows it, Postgres does not
        detail = "must not hold the character NUL (\\u0000)"
        raise InvalidRequest([{"pointer": pointer, "detail": detail} for pointer in holders[:_FAULTS_SHOWN]])
    return said


def parse_query(model: type[Model], values: Mapping[str, Any]) -> Model:
    """What the parameters of a query say.

    Raises:
        InvalidRequest: there is no such parameter, or not with such a value; names each parameter at fault.
    """
    try:
        return model.model_validate(values)
    except ValidationError as error:
        details = error.errors(include_url=False)[:_FAULTS_SHOWN]
    raise InvalidRequest([{"parameter": str(detail["loc"][0]), "detail": _words(detail)} for detail in details])


def _true_faults(details: list[ErrorDetails]) -> list[ErrorDetails]:
    """Without those that only follow from others: a list whose elements are wrong is not too short."""
    wrong = {detail["loc"][:depth] for detail in details for depth in range(len(detail["loc"]))}
    return [detail for detail in details if detail["type"] != "too_short" or detail["loc"] not in wrong]


def _fault(detail: ErrorDetails) -> dict[str, str]:
    return {"pointer": "".join(f"/{_escaped(str(part))}" for part in detail["loc"]), "detail": _words(detail)}


def _words(detail: ErrorDetails) -> str:
    if detail["type"] in {"too_short", "too_long"}:
        limits = detail["ctx"]
        return (
            f"give at least {limits['min_length']}"
            if "min_length" in limits
            else f"give at most {limits['max_length']}"
        )
    return fault_in_words({**detail, "loc": ("",)}).removeprefix("all of it: ").removeprefix(": ")


def _escaped(part: str) -> str:
    return part.replace("~", "~0").replace("/", "~1")


def _with_nul(said: object, pointer: str) -> Iterator[str]:
    if isinstance(said, str) and "\0" in said:
        yield pointer
    elif isinstance(said, list):
        for index, element in enumerate(said):
            yield from _with_nul(element, f"{pointer}/{index}")
    elif isinstance(said, dict):
        for name, element in said.items():
            yield from _with_nul(element, f"{pointer}/{_escaped(name)}")
