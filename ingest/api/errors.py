"""Names what can be wrong with a request before the core sees it, and what the process itself cannot do."""

from collections.abc import Sequence
from typing import ClassVar

from mes.errors import MesError


class NoSuchPath(MesError):
    """There is nothing at this address; `/openapi.json` tells what there is."""

    code: ClassVar[str] = "no_such_path"
    http_status: ClassVar[int] = 404


class MethodNotAllowed(MesError):
    """This address does not know this method; the header `Allow` names those that it knows."""

    code: ClassVar[str] = "method_not_allowed"
    http_status: ClassVar[int] = 405


class BadRequest(MesError):
    """This request cannot be understood."""

    code: ClassVar[str] = "bad_request"
    http_status: ClassVar[int] = 400


class MalformedJson(MesError):
    """The body is not JSON in UTF-8."""

    code: ClassVar[str] = "malformed_json"
    http_status: ClassVar[int] = 400


class BadCursor(MesError):
    """This cursor does not belong to this list and these filters: begin again without one."""

    code: ClassVar[str] = "bad_cursor"
    http_status: ClassVar[int] = 400


class BodyTooLarge(MesError):
    """The body is larger than this call takes."""

    code: ClassVar[str] = "body_too_large"
    http_status: ClassVar[int] = 413


class UnsupportedMediaType(MesError):
    """Send JSON, with `Content-Type: application/json`."""

    code: ClassVar[str] = "unsupported_media_type"
    http_status: ClassVar[int] = 415


class InvalidRequest(MesError):
    """The request says something that cannot be; `errors` tells what and where."""

    code: ClassVar[str] = "invalid_request"
    http_status: ClassVar[int] = 422

    def __init__(self, faults: Sequence[dict[str, str]] = ()) -> None:
        super().__init__()
        self.faults = faults


class QuoteFailed(MesError):
    """No price came of this quote; `cause` and `detail` say why. Ask for a new one once that is mended."""

    code: ClassVar[str] = "quote_failed"
    http_status: ClassVar[int] = 422


class Busy(MesError):
    """More models are waiting to be measured than we can take on: try again a little later."""

    code: ClassVar[str] = "busy"
    http_status: ClassVar[int] = 503


class DatabaseUnavailable(MesError):
    """The database cannot be reached or is too busy. Nothing is lost: try again with the same `Idempotency-Key`."""

    code: ClassVar[str] = "database_unavailable"
    http_status: ClassVar[int] = 503


class InternalError(MesError):
    """This is our fault. Tell us the request's id (`instance`); trying again does no harm."""

    code: ClassVar[str] = "internal_error"
    http_status: ClassVar[int] = 500
