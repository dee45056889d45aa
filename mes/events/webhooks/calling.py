"""Makes the calls: to the address that was looked up and checked, no further, and with little patience."""

import asyncio
import ipaddress
import socket
import ssl
from collections.abc import Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from typing import Any

import certifi
import httpcore

from mes.events.webhooks import addresses

CALL_S = 15.0
"""A call that is not answered within this time has failed."""

_CONNECT_S = 5.0
_LARGEST_ANSWER = 64 * 1024
_LOOKUPS = 64


class AddressForbidden(Exception):
    """The name leads to an address inside, which is not called."""


@dataclass(frozen=True)
class Answer:
    """What came of a call: a status, or in words why there is none."""

    status: int | None
    error: str | None
    retry_after: str | None = None


class Calls:
    """An HTTP client that knows nothing but one POST: no redirects, no proxies, no cookies, no kept connections."""

    def __init__(self, *, loopback: bool = False, trust: ssl.SSLContext | None = None) -> None:
        self._network = _Dialling(loopback=loopback)
        self._pool = httpcore.AsyncConnectionPool(
            ssl_context=trust or ssl.create_default_context(cafile=certifi.where()),
            max_keepalive_connections=0,  # or a name that changed would be called where it was
            max_connections=None,
            network_backend=self._network,
        )

    async def post(self, url: str, headers: Mapping[str, str], body: bytes, *, limit_s: float = CALL_S) -> Answer:
        """Send it, and read no more of the answer than is needed."""
        try:
            async with asyncio.timeout(limit_s):
                return await self._post(url, headers, body)
        except TimeoutError:
            return Answer(None, f"no answer within {limit_s:g} s")
        except AddressForbidden as error:
            return Answer(None, str(error))
        except Exception as error:  # noqa: BLE001 - whatever the other side has done, it is one call that failed
            return Answer(None, _reason(error))

    async def close(self) -> None:
        """End all connections."""
        await self._pool.aclose()
        self._network.close()

    async def _post(self, url: str, headers: Mapping[str, str], body: bytes) -> Answer:
        timeouts = {"connect": _CONNECT_S, "read": CALL_S, "write": CALL_S, "pool": CALL_S}
        sent = {**headers, "content-length": str(len(body))}
        async with self._pool.stream(
            "POST", url, headers=list(sent.items()), content=body, extensions={"timeout": timeouts}
        ) as answer:
            read = 0
            async for piece in answer.aiter_stream():
                read += len(piece)
                if read > _LARGEST_ANSWER:
                    break
            retry_after = next(
                (value.decode("latin-1") for name, value in answer.headers if name.lower() == b"retry-after"), None
            )
            return Answer(answer.status, None, retry_after)


class _Dialling(httpcore.AsyncNetworkBackend):
    """Looks a name up once and dials what it has checked, so that the name cannot mean something else in between."""

    def __init__(self, *, loopback: bool) -> None:
        self._loopback = loopback
        self._sockets = httpcore.AnyIOBackend()
        # a name that nobody answers for holds its thread for half a minute, whatever our own limit
        self._lookups = ThreadPoolExecutor(_LOOKUPS, "webhooks-names")

    async def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: float | None = None,  # noqa: ASYNC109 - httpcore's signature
        local_address: str | None = None,
        socket_options: Iterable[Any] | None = None,
    ) -> httpcore.AsyncNetworkStream:
        found = await asyncio.get_running_loop().run_in_executor(
            self._lookups, partial(socket.getaddrinfo, host, port, type=socket.SOCK_STREAM)
        )
        allowed = [address for address in _unique(found) if self._allowed(address)]
        if not allowed:
            raise AddressForbidden("the name leads to an address of a private network")
        failure: Exception | None = None
        for address in allowed:
            try:
                return await self._sockets.connect_tcp(
                    address, port, timeout=timeout, local_address=local_address, socket_options=socket_options
                )
            except (httpcore.NetworkError, httpcore.TimeoutException) as error:
                failure = error
        raise failure or AddressForbidden("the name leads nowhere")

    async def connect_unix_socket(self, *_: Any, **__: Any) -> httpcore.AsyncNetworkStream:  # noqa: ANN401
        raise AddressForbidden("sockets of this machine are not called")

    def close(self) -> None:
        """Look nothing up any more; what is being looked up is not waited for."""
        self._lookups.shutdown(wait=False, cancel_futures=True)

    async def sleep(self, seconds: float) -> None:
        await asyncio.sleep(seconds)

    def _allowed(self, address: str) -> bool:
        return addresses.may_be_called(ipaddress.ip_address(address.partition("%")[0]), loopback=self._loopback)


def _unique(found: Iterable[Any]) -> list[str]:
    return list(dict.fromkeys(str(entry[4][0]) for entry in found))


def _reason(error: Exception) -> str:
    """What happened in few words, and nothing that the other side may have put there."""
    if isinstance(error, socket.gaierror | UnicodeError):
        return "the name is not known"
    cause: BaseException | None = error
    while cause is not None:
        if isinstance(cause, ssl.SSLCertVerificationError):
            return "the certificate cannot be trusted"
        if isinstance(cause, ConnectionRefusedError):
            return "the connection was refused"
        cause = cause.__cause__ or cause.__context__
    return f"the call failed ({type(error).__name__})"
