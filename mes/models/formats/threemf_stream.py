"""Feeds a 3MF's XML to Expat, but for the plain runs of vertices and triangles, which compiled code takes faster."""

import re
from typing import IO, Protocol
from xml.parsers import expat

import numpy as np

from mes.models.errors import UnreadableModel
from mes.models.formats import threemf_runs as runs
from mes.models.mesh import Floats

_CHUNK_BYTES = 1 << 20
_MAX_TOKEN_BYTES = 1 << 20  # a tag or a comment; Expat before 2.6 reads an unfinished one again with every chunk
_LONGEST_OPENING = 1024
_TAKEN_AT_ONCE = 1 << 15  # elements; a chunk holds hardly more
_PATIENCE = 32  # elements in a row that only Expat understands, before the rest of their run goes there too
_OPENINGS = re.compile(rb"<(?:vertices|triangles)(?:[ \t\r\n][^<>]*)?>")


class Listener(Protocol):
    """What Expat tells, and where whole runs go."""

    events: int
    """Beginnings and ends of elements so far."""

    def run(self) -> int | None:
        """`VERTICES` or `TRIANGLES` while the innermost open element is one that holds them, in an object."""

    def take(self, kind: int, values: Floats) -> None:
        """The numbers of a run of elements: float64 (N, 3)."""


class Feed:
    """Cuts a stream into what Expat reads and what `runs.scan` takes.

    Expat stays the judge of the document: a run is taken only where Expat has just said that it is within `vertices` or
    `triangles` and has nothing pending, so no comment, section or other encoding can pass for elements; and only whole
    elements are kept from it, so that the rest stays as well-formed as it was.

    Attributes:
        lines_taken: line ends in what was kept from Expat, which it therefore does not count.
    """

    def __init__(self, parser: expat.XMLParserType, listener: Listener) -> None:
        self._parser, self._listener = parser, listener
        self.lines_taken = 0
        self._fed = 0
        self._kind: int | None = None
        self._misses = 0
        self._values = np.empty((_TAKEN_AT_ONCE, 3))

    def read(self, stream: IO[bytes]) -> None:
        """Read a whole document.

        Raises:
            UnreadableModel: a tag or comment is longer than any sound one.
            ExpatError: it is malformed.
        """
        rest = b""
        ascii_based = False
        while chunk := stream.read(_CHUNK_BYTES):
            if not self._fed and not rest:
                ascii_based = b"\0" not in chunk[:4] and not chunk.startswith((b"\xfe\xff", b"\xff\xfe"))
            if ascii_based:
                rest = self._divide(rest + chunk)
            else:
                self._parse(chunk)
        self._parse(rest)
        self._parser.Parse(b"", True)  # noqa: FBT003 - positional in C: the end of the document

    def _divide(self, text: bytes) -> bytes:
        """Pass on what is whole; returns the rest, which needs the next chunk to be understood."""
        at = 0
        while at < len(text):
            if self._kind is None:
                opening = _OPENINGS.search(text, at)
                stop = opening.start() if opening else _before_unfinished(text, at)
                self._parse(text[at:stop])
                if opening is None:
                    return text[stop:]
                at, stop, self._misses = stop, opening.end(), 0
            else:
                at = self._take(text, at)
                stop = text.find(b">", at) + 1
                if not stop and len(text) - at < _LONGEST_OPENING:
                    return text[at:]
                stop = stop or len(text)
            self._kind = self._kind_after(text[at:stop])
            at = stop
        return b""

    def _kind_after(self, tag: bytes) -> int | None:
        """Pass on what should be one tag; the run that goes on behind it, None unless Expat saw exactly that."""
        events = self._listener.events
        self._parse(tag)
        is_tag = self._listener.events > events and self._parser.CurrentByteIndex == self._fed
        return self._listener.run() if is_tag and self._misses < _PATIENCE else None

    def _take(self, text: bytes, at: int) -> int:
        """Take elements as long as they are plain; where the first byte is that was not taken."""
        kind, data, start = self._kind, np.frombuffer(text, np.uint8), at
        while kind is not None:
            at, taken = runs.scan(data, at, kind, self._values)
            self._misses = 0 if taken else self._misses + 1
            self._listener.take(kind, self._values[:taken])
            if taken < len(self._values):
                break
        self.lines_taken += text.count(b"\n", start, at)
        return at

    def _parse(self, text: bytes) -> None:
        self._parser.Parse(text)
        self._fed += len(text)
        if self._fed - max(self._parser.CurrentByteIndex, 0) > _MAX_TOKEN_BYTES:
            raise UnreadableModel("A tag or comment in this 3MF file is too long.", most=_MAX_TOKEN_BYTES)


def _before_unfinished(text: bytes, at: int) -> int:
    """Where a tag begins that may be an opening and does not end in this text, else the text's end."""
    last = text.rfind(b"<", at)
    unfinished = last >= 0 and len(text) - last < _LONGEST_OPENING and text.find(b">", last) < 0
    return last if unfinished else len(text)
