"""Makes and writes lines to stderr a moment later, many at once, so that whoever logs them does not wait for it."""

import atexit
import logging
import os
import sys
import threading
import time
from collections import deque
from collections.abc import Callable

Line = Callable[[], str]
log = logging.getLogger(__name__)

_PAUSE_S = 0.05  # so much may be lost with a process that is killed
_MOST = 10_000


class LineWriter:
    """Takes lines from any thread; a thread of its own makes the texts and writes them.

    Each write lets go of the interpreter, which an event loop among busy threads gets back only after milliseconds:
    so it should not write once per request.
    """

    def __init__(self) -> None:
        self._begin_anew()
        atexit.register(self.flush)
        os.register_at_fork(after_in_child=self._begin_anew)

    def put(self, line: Line) -> None:
        """Have a line written; when so many wait that stderr must be stuck, wait for it as any line does."""
        self._lines.append(line)
        if self._thread is None:
            self._start()
        if not self._there.is_set():
            self._there.set()
        if len(self._lines) > _MOST:
            self.flush()

    def flush(self) -> None:
        """Write what is there."""
        with self._writing:
            lines = [self._lines.popleft() for _ in range(len(self._lines))]
            try:
                sys.stderr.write("".join(map(_text, lines)))
                sys.stderr.flush()
            except (OSError, ValueError):  # closed or full: that must not stop the work
                return

    def _begin_anew(self) -> None:
        """As in a process that was forked: it has no thread, and the lines are its parent's."""
        self._lines: deque[Line] = deque()
        self._there, self._writing = threading.Event(), threading.Lock()
        self._thread: threading.Thread | None = None

    def _start(self) -> None:
        with self._writing:
            if self._thread is None:
                self._thread = threading.Thread(target=self._write, name="log-lines", daemon=True)
                self._thread.start()

    def _write(self) -> None:
        while True:
            self._there.wait()
            time.sleep(_PAUSE_S)
            self._there.clear()
            self.flush()


def _text(line: Line) -> str:
    try:
        return f"{line()}\n"
    except Exception:
        log.exception("a line could not be made")
        return ""
