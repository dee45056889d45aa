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
from contextvars import Context, copy_context
from typing import Generic, TypeAlias, TypeVar

T = TypeVar("T")
_Call: TypeAlias = Callable[[], object]

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
        if self._thread is None and not self._has_started():
            self.flush()
        if not self._there.is_set():
            self._there.set()
        if len(self._waiting) >= self._at_once:
            self.flush()

    def flush(self) -> None:
        """Hand on what is there."""
        with self._handing_on:
            if self._waiting:
                self._hand_on([self._waiting.popleft() for _ in range(len(self._waiting))])

    def _begin_anew(self) -> None:
        """As in a process that was forked: it has no thread, and what waits is its parent's."""
        self._waiting = deque[T]()
        self._there, self._handing_on = threading.Event(), threading.RLock()  # handing on may bring more
        self._thread: threading.Thread | None = None

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


def do(call: _Call) -> None:
    """Call it a moment later, in the context of now; its errors are logged."""
    _calls.put((copy_context(), call))


def flush() -> None:
    """Call what is still to be called."""
    _calls.flush()


def _call_all(calls: Sequence[tuple[Context, _Call]]) -> None:
    for context, call in calls:
        try:
            context.run(call)
        except Exception:  # as in a thread of its own: it must not take what comes after it with it
            log.exception("what was to be done later failed")


_calls = Later[tuple[Context, _Call]]("later", _call_all, _AT_ONCE)
