"""Connects to NATS, and sets up the streams that the contract names."""

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from datetime import timedelta
from typing import TypeVar

import nats
import structlog
from anyio.from_thread import BlockingPortal, start_blocking_portal
from nats.aio.client import DEFAULT_MAX_PAYLOAD_SIZE, Client
from nats.errors import ConnectionClosedError
from nats.errors import Error as NatsError
from nats.js.api import RetentionPolicy, StorageType, StreamConfig, StreamInfo
from nats.js.client import JetStreamContext
from nats.js.errors import NotFoundError

from mes.events import subjects
from mes.events.carriers.carrier import BusUnavailable

OUT_STREAM = "MES"
ANSWER_S = 5.0
"""Whoever has not answered by then counts as away."""

_CONNECT_S, _PAUSE_S = 2, 0.1
_PING_S, _PINGS_MISSED = 2, 2
_HEADERS_BYTES = 4096  # the server counts them, too; ours take some hundreds
_Given = TypeVar("_Given")
Work = Callable[[JetStreamContext], Awaitable[_Given]]

log = structlog.get_logger(__name__)


@dataclass(frozen=True)
class StreamPlan:
    """A stream of the contract: its name, and the subjects that it keeps."""

    name: str
    subjects: tuple[str, ...]


STREAMS = (
    StreamPlan(OUT_STREAM, (f"{subjects.OUT}.*.*",)),
    *(StreamPlan(sender.upper(), (f"{sender}.v1.order.*",)) for sender in subjects.SENDERS),
)


class NatsConnection:
    """A connection that threads use, made when it is needed and again after it has failed.

    Nothing is buffered while NATS is away: who sends learns that it was not taken, and sends again.
    """

    def __init__(self, url: str, name: str) -> None:
        self._url, self._name = url, name
        self._opened = start_blocking_portal()
        self._portal: BlockingPortal = self._opened.__enter__()
        self._client: Client | None = None
        self.generation = 0
        """Grows with each connection: what belonged to an earlier one is gone with it."""

    def run(self, work: Work[_Given], *, anew: bool = False) -> _Given:
        """Do something with JetStream, and wait for it.

        Args:
            work: is given JetStream.
            anew: whether to connect if there is no connection. What relies on how it found the bus must not: between
                two connections, the bus may have lost what it had.

        Raises:
            BusUnavailable: NATS is away, or does not answer in time.
        """
        return self._portal.call(self._run, work, anew)

    @property
    def most_bytes(self) -> int:
        """What the body of a message may take on the server that is connected."""
        return (self._client.max_payload if self._client is not None else DEFAULT_MAX_PAYLOAD_SIZE) - _HEADERS_BYTES

    def close(self) -> None:
        """Disconnect, for good."""
        try:
            self._portal.call(self._drop)
        finally:
            self._opened.__exit__(None, None, None)

    async def _run(self, work: Work[_Given], anew: bool) -> _Given:  # noqa: FBT001 - a portal gives positions
        try:
            client = await self._connected(anew=anew)
            return await work(client.jetstream(timeout=ANSWER_S))
        except (TimeoutError, NatsError, OSError, EOFError) as error:
            await self._drop()
            raise BusUnavailable(f"NATS cannot be used ({type(error).__name__}).") from error

    async def _connected(self, *, anew: bool) -> Client:
        if self._client is None or not self._client.is_connected:
            if not anew:
                raise ConnectionClosedError
            await self._drop()
            self._client = await nats.connect(
                [server.strip() for server in self._url.split(",")],
                name=self._name,
                allow_reconnect=False,
                connect_timeout=_CONNECT_S,
                max_reconnect_attempts=1,  # it goes for the first connection, too: 60 times by default, two minutes
                reconnect_time_wait=_PAUSE_S,
                ping_interval=_PING_S,
                max_outstanding_pings=_PINGS_MISSED,
                error_cb=_quiet,
            )
            self.generation += 1
        return self._client

    async def _drop(self) -> None:
        client, self._client = self._client, None
        if client is not None:
            try:
                await asyncio.wait_for(client.close(), _CONNECT_S)
            except (TimeoutError, NatsError, OSError) as error:
                log.debug("closing failed", error=type(error).__name__)


async def ensure_stream(
    js: JetStreamContext, plan: StreamPlan, *, kept: timedelta, replicas: int = 1, renew: bool = False
) -> StreamInfo:
    """The stream, made if it is missing; with `renew` an existing one is set to what is asked for."""
    config = StreamConfig(
        name=plan.name,
        subjects=list(plan.subjects),
        retention=RetentionPolicy.LIMITS,
        storage=StorageType.FILE,
        max_age=kept.total_seconds(),
        num_replicas=replicas,
        allow_direct=True,
    )
    try:
        found = await js.stream_info(plan.name)
    except NotFoundError:
        log.info("stream made", stream=plan.name, subjects=plan.subjects)
        return await js.add_stream(config)
    return await js.update_stream(config) if renew else found


def made(info: StreamInfo) -> str:
    """What tells this stream from an earlier one of the same name."""
    return info.created.isoformat() if info.created is not None else ""


async def _quiet(error: Exception) -> None:
    """What fails is raised where it is waited for, too."""
    log.debug("nats", error=type(error).__name__)
