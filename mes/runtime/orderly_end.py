"""Lets a command that is told to end stop its child processes and its database first, as Ctrl-C does."""

import signal
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

_SIGNALS = (signal.SIGTERM, signal.SIGHUP)


@contextmanager
def on_signals() -> Iterator[None]:
    """Turn SIGTERM and SIGHUP into `SystemExit(128 + number)` for the time of the block; a second one ends at once.

    Call it in the main thread. A signal that is ignored (`nohup`) stays ignored.
    """
    ours = [number for number in _SIGNALS if signal.getsignal(number) is signal.SIG_DFL]
    for number in ours:
        signal.signal(number, _exit)
    try:
        yield
    finally:
        for number in ours:
            signal.signal(number, signal.SIG_DFL)


def _exit(number: int, _frame: FrameType | None) -> None:
    signal.signal(number, signal.SIG_DFL)
    sys.exit(128 + number)
