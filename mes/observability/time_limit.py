"""Keeps questions of health from hanging: each runs in a thread, and whoever asks stops waiting after a limit."""

import threading
from collections.abc import Callable
from concurrent.futures import Future
from typing import Generic, TypeVar

T = TypeVar("T")


class TimeLimited(Generic[T]):
    """Calls `work`, one call at a time; gives up waiting after `limit_s` seconds.

    Whoever asks while a call runs waits for that one, so that a system that hangs costs one thread, however often it is
    asked. The thread is a daemon: it keeps no process from ending.
    """

    def __init__(self, work: Callable[[], T], limit_s: float, name: str) -> None:
        self._work, self._limit_s, self._name = work, limit_s, name
        self._lock = threading.Lock()
        self._running: Future[T] | None = None

    def __call__(self) -> T:
        """What `work` gives, or the error that it raises.

        Raises:
            TimeoutError: it has not come to an end within the limit.
        """
        with self._lock:
            running = self._running or self._start()
        return running.result(timeout=self._limit_s)

    def _start(self) -> Future[T]:
        running: Future[T] = Future()
        self._running = running
        threading.Thread(target=self._run, args=(running,), name=self._name, daemon=True).start()
        return running

    def _run(self, running: Future[T]) -> None:
        try:
            result = self._work()
        except BaseException as error:  # noqa: BLE001  it is raised again, where somebody waits for it
            self._end()
            running.set_exception(error)
        else:
            self._end()
            running.set_result(result)

    def _end(self) -> None:
        with self._lock:
            self._running = None
