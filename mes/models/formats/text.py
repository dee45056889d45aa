"""What the formats written as text share: blanks, the numbers left to Python, and the line to name in a refusal."""

import re
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from mes.models.errors import UnreadableModel
from mes.models.formats.decimals import Bytes
from mes.models.mesh import Floats, Ints
from mes.pricing.kernel.compiled import compiled

Faces = NDArray[np.int32]

WORD, BLANK, HASH, BACKSLASH, LINE_END = range(5)
"""What a byte of a text may be. White space is the six bytes of ASCII; all that has no other meaning is of a word."""

AT, POINTS, FACES, DEFERRED_NUMBERS = range(4)
"""What a loop counts in its state, which outlives its calls: next byte, points, triangles, numbers left to Python."""

_LONGEST_NUMBER = 10_000  # characters; `repr` of a double has at most 24
_LINE_END = re.compile(rb"\r\n?|\n")


def _kinds() -> Bytes:
    kinds = np.full(256, WORD, np.uint8)
    for kind, members in ((BLANK, b" \t\v\f"), (HASH, b"#"), (BACKSLASH, b"\\"), (LINE_END, b"\n\r")):
        kinds[list(members)] = kind
    return kinds


KIND = _kinds()
"""uint8 (256,): looking a byte's kind up is three times as fast as comparing."""


@dataclass(frozen=True, slots=True)
class Progress:
    """How far a compiled loop has come, and the numbers that it could not round: rows of slot, start and end."""

    state: Ints = field(default_factory=lambda: np.zeros(4, np.int64))
    deferred: Ints = field(default_factory=lambda: np.empty((1024, 3), np.int64))

    def settle(self, data: Bytes, flat: Floats) -> None:
        """Put the numbers that were left to Python into their slots, so that the loop can go on."""
        for slot, start, end in self.deferred[: self.state[DEFERRED_NUMBERS]].tolist():
            if end - start > _LONGEST_NUMBER:
                raise UnreadableModel("A number of this file has too many digits.", line=line_of(data, start))
            flat[slot] = float(data[start:end].tobytes())
        self.state[DEFERRED_NUMBERS] = 0


def line_of(data: Bytes, at: int) -> int:
    """The line of a byte, from 1."""
    return 1 + sum(1 for _ in _LINE_END.finditer(data[:at].data))


@compiled()
def is_space(byte: int) -> bool:
    """Whether a byte is white space, line ends included."""
    return bool(KIND[byte] == BLANK or KIND[byte] == LINE_END)


@compiled()
def skip_space(data: Bytes, at: int, end: int) -> int:
    """The next byte that is no white space."""
    while at < end and is_space(data[at]):
        at += 1
    return at


@compiled()
def skip_word(data: Bytes, at: int, end: int) -> int:
    """The next byte that is white space."""
    while at < end and not is_space(data[at]):
        at += 1
    return at
