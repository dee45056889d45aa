"""Remembers what runs from a home, so that a second start finds the first, and a start after a kill cleans up."""

import json
import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from pathlib import Path

import structlog

from mes.errors import MesError
from mes.runtime import run_marker
from mes.runtime.file_locks import FileLock, is_locked

log = structlog.get_logger(__name__)

_STATE = "run.json"
_LOCK = "run.lock"


@dataclass(frozen=True)
class RunState:
    """One running system: the supervisor's pid, the mark of its processes, and its addresses once it is ready."""

    pid: int
    run_id: str
    urls: dict[str, str] = field(default_factory=dict)


class AlreadyRunning(MesError):
    """The system is running already."""

    code, http_status = "already_running", 409

    def __init__(self, state: RunState | None) -> None:
        facts: dict[str, object] = {"pid": state.pid, **state.urls} if state else {}
        super().__init__(None, **facts)
        self.state = state


def running(home: Path) -> RunState | None:
    """What runs from the home now; None when nothing does, or when it has only just begun."""
    return _read(home) if is_locked(home / _LOCK) else None


@contextmanager
def claimed(home: Path, run_id: str) -> Iterator[None]:
    """Be the one that runs from the home, for the time of the block; ends what a killed run left behind.

    Raises:
        AlreadyRunning: somebody else is.
    """
    lock = FileLock(home / _LOCK)
    if not lock.acquire(exclusive=True, wait_s=0.2):  # others look at the lock for an instant
        lock.release()
        raise AlreadyRunning(_read(home))
    try:
        _end_leftovers(home)
        write(home, RunState(os.getpid(), run_id))
        yield
    finally:
        (home / _STATE).unlink(missing_ok=True)  # what finds one later knows that this run was killed
        lock.release()


def write(home: Path, state: RunState) -> None:
    """Replace what is remembered."""
    new = home / f"{_STATE}.new"
    new.write_text(json.dumps(asdict(state)))
    new.replace(home / _STATE)


def _end_leftovers(home: Path) -> None:
    if (stale := _read(home)) is None:
        return
    log.warning("an earlier run was killed", pid=stale.pid)
    if resisting := run_marker.kill(stale.run_id):
        log.error("processes of the earlier run could not be killed", pids=resisting)


def _read(home: Path) -> RunState | None:
    try:
        return RunState(**json.loads((home / _STATE).read_text()))
    except (FileNotFoundError, ValueError, TypeError):  # none, or cut short by a full disk: it knows nothing
        return None
