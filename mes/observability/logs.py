"""Makes every process log alike: one JSON object per line on stderr, whoever speaks, and never a secret."""

import logging
import logging.handlers
import sys
import threading
from collections.abc import Iterator, Mapping, Sequence
from contextvars import ContextVar, Token
from datetime import UTC, datetime
from functools import lru_cache
from itertools import chain
from pathlib import Path
from types import MappingProxyType, TracebackType
from typing import Any, NamedTuple, TypeAlias, TypedDict

import structlog
from pydantic_core import to_json
from structlog.typing import EventDict, Processor, WrappedLogger

from mes.observability import later, traces
from mes.observability.line_writer import LineWriter
from mes.observability.redaction import are_ids, is_private, redact

_Said: TypeAlias = tuple[tuple[str, str | int], ...]

_TIMESTAMP = "%s.%06dZ"
_LEVELS = {name.lower(): number for name, number in logging.getLevelNamesMapping().items()}


_process: str | None = None
_lines = LineWriter()
_bound: ContextVar[Mapping[str, object]] = ContextVar("mes_bound", default=MappingProxyType({}))


class Lines(NamedTuple):
    """What a `Speaker` says of several cases: of each fact, its value in each case."""

    at_s: Sequence[float]
    """When it happened, since the epoch."""
    traceparents: Sequence[str | None]
    """The work within which it happened."""
    given: Mapping[str, Sequence[str]]
    """Facts that others chose; they are looked through as usual."""
    measured: Mapping[str, Sequence[float]]
    """Finite numbers."""

    def one_by_one(self) -> Iterator["Lines"]:
        """Each by itself."""
        for nth, (at_s, told) in enumerate(zip(self.at_s, self.traceparents, strict=True)):
            given = {name: (values[nth],) for name, values in self.given.items()}
            yield Lines((at_s,), (told,), given, {name: (values[nth],) for name, values in self.measured.items()})


class UvicornOptions(TypedDict):
    """What `uvicorn.run` and `uvicorn.Config` take to log as all else does."""

    log_config: None
    access_log: bool


class _Stderr(logging.Handler):
    """Writes to whatever `sys.stderr` is at that moment, since test runners and Dagster replace it for a while."""

    def emit(self, record: logging.LogRecord) -> None:
        try:
            _lines.write(f"{self.format(record)}\n")
        except RecursionError:
            raise
        except Exception:  # noqa: BLE001  the protocol of logging: a line that cannot be written must not stop the work
            self.handleError(record)


def configure(process: str, level: str = "INFO", *, tap: Processor | None = None) -> None:
    """Send all logs of this process, structlog's and the standard library's, to stderr as JSON lines.

    Each line has `timestamp` (ISO 8601, UTC), `level`, `logger`, `process`, `event`, where there is a trace `trace_id`
    and `span_id`, and whatever `bound` holds.
    Call it once, first thing in a process; calling it again replaces the earlier settings.

    Args:
        process: the name that this process has in `mes up`, such as `worker`.
        level: the least level that is written.
        tap: sees each line's facts as they are written, redacted; for sending them elsewhere.
    """
    global _process  # noqa: PLW0603 - it has one, as it has one root logger
    _install(level, _as_json(process, tap))
    _process = process
    _log_what_nobody_caught()


def configure_cli(level: str = "WARNING") -> None:
    """Send logs to stderr for a person at a terminal: short lines, coloured where the terminal can."""
    global _process  # noqa: PLW0603 - as above
    _process = None
    _install(level, [_plain_exception, redact, structlog.dev.ConsoleRenderer(colors=sys.stderr.isatty())])


def keep(path: Path, process: str, max_bytes: int, backups: int) -> None:
    """Write JSON lines to a file too, from now on; for a command whose stderr is a person's terminal.

    The file is rotated at `max_bytes`, and `backups` older ones are kept. Call it after `configure` or `configure_cli`.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    handler = logging.handlers.RotatingFileHandler(
        path, maxBytes=max_bytes, backupCount=backups, encoding="utf-8", errors="backslashreplace"
    )
    handler.setFormatter(_formatter(_as_json(process)))
    logging.getLogger().addHandler(handler)


def uvicorn_options() -> UvicornOptions:
    """Makes uvicorn log through the root, and leave each request's line to `ingest.request_metrics`, which says more.

    Use it as `uvicorn.run(app, ..., **logs.uvicorn_options())`, after `configure`.
    """
    return {"log_config": None, "access_log": False}


class Speaker:
    """Writes lines of one kind, which are logged so often that the way of all other lines would show.

    They look as the others do, and are written a moment later, but go nowhere else: they are of work that is not
    sampled.
    """

    def __init__(self, logger: str, level: str, event: str, process: str) -> None:
        self._is_heard = logging.getLogger(logger).isEnabledFor(_LEVELS[level])
        self._said = (("event", event), ("level", level), ("logger", logger), ("process", process))

    def say(self, about: _Said, lines: Lines) -> None:
        """Write lines that have much in common: side by side, they take a third of the time.

        Args:
            about: facts that are ours, of few different values, and cannot hold a secret; all the lines have them.
            lines: what else they say.
        """
        if not self._is_heard:
            return
        try:
            _lines.put(_texts(self._said + about, lines))
        except Exception:
            if len(lines.at_s) == 1:
                logging.getLogger(__name__).exception("a line could not be made")
                return
            for line in lines.one_by_one():  # the others have a right to be heard
                self.say(about, line)


def speaker(logger: str, level: str, event: str) -> Speaker | None:
    """Who says such lines now: nobody before `configure`, nor when something else listens to the logs, too."""
    return Speaker(logger, level, event, _process) if _process is not None and _is_alone() else None


def flush() -> None:
    """Say what is still to be said."""
    later.flush()


class bound:  # noqa: N801 - is used like a function, as the standard library's own context managers
    """Add facts, such as `order_id`, to every line logged within the block by this thread or task.

    structlog's own way looks through all variables of the context, at each line.
    """

    def __init__(self, **facts: object) -> None:
        self._facts = facts

    def __enter__(self) -> None:
        self._token: Token[Mapping[str, object]] = _bound.set({**_bound.get(), **self._facts})

    def __exit__(self, *_: object) -> None:
        _bound.reset(self._token)


def add_bound(_logger: WrappedLogger | None, _method: str, event: EventDict) -> EventDict:
    """Structlog processor that adds what is `bound`; what the line itself says comes first."""
    return {**_bound.get(), **event}


def _shared() -> list[Processor]:
    return [
        add_bound,
        _add_trace,
        structlog.stdlib.add_log_level,
        structlog.stdlib.add_logger_name,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
        structlog.stdlib.PositionalArgumentsFormatter(),
        structlog.processors.StackInfoRenderer(),
    ]


def _as_json(process: str, tap: Processor | None = None) -> list[Processor]:
    tracebacks = structlog.processors.ExceptionRenderer(
        structlog.tracebacks.ExceptionDictTransformer(show_locals=False)  # locals hold secrets that have no name
    )
    taps = [tap] if tap is not None else []
    return [_named(process), tracebacks, redact, *taps, structlog.processors.JSONRenderer(ensure_ascii=False)]


def _formatter(render: list[Processor]) -> logging.Formatter:
    return structlog.stdlib.ProcessorFormatter(
        foreign_pre_chain=[*_shared(), structlog.stdlib.ExtraAdder()],
        processors=[structlog.stdlib.ProcessorFormatter.remove_processors_meta, *render],
    )


def _install(level: str, render: list[Processor]) -> None:
    structlog.configure(
        processors=[
            structlog.stdlib.filter_by_level,  # first: what nobody reads costs nothing
            *_shared(),
            structlog.stdlib.ProcessorFormatter.wrap_for_formatter,
        ],
        logger_factory=structlog.stdlib.LoggerFactory(),
        wrapper_class=structlog.stdlib.BoundLogger,
        cache_logger_on_first_use=False,  # loggers made at import must follow a later `configure`
    )
    handler = _Stderr()
    handler.setFormatter(_formatter(render))
    root = logging.getLogger()
    root.handlers = [handler]
    root.setLevel(level)
    logging.captureWarnings(capture=True)
    logging.getLogger("alembic.runtime.plugins").setLevel(logging.WARNING)  # names its six plugins at every start
    _take_over_terminal_handlers()


def _take_over_terminal_handlers() -> None:
    """Let libraries that print on their own (streamlit, uvicorn) log through the root; keep files and the like."""
    for logger in logging.root.manager.loggerDict.values():
        if not isinstance(logger, logging.Logger):
            continue
        kept = [
            handler
            for handler in logger.handlers
            if not isinstance(handler, logging.StreamHandler) or isinstance(handler, logging.FileHandler)
        ]
        if len(kept) < len(logger.handlers):
            logger.handlers, logger.propagate = kept, True


def _is_alone() -> bool:
    handlers = logging.getLogger().handlers
    return len(handlers) == 1 and isinstance(handlers[0], _Stderr)


def _texts(said: _Said, lines: Lines) -> Sequence[str]:
    """With the ids of the work within which they are said; what others chose is looked through."""
    template = _template(said, tuple(lines.given), tuple(lines.measured))
    spans = [(told[traces.TRACE_ID], told[traces.SPAN_ID]) for told in lines.traceparents if told is not None]
    if template is not None and len(spans) == len(lines.at_s) and are_ids(chain.from_iterable(lines.given.values())):
        columns = (*lines.given.values(), *lines.measured.values(), *zip(*spans, strict=True), *_times(lines.at_s))
        return [template % line for line in zip(*columns, strict=True)]
    if len(lines.at_s) == 1:
        return [_put_together(said, lines)]
    return [text for line in lines.one_by_one() for text in _texts(said, line)]


def _put_together(said: _Said, line: Lines) -> str:
    given, measured = ({name: value for name, (value,) in facts.items()} for facts in (line.given, line.measured))
    timestamp = _TIMESTAMP % next(zip(*_times(line.at_s), strict=True))
    whole = {**redact(None, "", given), **ids(line.traceparents[0]), "timestamp": timestamp, **measured, **dict(said)}
    return f"{to_json(whole, fallback=str).decode()}\n"


def _times(at_s: Sequence[float]) -> tuple[Sequence[str], Sequence[int]]:
    """Seconds as text, and microseconds."""
    seconds = [int(at) for at in at_s]
    return [*map(_second, seconds)], [int((at - second) * 1_000_000) for at, second in zip(at_s, seconds, strict=True)]


@lru_cache(maxsize=4096)
def _template(said: _Said, given: tuple[str, ...], measured: tuple[str, ...]) -> str | None:
    """Lines alike, to be filled in: a fifth of the time that it takes to put them together and make JSON of that.

    None where a name is private, or is said twice.
    """
    names = [*(name for name, _ in said), *given, *measured, "trace_id", "span_id", "timestamp"]
    if len(set(names)) < len(names) or any(is_private(name) for name in given):
        return None
    places = [*('"%s"' for _ in given), *("%s" for _ in measured), '"%s"', '"%s"', f'"{_TIMESTAMP}"']
    blanks = (f"{_escaped(name)}:{place}" for name, place in zip(names[len(said) :], places, strict=True))
    return f"{_escaped(dict(said))[:-1]},{','.join(blanks)}}}\n"


def _escaped(value: object) -> str:
    """As JSON, within a template."""
    return to_json(value).decode().replace("%", "%%")


@lru_cache(maxsize=8)
def _second(at: int) -> str:
    return datetime.fromtimestamp(at, UTC).strftime("%Y-%m-%dT%H:%M:%S")


def _add_trace(_logger: WrappedLogger | None, _method: str, event: EventDict) -> EventDict:
    return {**ids(traces.traceparent()), **event}


def ids(told: str | None) -> dict[str, str]:
    """What a `traceparent` says, as lines have it."""
    return {"trace_id": told[traces.TRACE_ID], "span_id": told[traces.SPAN_ID]} if told is not None else {}


def _named(process: str) -> Processor:
    def add_process(_logger: WrappedLogger, _method: str, event: EventDict) -> EventDict:
        event["process"] = process
        return event

    return add_process


def _plain_exception(logger: WrappedLogger, method: str, event: EventDict) -> EventDict:
    return structlog.processors.format_exc_info(logger, method, event)


def _log_what_nobody_caught() -> None:
    log = logging.getLogger("mes")

    def of_process(kind: type[BaseException], error: BaseException, trace: TracebackType | None) -> None:
        if issubclass(kind, KeyboardInterrupt):
            sys.__excepthook__(kind, error, trace)
            return
        log.critical("uncaught exception", exc_info=(kind, error, trace))

    def of_thread(args: Any) -> None:  # noqa: ANN401  typeshed names this type only for checkers
        if args.exc_value is not None and not issubclass(args.exc_type, SystemExit):
            log.critical("uncaught exception", exc_info=(args.exc_type, args.exc_value, args.exc_traceback))

    sys.excepthook = of_process
    threading.excepthook = of_thread
