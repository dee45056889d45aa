"""Writes lines to stderr a moment later, many at once, so that whoever logs them does not wait for it."""

import atexit
import os
import select
import sys
import threading
import time
from collections import deque
from collections.abc import Iterable, Iterator

_PAUSE_S = 0.1  # so much may be lost with a process that is killed
_MOST = 10_000


class LineWriter:
    """Takes lines from any thread; a thread of its own writes them.

    Each write lets go of the interpreter, which an event loop among busy threads gets back only after milliseconds:
    so it should not write once per request.
    """

    def __init__(self) -> None:
        self._begin_anew()
        atexit.register(self.flush)
        os.register_at_fork(after_in_child=self._begin_anew)

    def write(self, text: str) -> None:
        """Write a line at once, and never within another."""
        with self._writing:
            sys.stderr.write(text)
            sys.stderr.flush()

    def put(self, text: str) -> None:
        """Have a line written, with its end; when so many wait that stderr must be stuck, wait for it as any does."""
        self._texts.append(text)
        if self._thread is None and not self._has_started():
            self.flush()
        if not self._there.is_set():
            self._there.set()
        if len(self._texts) > _MOST:
            self.flush()

    def flush(self) -> None:
        """Write what is there."""
        with self._writing:
            texts = [self._texts.popleft() for _ in range(len(self._texts))]
            try:
                for piece in _pieces(texts):
                    self.write(piece)
            except Exception:  # noqa: BLE001 - closed or full, by whatever stands in its place: that must not stop the work
                return

    def _begin_anew(self) -> None:
        """As in a process that was forked: it has no thread, and the lines are its parent's."""
        self._texts: deque[str] = deque()
        self._there, self._writing = threading.Event(), threading.RLock()  # flush writes within
        self._thread: threading.Thread | None = None

    def _has_started(self) -> bool:
        with self._writing:
            if self._thread is None:
                thread = threading.Thread(target=self._write_all, name="log-lines", daemon=True)
                try:
                    thread.start()
                except RuntimeError:  # no more threads
                    return False
                self._thread = thread
            return True

    def _write_all(self) -> None:
        while True:
            self._there.wait()
            time.sleep(_PAUSE_S)
            self._there.clear()
            self.flush()


def _pieces(texts: Iterable[str]) -> Iterator[str]:
    """Lines together, as many as a pipe takes all or none of."""
    piece, size = list[str](), 0
    for text in texts:
        length = len(text) if text.isascii() else len(text.encode(errors="backslashreplace"))
        if piece and size + length > select.PIPE_BUF:
            yield "".join(piece)
            piece, size = [], 0
        piece.append(text)
        size += length
    yield "".join(piece)
