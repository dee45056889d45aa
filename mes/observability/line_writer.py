"""Writes lines to stderr a moment later, many at once, so that whoever logs them does not wait for it."""

import os
import select
import stat
import sys
import threading
from collections.abc import Iterable, Iterator, Sequence
from contextlib import suppress
from itertools import chain

from mes.observability import later

_MOST_BYTES = 1_000_000


class LineWriter:
    """Takes lines from any thread."""

    def __init__(self) -> None:
        self._begin_anew()
        os.register_at_fork(after_in_child=self._begin_anew)

    def write(self, text: str) -> None:
        """Write a line at once, and never within another."""
        with self._writing:
            sys.stderr.write(text)
            sys.stderr.flush()

    def put(self, texts: Sequence[str]) -> None:
        """Have lines written, each with its end, by what does things `later`."""
        later.do(self._write_all, texts)

    def _begin_anew(self) -> None:
        self._writing = threading.RLock()  # a signal's handler may log, too

    def _write_all(self, texts: Sequence[Sequence[str]]) -> None:
        with suppress(Exception):  # closed or full, by whatever stands in its place: that must not stop the work
            for piece in _pieces(chain.from_iterable(texts), _most_bytes()):
                self.write(piece)


def _most_bytes() -> int:
    """That go to stderr as a whole: other processes may have the same pipe."""
    with suppress(OSError, ValueError):  # what stands in its place has no file
        if not stat.S_ISFIFO(os.fstat(sys.stderr.fileno()).st_mode):
            return _MOST_BYTES
    return select.PIPE_BUF


def _pieces(texts: Iterable[str], most_bytes: int) -> Iterator[str]:
    """Lines together."""
    piece, size = list[str](), 0
    for text in texts:
        length = len(text) if text.isascii() else len(text.encode(errors="backslashreplace"))
        if piece and size + length > most_bytes:
            yield "".join(piece)
            piece, size = [], 0
        piece.append(text)
        size += length
    yield "".join(piece)
