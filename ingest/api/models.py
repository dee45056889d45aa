"""Takes 3D models and shows what was measured of them: `POST /v1/models` and `GET /v1/models/{model_id}`."""

from typing import Annotated

from fastapi import APIRouter, Path
from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import Response

from ingest.api import examples, openapi, problems, shapes
from ingest.api.calls import Call, Called
from ingest.api.errors import Busy, UnsupportedMediaType
from ingest.api.uploads import Bench, Received
from mes.callers.idempotency import Answer
from mes.models import errors, intake, sandbox, uploads
from mes.models.store import StoreUnavailable

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
    "needed. A doubtful model is taken, with `findings`; what is no model is refused.",
    responses={
        201: openapi.json_answer(
            shapes.UploadAnswer, "Stored and measured.", examples.UPLOADED, Location=openapi.LOCATION
        ),
        200: openapi.json_answer(
            shapes.UploadAnswer, "You have sent these bytes before.", examples.UPLOADED, Location=openapi.LOCATION
        ),
        **openapi.refusals(*openapi.ANYBODY, UnsupportedMediaType, Busy, StoreUnavailable, *_REFUSED),
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
    await run_in_threadpool(_require_key, call)
    bench: Bench = request.app.state.bench
    async with bench.receive(request) as received:
        answer = await run_in_threadpool(_claim, call, received)
        if answer is None:
            await bench.measure(lambda: _measure(call, received))
            answer = await run_in_threadpool(_claim, call, received)
    if answer is None:
        raise AssertionError("a model that was just measured is not known")
    return problems.respond(answer)


@router.get(
    "/{model_id}",
    operation_id="getModel",
    summary="Look at a model",
    description="What was measured of a model that you have uploaded, and what is doubtful about it.",
    responses={
        200: openapi.json_answer(shapes.Model, "Measures and findings.", examples.MODEL),
        **openapi.refusals(*openapi.ANYBODY, errors.NoSuchModel),
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
        return problems.respond(shapes.Model.of(uploads.get(conn, caller, model_id)).answer())


def _require_key(call: Call) -> None:
    with call.transaction():
        pass


def _claim(call: Call, received: Received) -> Answer | None:
    """The caller's, if the bytes are known; whether they were new to us makes no difference to him."""
    with call.transaction() as (conn, _):
        if not uploads.is_measured(conn, received.sha256):
            return None
    call.backend.store.put_model(received.path)  # if the store had lost it, here it is again
    with call.transaction() as (conn, caller):
        new = uploads.claim(conn, caller, received.sha256)
        model = uploads.get(conn, caller, received.sha256)
    status = 201 if new else 200
    return shapes.UploadAnswer.of(model).answer(status, location=f"/v1/models/{received.sha256}")


def _measure(call: Call, received: Received) -> None:
    """Bytes and picture first, then the rows that name them."""
    with call.transaction() as (conn, _):
        if uploads.is_measured(conn, received.sha256):  # somebody else sent the same, and was measured first
            return
    analysis = sandbox.analyse(received.path, sandbox.Limits.of(call.backend.settings))
    intake.put_objects(call.backend.store, received.path, analysis)
    with call.transaction() as (conn, _):
        uploads.record(conn, analysis)
