"""Does small work a moment later, much of it at once.

What is done once after each request finds nothing that it needs in the processor's caches, and takes several times as
long as when it is done for many requests in a row.
"""

import atexit
import logging
import os
import threading
import time
from collections import deque
from collections.abc import Callable, Sequence
from typing import Any, Generic, TypeAlias, TypeVar

T = TypeVar("T")
_Work: TypeAlias = Callable[[Sequence[Any]], object]

_PAUSE_S = 0.1  # so much may be lost with a process that is killed
_AT_ONCE = 64
log = logging.getLogger(__name__)


class Later(Generic[T]):
    """Takes things from any thread, and hands them on together, in order: those of a moment, or so many at once.

    A thread of its own does so, or whoever brings the last of so many.
    """

    def __init__(self, name: str, hand_on: Callable[[Sequence[T]], None], at_once: int) -> None:
        self._name, self._hand_on, self._at_once = name, hand_on, at_once
        self._begin_anew()
        atexit.register(self.flush)
        os.register_at_fork(after_in_child=self._begin_anew)

    def put(self, one: T) -> None:
        """Have it handed on."""
        self._waiting.append(one)
        waiting = len(self._waiting)
        if waiting == 1:
            self._wake()
        elif waiting >= self._at_once:
            self.flush()

    def flush(self) -> None:
        """Hand on what is there."""
        with self._handing_on:
            taken = list[T]()
            while self._waiting:  # until there is none: what comes then wakes the thread
                taken.append(self._waiting.popleft())
            if taken:
                self._hand_on(taken)

    def _begin_anew(self) -> None:
        """As in a process that was forked: it has no thread, and what waits is its parent's."""
        self._waiting = deque[T]()
        self._there, self._handing_on = threading.Event(), threading.RLock()  # handing on may bring more
        self._thread: threading.Thread | None = None

    def _wake(self) -> None:
        if self._thread is None and not self._has_started():
            self.flush()
        self._there.set()

    def _has_started(self) -> bool:
        with self._handing_on:
            if self._thread is None:
                thread = threading.Thread(target=self._hand_on_all, name=self._name, daemon=True)
                try:
                    thread.start()
                except RuntimeError:  # no more threads
                    return False
                self._thread = thread
            return True

    def _hand_on_all(self) -> None:
        while True:
            self._there.wait()
            time.sleep(_PAUSE_S)
            self._there.clear()
            self.flush()


def do(work: Callable[[Sequence[T]], object], of: T) -> None:
    """Call `work` a moment later, with all that it was asked for until then, in order; its errors are logged."""
    _asked.put((work, of))


def flush() -> None:
    """Call what is still to be called."""
    _asked.flush()


def _do_all(asked: Sequence[tuple[_Work, object]]) -> None:
    together: dict[_Work, list[object]] = {}
    for work, one in asked:
        together.setdefault(work, []).append(one)
    for work, all_of_it in together.items():
        try:
            work(all_of_it)
        except Exception:
            log.exception("what was to be done later failed")


_asked = Later[tuple[_Work, object]]("later", _do_all, _AT_ONCE)
