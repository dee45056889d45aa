"""Does small work a moment later, much of it at once, in a thread of its own.

What is done once after each request finds nothing that it needs in the processor's caches, and takes several times as
long as when it is done for many requests in a row; and a thread that lets go of the interpreter, as by writing, gets it
back only when a busy one lets go of it.
"""

import atexit
import logging
import os
import threading
import time
from collections import deque
from collections.abc import Callable, Sequence
from typing import Any, TypeAlias, TypeVar

T = TypeVar("T")
_Work: TypeAlias = Callable[[Sequence[Any]], object]

_PAUSE_S = 0.1  # so much may be lost with a process that is killed
_MOST = 10_000
log = logging.getLogger(__name__)


class _Later:
    """What is still to be done."""

    def __init__(self) -> None:
        self.begin_anew()

    def put(self, work: _Work, of: object) -> None:
        self._asked.append((work, of))
        if not self._there.is_set():  # else the thread is still to look
            self._wake()
        elif len(self._asked) > _MOST:  # it must be stuck, as in a write that nobody reads: then wait for it
            self.flush()

    def flush(self, within_s: float = -1) -> None:
        if not self._doing.acquire(timeout=within_s):
            return
        try:
            while self._asked:  # what is done may ask for more
                _do([self._asked.popleft() for _ in range(len(self._asked))])
        finally:
            self._doing.release()

    def begin_anew(self) -> None:
        """As in a process that was forked: it has no thread, and what was asked is its parent's."""
        self._asked = deque[tuple[_Work, object]]()
        self._there, self._doing = threading.Event(), threading.RLock()
        self._thread: threading.Thread | None = None

    def _wake(self) -> None:
        if self._thread is None and not self._has_started():
            self.flush()
        else:
            self._there.set()

    def _has_started(self) -> bool:
        with self._doing:
            if self._thread is None:
                thread = threading.Thread(target=self._do_all, name="later", daemon=True)
                try:
                    thread.start()
                except RuntimeError:  # no more threads
                    return False
                self._thread = thread
            return True

    def _do_all(self) -> None:
        while True:
            self._there.wait()
            time.sleep(_PAUSE_S)
            self._there.clear()
            self.flush()


def do(work: Callable[[Sequence[T]], object], of: T) -> None:
    """Call `work` a moment later, with all that it was asked for until then, in order; its errors are logged."""
    _later.put(work, of)


def flush(within_s: float = -1) -> None:
    """Do what is still to be done; if another thread is at it, wait for it, so long at most if that is said."""
    _later.flush(within_s)


def _do(asked: Sequence[tuple[_Work, object]]) -> None:
    together: dict[_Work, list[object]] = {}
    for work, one in asked:
        together.setdefault(work, []).append(one)
    for work, all_of_it in together.items():
        try:
            work(all_of_it)
        except Exception:
            log.exception("what was to be done later failed")


_later = _Later()
atexit.register(_later.flush)
os.register_at_fork(after_in_child=_later.begin_anew)
