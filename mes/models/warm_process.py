"""Keeps the program's warm process: starts it, asks it for children, ends them in time, and replaces it if it dies."""

import atexit
import json
import os
import selectors
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path

from mes.errors import MesError
from mes.models.errors import ModelCrashed, ModelTooSlow

_IMPORT_ROOT = Path(__file__).resolve().parents[2]
READY, REFUSED = b"ready", b"refused "
"""What the warm process says when it is loaded, and before the reason why it could not fork."""

_START_LIMIT_S = 300.0
"""Loading takes 2 s; where nothing is compiled yet, minutes."""

_SEND_LIMIT_S = 10.0
_KILL_LIMIT_S = 5.0
_MOST_HEARD_BYTES = 32 << 20
"""Fifty times the largest answer that was seen, picture included."""

_CHUNK_BYTES = 1 << 20
_LONGEST_STATUS = 200


class SandboxUnavailable(MesError):
    """The process that measures models cannot be started or keeps dying; look at this program's log, then try again."""

    code, http_status = "sandbox_unavailable", 503


class _Died(Exception):
    """The warm process ended while it was needed."""


class _Overlong(Exception):
    """The child says more than any model needs."""


@dataclass(frozen=True, slots=True)
class Ended:
    """How a child ended: its exit status (negative: the signal), its answer and its last words."""

    returncode: int
    answer: bytes
    last_words: bytes


@dataclass(frozen=True, slots=True)
class _Warm:
    process: "subprocess.Popen[bytes]"
    requests: socket.socket


class WarmProcess:
    """One process per program, started at first use; any number of threads may ask it for children.

    Args:
        module: what it runs.
    """

    def __init__(self, module: str = "mes.models.zygote") -> None:
        self._module = module
        self._lock = threading.Lock()
        self._warm: _Warm | None = None
        self._owner = os.getpid()
        atexit.register(self.close)

    def start(self) -> int:
        """Start it, unless it runs, and wait until it is ready; gives its process id.

        Raises:
            SandboxUnavailable: it does not start.
        """
        with self._lock:
            return self._running().process.pid

    def run(self, task: dict[str, object], time_limit_s: float) -> Ended:
        """Have a child do a task; it is gone when this returns or raises.

        Args:
            task: what `mes.models.confined.Task` is made of.
            time_limit_s: on the clock, from when the child was asked for.

        Raises:
            ModelTooSlow: killed at the time limit.
            ModelCrashed: killed because it would not stop talking.
            SandboxUnavailable: the warm process does not start, cannot fork, or died twice.
        """
        for _ in range(2):
            with suppress(_Died):
                return self._run(task, time_limit_s)
        raise SandboxUnavailable

    def close(self) -> None:
        """End it, and with it whatever its children still do."""
        with self._lock:
            if self._warm is not None and os.getpid() == self._owner:  # else this is a fork, whose parent needs it
                self._end(self._warm)

    def _run(self, task: dict[str, object], time_limit_s: float) -> Ended:
        fault: MesError
        with _line() as line:
            warm = self._ask(task, line)
            try:
                return line.listen(time.monotonic() + time_limit_s)
            except TimeoutError:
                fault = ModelTooSlow(seconds=time_limit_s)
            except _Overlong:
                fault = ModelCrashed(reason="its answer is too long")
            except _Died:
                self._discard(warm)
                raise
            if not line.hang_up():  # it does not even kill: something has stopped it
                self._discard(warm)
            raise fault

    def _ask(self, task: dict[str, object], line: "_Line") -> _Warm:
        with self._lock:
            warm = self._running()
            try:
                socket.send_fds(warm.requests, [json.dumps(task).encode()], line.given)
            except OSError as error:
                self._end(warm)
                raise _Died from error
        line.give()
        return warm

    def _running(self) -> _Warm:
        if self._warm is not None and self._warm.process.poll() is not None:
            self._end(self._warm)
        if self._warm is None:
            self._warm = _start(self._module)
        return self._warm

    def _discard(self, warm: _Warm) -> None:
        with self._lock:
            self._end(warm)

    def _end(self, warm: _Warm) -> None:
        """Kill it and reap it, so that the next to ask does not take it for alive; its children die with it."""
        if self._warm is warm:
            self._warm = None
        warm.process.kill()
        warm.process.wait()
        warm.requests.close()


@dataclass
class _Line:
    """What joins a caller with one child: its answer, its last words, and a socket on which word comes of its end."""

    answer: int
    last_words: int
    control: socket.socket
    given: list[int]
    heard: dict[int, bytearray] = field(default_factory=dict)

    def give(self) -> None:
        """Close our copies of the child's ends, once they are sent."""
        while self.given:
            os.close(self.given.pop())

    def listen(self, deadline: float) -> Ended:
        """What the child says, until it has ended.

        Raises:
            TimeoutError: it has not by then.
            _Overlong: it says more than any model needs.
            _Died, SandboxUnavailable: the warm process died, or could not fork.
        """
        self.heard = {self.answer: bytearray(), self.last_words: bytearray()}
        with selectors.DefaultSelector() as sources:
            for source in (self.answer, self.last_words, self.control.fileno()):
                sources.register(source, selectors.EVENT_READ)
            while (left := deadline - time.monotonic()) > 0:
                for key, _ in sources.select(left):
                    if key.fd == self.control.fileno():
                        return self._end()
                    if not self._hear(key.fd):
                        sources.unregister(key.fd)
        raise TimeoutError

    def hang_up(self) -> bool:
        """Have the child killed; gives whether it is gone."""
        self.control.settimeout(_KILL_LIMIT_S)
        try:
            self.control.shutdown(socket.SHUT_WR)
            self.control.recv(_LONGEST_STATUS)
        except TimeoutError:
            return False
        except OSError:  # the warm process is gone, and its children with it
            return True
        return True

    def _hear(self, source: int) -> bool:
        chunk = os.read(source, _CHUNK_BYTES)
        self.heard[source] += chunk
        if len(self.heard[source]) > _MOST_HEARD_BYTES:
            raise _Overlong
        return bool(chunk)

    def _end(self) -> Ended:
        status = self.control.recv(_LONGEST_STATUS)
        if not status:
            raise _Died
        if status.startswith(REFUSED):
            raise SandboxUnavailable(reason=status.removeprefix(REFUSED).decode())
        for source in self.heard:
            os.set_blocking(source, False)
            with suppress(BlockingIOError):  # something that the child left behind holds the other end
                while self._hear(source):
                    pass
        return Ended(int(status), bytes(self.heard[self.answer]), bytes(self.heard[self.last_words]))


@contextmanager
def _line() -> Iterator[_Line]:
    """A line to a child; leaving it in any way has the child killed, if it still runs."""
    with ExitStack() as stack:
        answer, words = os.pipe(), os.pipe()
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        line = _Line(answer[0], words[0], ours, [answer[1], words[1], theirs.detach()])
        stack.callback(os.close, answer[0])
        stack.callback(os.close, words[0])
        stack.callback(line.give)
        stack.callback(ours.close)
        yield line


def _start(module: str) -> _Warm:
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    ours.settimeout(_START_LIMIT_S)
    with theirs:
        process = subprocess.Popen(
            # -P: nothing is imported from the working directory; -B: a child may not write files, bytecode included
            [sys.executable, "-P", "-B", "-m", module, str(theirs.fileno()), str(os.getpid())],
            env=_environment(),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            pass_fds=[theirs.fileno()],
            start_new_session=True,
        )
    try:
        ready = ours.recv(len(READY)) == READY
    except OSError:  # it takes too long, or died
        ready = False
    if not ready:
        process.kill()
        process.wait()
        ours.close()
        raise SandboxUnavailable(returncode=process.returncode)
    ours.settimeout(_SEND_LIMIT_S)
    return _Warm(process, ours)


def _environment() -> dict[str, str]:
    """None of our secrets, and one thread: a process with more does not fork safely."""
    numbas = {name: value for name, value in os.environ.items() if name.startswith("NUMBA_")}
    return numbas | {
        "PATH": os.environ.get("PATH", os.defpath),
        "PYTHONPATH": str(_IMPORT_ROOT),
        "OPENBLAS_NUM_THREADS": "1",
        "OMP_NUM_THREADS": "1",
        "GLIBC_TUNABLES": "glibc.malloc.hugetlb=1",  # a million triangles fault 20,000 small pages less: 0.1 s
    }
