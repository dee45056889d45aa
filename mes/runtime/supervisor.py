"""Keeps a fixed set of processes running on this machine, and leaves none of them, nor what they started, behind."""

import http.client
import os
import signal
import subprocess
import time
import uuid
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from types import FrameType
from urllib.parse import urlsplit

import structlog

from mes.errors import MesError
from mes.runtime import leash, run_marker, watchdog
from mes.runtime.process_log import ProcessLog, tail

log = structlog.get_logger(__name__)

_TICK_S = 0.1
_STOP_S = 5.0  # TERM to all within this, then KILL; orchestrators give 10 s, and the database stops after us
_TURN_S = 0.5  # how long one process may take before the next is told to stop as well, so that all have most of _STOP_S
_BACKOFF_S = (0.5, 1.0, 2.0, 5.0, 10.0, 30.0)
_STEADY_S = 60.0  # up for so long, and the next restart is quick again
_STARTS_BEFORE_READY = 5  # then it will not come up, and saying so helps more than trying
_SETTLED_S = 1.0  # without a readiness check, a process counts as ready when it has stayed up that long
_PROBE_S = 0.5
_SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
_AT_ONCE = 2  # signals: whoever repeats it will not wait


class ProcessFailed(MesError):
    """A process keeps ending before it is ready."""

    code = "process_failed"


@dataclass(frozen=True)
class ProcessSpec:
    """One process to keep running.

    Attributes:
        name: short and unique; also the name of its log file.
        argv: the program and its arguments.
        env: environment variables beside the supervisor's own.
        ready_url: HTTP address that answers below 400 once the process is ready.
        ready: asked instead of an address; must answer quickly.
        after: names of processes that must be ready before this one is started.
    """

    name: str
    argv: Sequence[str]
    env: Mapping[str, str] = field(default_factory=dict)
    ready_url: str | None = None
    ready: Callable[[], bool] | None = None
    after: Sequence[str] = ()


class Supervisor:
    """Starts, watches, restarts and stops processes; `run` blocks in the main thread, which gets the signals.

    Args:
        specs: the processes, in the order of their start; they are stopped in reverse.
        logs: folder for `<name>.jsonl`, what each process prints.
        cwd: working directory of all processes.
        on_ready: called once, when all are ready.
        on_tick: called about ten times a second, for instance to look after the database.
    """

    def __init__(
        self,
        specs: Sequence[ProcessSpec],
        logs: Path,
        cwd: Path,
        *,
        on_ready: Callable[[], None] = lambda: None,
        on_tick: Callable[[], None] = lambda: None,
    ) -> None:
        self.run_id = uuid.uuid4().hex
        self._children = [_Child(spec, logs, cwd, self.run_id) for spec in specs]
        self._on_ready, self._on_tick = on_ready, on_tick
        self._signals = 0

    def run(self) -> None:
        """Keep all running until SIGINT, SIGTERM or SIGHUP; a second signal kills without waiting.

        Raises:
            ProcessFailed: a process does not come up; all have been stopped.
        """
        heeded = [number for number in _SIGNALS if signal.getsignal(number) is not signal.SIG_IGN]  # nohup ignores one
        before = {number: signal.signal(number, self._on_signal) for number in heeded}
        guard = watchdog.start(self.run_id)
        announced = False
        try:
            while not self._signals:
                guard = guard if guard.poll() is None else watchdog.start(self.run_id)
                self._advance()
                if not announced and all(child.is_ready for child in self._children):
                    announced = True
                    self._on_ready()
                self._on_tick()
                time.sleep(_TICK_S)
        finally:
            self._stop()
            guard.communicate()  # closes its pipe: it looks once more for leftovers, and ends
            for number, handler in before.items():
                signal.signal(number, handler)

    def restarts(self) -> dict[str, int]:
        """How often each process has been restarted."""
        return {child.spec.name: child.restarts for child in self._children}

    def _advance(self) -> None:
        ready = {child.spec.name for child in self._children if child.is_ready}
        for child in self._children:
            child.advance(may_start=ready.issuperset(child.spec.after))

    def _stop(self) -> None:
        """TERM in reverse order of start, each given a short turn; what is left at the deadline is killed."""
        deadline = time.monotonic() + _STOP_S
        for child in reversed(self._children):
            child.terminate()
            self._wait([child], min(deadline, time.monotonic() + _TURN_S))
        self._wait(self._children, deadline)
        if resisting := run_marker.kill(self.run_id):
            log.error("processes could not be killed", pids=resisting)
        for child in self._children:
            child.close()

    def _wait(self, children: "Sequence[_Child]", end: float) -> None:
        while self._signals < _AT_ONCE and time.monotonic() < end and any(child.is_alive for child in children):
            time.sleep(_TICK_S / 2)

    def _on_signal(self, number: int, _frame: FrameType | None) -> None:
        self._signals += 1
        log.info("stopping", signal=signal.Signals(number).name, at_once=self._signals >= _AT_ONCE)


class _Child:
    """One supervised process through all its restarts."""

    def __init__(self, spec: ProcessSpec, logs: Path, cwd: Path, run_id: str) -> None:
        self.spec = spec
        self.restarts = 0
        self.is_ready = False
        self._cwd, self._run_id = cwd, run_id
        self._log = ProcessLog(logs / f"{spec.name}.jsonl", spec.name)
        self._process: subprocess.Popen[bytes] | None = None
        self._started_at = self._start_at = 0.0
        self._failures = 0  # in a row
        self._was_ready = False

    @property
    def is_alive(self) -> bool:
        return self._process is not None and self._process.poll() is None

    def advance(self, *, may_start: bool) -> None:
        """One step: start it when it is due, look whether it is ready, notice its end."""
        now = time.monotonic()
        if self._process is None:
            if may_start and now >= self._start_at:
                self._start()
        elif (status := self._process.poll()) is not None:
            self._ended(status, now)
        elif not self.is_ready and self._probe(now):
            self.is_ready = self._was_ready = True
            log.info("ready", name=self.spec.name, seconds=round(now - self._started_at, 1))

    def terminate(self) -> None:
        if self._process is not None:
            with suppress(ProcessLookupError):
                self._process.terminate()

    def close(self) -> None:
        if self._process is not None:
            self._process.wait()
        self._log.close()

    def _start(self) -> None:
        environment = {**os.environ, **self.spec.env, **run_marker.marks(self._run_id, self.spec.name)}
        self._process = subprocess.Popen(
            leash.command(self.spec.argv, signal.SIGKILL),
            cwd=self._cwd,
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            start_new_session=True,  # Ctrl-C in the terminal comes to us alone, so that the order of stopping is ours
        )
        if self._process.stdout is None:
            raise AssertionError("Popen gives a stream for PIPE")
        self._log.follow(self._process.stdout)
        self._started_at = time.monotonic()
        log.info("started", name=self.spec.name, pid=self._process.pid)

    def _ended(self, status: int, now: float) -> None:
        run_marker.kill(self._run_id, self.spec.name)  # what it started and left behind
        self._process, self.is_ready = None, False
        self._failures = 1 if now - self._started_at > _STEADY_S else self._failures + 1
        if not self._was_ready and self._failures >= _STARTS_BEFORE_READY:
            raise ProcessFailed(
                f"{self.spec.name} ended {self._failures} times before it was ready, at last with status {status}. "
                f"{self._log.path} ends with:\n{tail(self._log.path)}"
            )
        self.restarts += 1
        pause = _BACKOFF_S[min(self._failures, len(_BACKOFF_S)) - 1]
        self._start_at = now + pause
        log.warning("ended", name=self.spec.name, status=status, restarts=self.restarts, next_start_in_s=pause)

    def _probe(self, now: float) -> bool:
        if self.spec.ready is not None:
            return self.spec.ready()
        if self.spec.ready_url is not None:
            return answers(self.spec.ready_url)
        return now - self._started_at >= _SETTLED_S


def answers(url: str) -> bool:
    """Whether a web process answers a GET below 400, within half a second."""
    parts = urlsplit(url)
    connection = http.client.HTTPConnection(parts.hostname or "", parts.port, timeout=_PROBE_S)
    try:
        connection.request("GET", parts.path or "/")
        return connection.getresponse().status < 400  # noqa: PLR2004  the first error status of HTTP
    except (OSError, http.client.HTTPException):
        return False
    finally:
        connection.close()
