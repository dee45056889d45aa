"""Receives 3D models onto the disk, whatever their size, and has as many measured at a time as there are cores."""

import asyncio
import hashlib
import os
import tempfile
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import IO

import anyio
import anyio.to_thread
from anyio import CapacityLimiter
from starlette.concurrency import run_in_threadpool
from starlette.requests import Request

from ingest.api.errors import UnsupportedMediaType
from ingest.measuring import Outcome
from mes.models.errors import ModelTooLarge, UnreadableModel
from mes.models.store import StoreUnavailable

_WRITTEN_BYTES = 1 << 20  # at a time: a thread for each of the network's 64 kB would cost more than writing them
_WAITING_MAX = 16  # per core; a model takes a second or so, and what waits longer is better left to a worker
_LEFT_OVER_S = 6 * 3600.0
_FIRST_LOOK_S, _LAST_LOOK_S = 0.05, 0.4  # for whether another process has done with a model
_LEAST_S = 0.1  # a measurement that would be cut off sooner is not begun

Attempt = Callable[[float], Outcome]
"""Tries to have a model measured within so many seconds, in a thread."""


@dataclass(frozen=True)
class Received:
    """A file that came whole, and the SHA-256 of its bytes."""

    path: Path
    sha256: str
    bytes: int


class Bench:
    """Room for models: a folder that they are received in, and a limit for those being measured.

    Args:
        folder: for files that are being received.
        max_bytes: of a file.
        patience_s: how long a request waits for a measurement, its own or another's.
    """

    def __init__(self, folder: Path, max_bytes: int, patience_s: float) -> None:
        self._folder, self._max_bytes, self._patience_s = folder, max_bytes, patience_s
        self._cores = os.cpu_count() or 1
        self._limiter = CapacityLimiter(self._cores)
        self._running: dict[str, asyncio.Future[bool]] = {}

    def tidy(self) -> None:
        """Make the folder, and remove what a killed process left in it."""
        self._folder.mkdir(parents=True, exist_ok=True)
        for file in self._folder.iterdir():
            with suppress(FileNotFoundError):  # another process tidies, or has just finished with it
                if file.stat().st_mtime < time.time() - _LEFT_OVER_S:
                    file.unlink()

    @asynccontextmanager
    async def receive(self, request: Request) -> AsyncIterator[Received]:
        """The request's body as a file, for the time of the block; nothing is left of a sender that goes away.

        Raises:
            UnsupportedMediaType: it is a form, which would wrap the file.
            ModelTooLarge: as soon as it has sent, or announced, more than is read.
            UnreadableModel: it is empty.
            StoreUnavailable: it cannot be written.
        """
        self._check(request)
        part = tempfile.NamedTemporaryFile(dir=self._folder, delete=False)  # noqa: SIM115  closed before it is read
        try:
            with part:
                sha256, size = await self._fill(part.file, request)
            if not size:
                raise UnreadableModel("This file is empty: send the model's bytes as the body.")
            yield Received(Path(part.name), sha256, size)
        finally:
            os.unlink(part.name)  # noqa: PTH108  one call, that no task can cancel half-way

    async def measure(self, model_id: str, attempt: Attempt) -> bool:
        """Have a model measured while the caller waits; gives whether it is, False when that takes too long.

        Of those who send the same model at once, one attempts it and all get what came of that; the others hold neither
        a thread nor a connection meanwhile. While another process measures it, we look again and again.

        Raises:
            whatever `attempt` raises, for all who wait.
        """
        until = time.monotonic() + self._patience_s
        while (running := self._running.get(model_id)) is not None:
            await asyncio.wait([running], timeout=max(0.0, until - time.monotonic()))
            if not running.done():
                return False
            if not running.cancelled():
                return running.result()
        return await self._lead(model_id, self._try(attempt, until))

    async def _lead(self, model_id: str, trying: Awaitable[bool]) -> bool:
        """Try, and tell the others; a request that is cancelled leaves the lead to one of them."""
        ours = self._running[model_id] = asyncio.get_running_loop().create_future()
        try:
            done = await trying
        except Exception as error:
            ours.set_exception(error)
            ours.exception()  # it may be that nobody else asks
            raise
        else:
            ours.set_result(done)
            return done
        finally:
            del self._running[model_id]
            ours.cancel()  # does nothing once it has a result

    async def _try(self, attempt: Attempt, until: float) -> bool:
        pause = _FIRST_LOOK_S
        while until - time.monotonic() >= _LEAST_S:
            outcome = await self._in_turn(attempt, until)
            if outcome is not Outcome.TAKEN:
                return outcome is Outcome.MEASURED
            await asyncio.sleep(min(pause, max(0.0, until - time.monotonic())))
            pause = min(pause * 2, _LAST_LOOK_S)
        return False

    async def _in_turn(self, attempt: Attempt, until: float) -> Outcome | None:
        """Attempt it in a thread, when a core is free for it; None when none was in time."""
        if self._limiter.statistics().tasks_waiting >= _WAITING_MAX * self._cores:
            return None
        with anyio.move_on_after(until - time.monotonic()):  # of the waiting: what has begun keeps the time itself
            return await anyio.to_thread.run_sync(lambda: attempt(until - time.monotonic()), limiter=self._limiter)
        return None

    async def _fill(self, part: IO[bytes], request: Request) -> tuple[str, int]:
        """Write the body to the file; gives the SHA-256 and the number of its bytes."""
        digest, size, waiting = hashlib.sha256(), 0, bytearray()
        async for chunk in request.stream():
            size += len(chunk)
            if size > self._max_bytes:
                raise ModelTooLarge(most=self._max_bytes)
            waiting += chunk
            if len(waiting) >= _WRITTEN_BYTES:
                await run_in_threadpool(_write, part, digest, waiting)
                waiting.clear()
        await run_in_threadpool(_write, part, digest, waiting)
        return digest.hexdigest(), size

    def _check(self, request: Request) -> None:
        media_type = request.headers.get("content-type", "").partition(";")[0].strip().lower()
        if media_type.startswith("multipart/"):
            raise UnsupportedMediaType("Send the file's bytes as the body, not a form (curl: --data-binary @FILE).")
        declared = request.headers.get("content-length", "")
        if declared.isdecimal() and int(declared) > self._max_bytes:
            raise ModelTooLarge(bytes=int(declared), most=self._max_bytes)


def _write(part: IO[bytes], digest: "hashlib._Hash", content: bytearray) -> None:
    """In a thread, since both take milliseconds.

    Raises:
        StoreUnavailable: it cannot be written; the disk is full, as a rule.
    """
    digest.update(content)
    try:
        part.write(content)
        part.flush()
    except OSError as error:
        raise StoreUnavailable(kind=type(error).__name__) from error
