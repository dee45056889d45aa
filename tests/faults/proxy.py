"""Stands between programs and a server, in a process of its own, and breaks the line: cut, stalled, slow, torn."""

import asyncio
import json
import socket
import struct
import subprocess
import sys
import threading
from collections.abc import Callable
from contextlib import suppress
from dataclasses import asdict, dataclass

import uvloop

from tests.processes import REPOSITORY

_PIECE = 1 << 16
_TORN_S = 0.05  # for what has passed to arrive before the line breaks
_RESET = struct.pack("ii", 1, 0)  # SO_LINGER: closing sends RST


@dataclass(frozen=True)
class Server:
    """Where the line leads: a Unix socket, or a port of this machine."""

    path: str = ""
    port: int = 0


class Proxy:
    """A port of this machine that leads to a server for as long as nobody breaks the line."""

    def __init__(self, server: Server) -> None:
        self._process = subprocess.Popen(
            [sys.executable, "-m", "tests.faults.proxy", json.dumps(asdict(server))],
            cwd=REPOSITORY,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        self._turn = threading.Lock()
        self.port = int(self._answered())

    def cut(self) -> None:
        """Reset all connections, and refuse new ones until `heal`."""
        self._tell("cut")

    def tear(self, after_bytes: int) -> None:
        """Let so many bytes more pass, of all connections together, then cut: a message may arrive in part."""
        self._tell("tear", after_bytes)

    def stall(self) -> None:
        """Let nothing pass until `heal`; connections stay open, as when a cable is pulled."""
        self._tell("stall")

    def slow(self, milliseconds: int) -> None:
        """Keep each piece back for so long, until `heal`."""
        self._tell("slow", milliseconds)

    def heal(self) -> None:
        """Let everything pass; what was kept back arrives late."""
        self._tell("heal")

    def stop(self) -> None:
        """End it, for good."""
        if self._process.stdin is not None:
            self._process.stdin.close()
        self._process.wait()
        if self._process.stdout is not None:
            self._process.stdout.close()

    def _tell(self, what: str, number: int = 0) -> None:
        if self._process.stdin is None:
            raise AssertionError("Popen gives a stream for PIPE")
        with self._turn:
            self._process.stdin.write(f"{what} {number}\n")
            self._process.stdin.flush()
            self._answered()

    def _answered(self) -> str:
        said = self._process.stdout.readline() if self._process.stdout is not None else ""
        if not said:
            raise AssertionError("the proxy has ended")
        return said


class _Line:
    """All connections of a port, in the proxy's own process."""

    def __init__(self, server: Server) -> None:
        self._server = server
        self._held = socket.socket()  # the port stays ours while nobody listens
        self._held.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        self._held.bind(("127.0.0.1", 0))
        self.port: int = self._held.getsockname()[1]
        self._listening: asyncio.Server | None = None
        self._ends: set[asyncio.StreamWriter] = set()
        self._passing = asyncio.Event()
        self._delay_s = 0.0
        self._left: int | None = None

    async def heal(self) -> None:
        self._delay_s, self._left = 0.0, None
        self._passing.set()
        if self._listening is None:
            self._listening = await asyncio.start_server(self._link, "127.0.0.1", self.port, reuse_port=True)

    def stall(self, _number: int) -> None:
        self._passing.clear()

    def slow(self, milliseconds: int) -> None:
        self._delay_s = milliseconds / 1000

    def tear(self, after_bytes: int) -> None:
        self._left = after_bytes

    def cut(self, _number: int = 0) -> None:
        if self._listening is not None:
            self._listening.close()
            self._listening = None
        for end in list(self._ends):
            _reset(end)

    async def _link(self, from_client: asyncio.StreamReader, to_client: asyncio.StreamWriter) -> None:
        try:
            from_server, to_server = await self._reach()
        except OSError:  # it is down: whoever called sees that the line breaks
            _reset(to_client)
            return
        ends = {to_client, to_server}
        self._ends |= ends
        try:  # at the end of the process it is cancelled, which asyncio would complain of
            with suppress(asyncio.CancelledError):
                await asyncio.gather(self._pump(from_client, to_server), self._pump(from_server, to_client))
        finally:
            self._ends -= ends

    async def _reach(self) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        if self._server.path:
            return await asyncio.open_unix_connection(self._server.path)
        return await asyncio.open_connection("127.0.0.1", self._server.port)

    async def _pump(self, source: asyncio.StreamReader, to: asyncio.StreamWriter) -> None:
        with suppress(OSError, RuntimeError):  # uvloop's word for an end that was reset meanwhile
            while data := await source.read(_PIECE):
                if self._delay_s:
                    await asyncio.sleep(self._delay_s)
                await self._passing.wait()
                to.write(data if self._left is None else self._first_part(data))
                await to.drain()
        to.close()

    def _first_part(self, data: bytes) -> bytes:
        left = self._left or 0
        self._left = max(0, left - len(data))
        if len(data) > left:
            asyncio.get_running_loop().call_later(_TORN_S, self._cut_torn)
        return data[:left]

    def _cut_torn(self) -> None:
        if self._left is not None:  # it was not healed meanwhile
            self.cut()


def _reset(end: asyncio.StreamWriter) -> None:
    link = end.get_extra_info("socket")
    if link is not None:
        with suppress(OSError, ValueError):  # it is closed already
            link.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET)
    end.transport.abort()


async def _serve(server: Server) -> None:
    line = _Line(server)
    breaks: dict[str, Callable[[int], None]] = {
        "cut": line.cut,
        "stall": line.stall,
        "slow": line.slow,
        "tear": line.tear,
    }
    await line.heal()
    said = asyncio.StreamReader()
    await asyncio.get_running_loop().connect_read_pipe(lambda: asyncio.StreamReaderProtocol(said), sys.stdin)
    sys.stdout.write(f"{line.port}\n")
    sys.stdout.flush()
    while words := (await said.readline()).decode().split():
        if words[0] == "heal":
            await line.heal()
        else:
            breaks[words[0]](int(words[1]))
        sys.stdout.write("done\n")
        sys.stdout.flush()


if __name__ == "__main__":
    uvloop.run(_serve(Server(**json.loads(sys.argv[1]))))
