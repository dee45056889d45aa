"""Writes lines to stderr a moment later, many at once, so that whoever logs them does not wait for it."""

import os
import select
import sys
import threading
from collections.abc import Iterable, Iterator, Sequence
from contextlib import suppress

from mes.observability.later import Later

_MOST = 10_000


class LineWriter:
    """Takes lines from any thread.

    Each write lets go of the interpreter, which an event loop among busy threads gets back only after milliseconds:
    so it should not write once per request.
    """

    def __init__(self) -> None:
        self._begin_anew()
        os.register_at_fork(after_in_child=self._begin_anew)
        # when so many wait, stderr must be stuck: whoever brings more waits for it, as for any line
        self._later = Later[str]("log-lines", self._write_all, _MOST)

    def write(self, text: str) -> None:
        """Write a line at once, and never within another."""
        with self._writing:
            sys.stderr.write(text)
            sys.stderr.flush()

    def put(self, text: str) -> None:
        """Have a line written, with its end."""
        self._later.put(text)

    def flush(self) -> None:
        """Write what is there."""
        self._later.flush()

    def _begin_anew(self) -> None:
        self._writing = threading.RLock()  # a signal's handler may log, too

    def _write_all(self, texts: Sequence[str]) -> None:
        with suppress(Exception):  # closed or full, by whatever stands in its place: that must not stop the work
            for piece in _pieces(texts):
                self.write(piece)


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
