"""Runs a program of the system without metrics, logs and traces, to compare with: `python -m bench._untold ...`."""

import runpy
import sys
from collections.abc import Iterator
from contextlib import contextmanager

from opentelemetry.trace import INVALID_SPAN, Span

from mes.config import Settings
from mes.observability import later, logs, metrics, telemetry, traces
from mes.observability.metrics import JobRun


def main() -> None:
    """Take what tells of the work out, then run the program."""
    silence()
    del sys.argv[0]
    runpy.run_module(sys.argv[0], run_name="__main__", alter_sys=True)


def silence() -> None:
    """Let nothing be counted, written or traced by this process."""
    for name in [name for name in dir(metrics) if name.startswith("observe_")]:
        setattr(metrics, name, _nothing)
    for module, name, instead in (
        (metrics, "request_begins", _nothing),
        (metrics, "request_ends", _nothing),
        (metrics, "job", _no_job),
        (later, "do", _nothing),
        (telemetry, "start", _log_nothing),
        (traces, "span", _no_span),
        (traces, "query", _no_count),
        (traces, "begin_query", _nothing),
        (traces, "traceparent", _nothing),
    ):
        setattr(module, name, instead)


def _log_nothing(process: str, _settings: Settings) -> None:
    logs.configure(process, "CRITICAL")


def _nothing(*_: object, **__: object) -> None:
    return None


@contextmanager
def _no_count(*_: object) -> Iterator[None]:
    yield


@contextmanager
def _no_job(_task: str) -> Iterator[JobRun]:
    yield JobRun()


@contextmanager
def _no_span(_name: str, **_: object) -> Iterator[Span]:
    yield INVALID_SPAN


if __name__ == "__main__":
    main()
