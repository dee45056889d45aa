"""Takes 3D models and shows what was measured of them: `POST /v1/models` and `GET /v1/models/{model_id}`."""

from dataclasses import replace
from typing import Annotated

from fastapi import APIRouter, Path
from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import Response

from ingest import measuring
from ingest.api import examples, model_shapes, openapi, problems
from ingest.api.calls import RETRY_AFTER_S, Call, Called
from ingest.api.errors import Busy, UnsupportedMediaType
from ingest.api.uploads import Bench, Received
from ingest.measuring import Outcome
from mes.callers.idempotency import Answer
from mes.models import errors, pending, uploads
from mes.models.errors import ModelTooSlow
from mes.models.pending import PendingModel
from mes.models.store import StoreUnavailable
from mes.models.warm_process import SandboxUnavailable
from mes.observability import metrics

_BINARY = {"schema": {"type": "string", "format": "binary"}}
_MEDIA_TYPES = ("application/octet-stream", "model/stl", "model/obj", "model/3mf", "application/x-ply")
_REFUSED = tuple(errors.BY_CODE.values())

router = APIRouter(prefix="/v1/models", tags=["models"])


@router.post(
    "",
    operation_id="uploadModel",
    status_code=201,
    summary="Upload a 3D model",
    description="Send the bytes of an STL, OBJ, PLY or 3MF file as the body (up to 200 MB unless configured), chunked "
    "or not. The content decides the format, not `Content-Type`. STL, OBJ and PLY are taken as millimetres. A model's "
    "id is the SHA-256 of its bytes: your same bytes again answer 200 with the same id, so no `Idempotency-Key` is "
    "needed. A doubtful model is taken, with `findings`; what is no model is refused. What takes longer to measure "
    "than a request may is answered 202: it is stored, and will be measured; then ask at `Location`.",
    responses={
        201: openapi.json_answer(
            model_shapes.UploadAnswer, "Stored and measured.", examples.UPLOADED, Location=openapi.LOCATION
        ),
        200: openapi.json_answer(
            model_shapes.UploadAnswer, "You have sent these bytes before.", examples.UPLOADED, Location=openapi.LOCATION
        ),
        202: openapi.json_answer(
            model_shapes.PendingModel,
            "Stored, and being measured.",
            examples.PENDING_MODEL,
            Location=openapi.LOCATION,
            Retry_After=openapi.RETRY_AFTER,
        ),
        **openapi.refusals(
            *openapi.ANYBODY, UnsupportedMediaType, Busy, StoreUnavailable, SandboxUnavailable, *_REFUSED
        ),
    },
    openapi_extra={
        "requestBody": {
            "required": True,
            "description": "The file's bytes.",
            "content": {
                **dict.fromkeys(_MEDIA_TYPES, _BINARY),
                "application/octet-stream": _BINARY
                | {"examples": {"stl": {"value": examples.STL}, "obj": {"value": examples.OBJ}}},
            },
        }
    },
)
async def upload_model(request: Request, call: Called) -> Response:
    """Async, so that a slow sender holds no thread."""
    await run_in_threadpool(call.require_key)
    bench: Bench = request.app.state.bench
    async with bench.receive(request) as received:
        answer = await run_in_threadpool(_known, call, received)
        if answer is None:
            measured = await bench.measure(received.sha256, lambda seconds: _measure(call, received, seconds))
            answer = await run_in_threadpool(_claim if measured else _put_off, call, received)
    return problems.respond(answer)


@router.get(
    "/{model_id}",
    operation_id="getModel",
    summary="Look at a model",
    description="What was measured of a model that you have uploaded, and what is doubtful about it. While a model is "
    "being measured whose upload was answered 202, so is this; if it turns out that it cannot be used, this answers as "
    "the upload would have.",
    responses={
        200: openapi.json_answer(model_shapes.Model, "Measures and findings.", examples.MODEL),
        202: openapi.json_answer(
            model_shapes.PendingModel,
            "Not measured yet.",
            examples.PENDING_MODEL,
            Location=openapi.LOCATION,
            Retry_After=openapi.RETRY_AFTER,
        ),
        **openapi.refusals(*openapi.ANYBODY, errors.NoSuchModel, *_REFUSED),
    },
)
def get_model(
    call: Called,
    model_id: Annotated[
        str,
        Path(
            description="SHA-256 of the file's bytes, in lower-case hexadecimal.",
            openapi_examples={"example": {"value": examples.MODEL_ID}},
            json_schema_extra={"pattern": "^[0-9a-f]{64}$"},
        ),
    ],
) -> Response:
    """Bytes that others have sent are as good as none."""
    with call.transaction() as (conn, caller):
        if "\0" in model_id:  # Postgres cannot even look for it
            raise errors.NoSuchModel
        model = uploads.get_or_none(conn, caller, model_id)
        waiting = pending.get(conn, caller, model_id) if model is None else None
    if model is not None:
        return problems.respond(model_shapes.Model.of(model).answer())
    if waiting is None:
        raise errors.NoSuchModel(model_id=model_id)
    return problems.respond(_not_yet(waiting))


def _known(call: Call, received: Received) -> Answer | None:
    """The caller's, if the bytes are known; whether they were new to us makes no difference to him."""
    known = measuring.is_measured(call.backend.engine, received.sha256)
    metrics.observe_model(known=known)
    if not known:
        return None
    call.backend.store.put_model(received.path)  # if the store had lost it, here it is again
    return _claim(call, received)


def _claim(call: Call, received: Received) -> Answer:
    with call.transaction() as (conn, caller):
        new = uploads.claim(conn, caller, received.sha256)
        model = uploads.get(conn, caller, received.sha256)
    status = 201 if new else 200
    return model_shapes.UploadAnswer.of(model).answer(status, location=f"/v1/models/{received.sha256}")


def _measure(call: Call, received: Received, seconds: float) -> Outcome:
    """Within so many seconds, which may be fewer than the model may take at all; then it is not its fault."""
    with call.backend.engine.begin() as conn:
        if pending.is_awaited(conn, received.sha256):
            return Outcome.TOO_LONG  # it was so for somebody else, and is in better hands
    bench = call.backend.bench
    limits = replace(bench.limits, time_limit_s=min(bench.limits.time_limit_s, seconds))
    try:
        return measuring.measure(bench, received.sha256, received.path, limits)
    except ModelTooSlow:
        if limits.time_limit_s < bench.limits.time_limit_s:
            return Outcome.TOO_LONG
        raise


def _put_off(call: Call, received: Received) -> Answer:
    """Stored, and left to a worker; unless it is measured by now."""
    call.backend.store.put_model(received.path)
    with call.transaction() as (conn, caller):
        if uploads.is_measured(conn, received.sha256):
            waiting = None
        elif pending.are_too_many(conn):
            raise Busy
        else:
            waiting = pending.remember(conn, caller, received.sha256, received.bytes, clock=call.backend.clock)
    return _not_yet(waiting) if waiting is not None else _claim(call, received)


def _not_yet(waiting: PendingModel) -> Answer:
    location = f"/v1/models/{waiting.model_id}"
    return model_shapes.PendingModel.of(waiting).answer(202, location=location, retry_after=str(RETRY_AFTER_S))
