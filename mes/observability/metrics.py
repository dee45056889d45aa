"""Counts and times what this process does, for Prometheus; what is true of the database is `database_gauges`."""

import time
from bisect import bisect_left
from collections import Counter as Counted
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from enum import StrEnum
from functools import lru_cache, partial
from importlib.metadata import version

from prometheus_client import (
    CollectorRegistry,
    Counter,
    Gauge,
    Histogram,
    Metric,
    ProcessCollector,
    disable_created_metrics,
)
from prometheus_client.exposition import choose_encoder
from prometheus_client.registry import Collector

from mes.observability import later

UNMATCHED = "unmatched"  # the route of a request that no route takes
_METHODS = frozenset({"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"})

# each time series is a cost for whoever keeps them: buckets are close where the budgets lie, and end where hope does
_REQUEST_BUCKETS_S = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30)
_JOB_BUCKETS_S = (0.01, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 300)
_BATCH_BUCKETS_S = (0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 5)
_LAG_BUCKETS_S = (0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 300)

_SIZES, _LARGEST = ((10_000, "under_10k"), (100_000, "under_100k"), (1_000_000, "under_1m")), "1m_or_more"

# it would give each of ours a second series that nobody asks for
disable_created_metrics()  # type: ignore[no-untyped-call]  # of the library


_PATIENCE_S = 1.0  # whatever keeps those who count from it, such as a terminal that takes no more lines


class _Registry(CollectorRegistry):
    """Counts what is still to be counted before it tells."""

    def collect(self) -> Iterator[Metric]:
        later.flush(_PATIENCE_S)
        yield from super().collect()


class Times(Histogram):
    """A histogram that takes many values at once, in a fifth of the time."""

    def observe_all(self, seconds: Sequence[float]) -> None:
        """Observe each."""
        self._sum.inc(sum(seconds))
        for bucket, number in Counted(map(partial(bisect_left, self._upper_bounds), seconds)).items():
            self._buckets[bucket].inc(number)


REGISTRY = _Registry()
ProcessCollector(registry=REGISTRY)

_build = Gauge("mes_build_info", "Always 1; the label tells the version.", ["version"], registry=REGISTRY)
_build.labels(version("atelier-mes")).set(1)

_requests = Counter(
    "mes_http_requests_total", "HTTP requests answered.", ["method", "route", "status"], registry=REGISTRY
)
_request_duration = Times(
    "mes_http_request_duration_seconds",
    "Time from a request's first byte to its answer's last.",
    ["method", "route"],
    buckets=_REQUEST_BUCKETS_S,
    registry=REGISTRY,
)
_requests_in_progress = Gauge("mes_http_requests_in_progress", "HTTP requests being answered now.", registry=REGISTRY)
_being_answered = set[int]()
_requests_in_progress.set_function(lambda: len(_being_answered))
_jobs = Counter("mes_jobs_total", "Runs of jobs, by how they ended.", ["task", "outcome"], registry=REGISTRY)
_job_duration = Histogram(
    "mes_job_duration_seconds",
    "Time that a run of a job took, its waiting not counted.",
    ["task", "outcome"],
    buckets=_JOB_BUCKETS_S,
    registry=REGISTRY,
)
_jobs_in_progress = Gauge("mes_jobs_in_progress", "Jobs that this process runs now.", ["task"], registry=REGISTRY)
_placed = Counter("mes_orders_placed_total", "Orders that were placed by the API.", ["source"], registry=REGISTRY)
_models = Counter(
    "mes_models_total",
    "Models that were sent, by whether their measures were known.",
    ["known"],
    registry=REGISTRY,
)
_measuring = Histogram(
    "mes_model_measuring_seconds",
    "Time that measuring a model took, by its size in triangles.",
    ["triangles"],
    buckets=_JOB_BUCKETS_S,
    registry=REGISTRY,
)
_pricing_wait = Times(
    "mes_pricing_wait_seconds",
    "Time from an order's submission to its price.",
    buckets=_LAG_BUCKETS_S,
    registry=REGISTRY,
)
_refreshed = Counter(
    "mes_refresh_orders_total", "Changed orders that were merged into the order list.", registry=REGISTRY
)
_refresh_duration = Histogram(
    "mes_refresh_batch_duration_seconds",
    "Time that merging a batch of changed orders took.",
    buckets=_BATCH_BUCKETS_S,
    registry=REGISTRY,
)
_refresh_lag = Times(
    "mes_refresh_lag_seconds",
    "Time from an order's change to its being merged into the order list.",
    buckets=_LAG_BUCKETS_S,
    registry=REGISTRY,
)
_published = Counter("mes_published_events_total", "Events that a bus has taken.", ["carrier"], registry=REGISTRY)
_publishing_lag = Times(
    "mes_publishing_lag_seconds",
    "Time from the transaction that an event is of to its being on the bus.",
    ["carrier"],
    buckets=_LAG_BUCKETS_S,
    registry=REGISTRY,
)
_received = Counter(
    "mes_received_events_total",
    "Messages of shop and CRM, by what they were.",
    ["sender", "carrier", "kind"],
    registry=REGISTRY,
)
_applied = Counter("mes_applied_events_total", "Events of shop and CRM that changed an order.", registry=REGISTRY)
_webhooks = Histogram(
    "mes_webhook_duration_seconds",
    "Time that a call to a webhook took.",
    ["outcome"],
    buckets=_REQUEST_BUCKETS_S,
    registry=REGISTRY,
)
_actions = Counter(
    "mes_console_actions_total", "Actions of people in the console.", ["action", "outcome"], registry=REGISTRY
)
_console_sessions = Gauge("mes_console_sessions", "Pages of the console that are open now.", registry=REGISTRY)
_first_rows = Histogram(
    "mes_console_first_rows_seconds",
    "Time from the begin of a page that was just opened to its first rows, or to there being none.",
    buckets=_REQUEST_BUCKETS_S,
    registry=REGISTRY,
)
_stream_messages = Gauge("mes_bus_stream_messages", "Messages of ours on the bus.", ["carrier"], registry=REGISTRY)
_stream_bytes = Gauge("mes_bus_stream_bytes", "Bytes that they take there.", ["carrier"], registry=REGISTRY)
_pending = Gauge(
    "mes_bus_pending_messages",
    "Messages of a sender that a bus has still to bring us, when it last brought one.",
    ["carrier", "sender"],
    registry=REGISTRY,
)
_reads = Counter(
    "mes_reads_total",
    "Reads of a process that has a replica, by the server that answered and why.",
    ["server", "reason"],
    registry=REGISTRY,
)
_replica_lag = Gauge(
    "mes_replica_lag_seconds",
    "Time that the replica was behind at most when this process last read; infinite beyond 300.",
    registry=REGISTRY,
)


class JobOutcome(StrEnum):
    """How a run of a job ended."""

    SUCCEEDED = "succeeded"
    FAILED = "failed"
    RETRIED = "retried"


class ActionOutcome(StrEnum):
    """What became of an action: done, refused for a reason that the person was told, or failed."""

    DONE = "done"
    REFUSED = "refused"
    FAILED = "failed"


class ReadReason(StrEnum):
    """Why a read went where it did: to the replica when it is fresh, else to the primary."""

    FRESH = "fresh"
    BEHIND_READER = "behind_reader"
    LAG = "lag"
    AWAY = "away"
    NOT_A_REPLICA = "not_a_replica"
    REPEATED = "repeated"


@dataclass
class JobRun:
    """A run of a job that is being timed; set `outcome` when it will be tried again."""

    outcome: JobOutcome = JobOutcome.SUCCEEDED


def observe_requests(method: str, route: str, status: int, seconds: Sequence[float]) -> None:
    """Count answered requests that are alike: for each the seconds that it took.

    The route is the path's template, never the path, which would be a series each.
    """
    count, duration = _request_series(method if method in _METHODS else "OTHER", route, status)
    count.inc(len(seconds))
    duration.observe_all(seconds)


@lru_cache(maxsize=4096)
def _request_series(method: str, route: str, status: int) -> tuple[Counter, Times]:
    """Found once: the library's own way to them takes longer than the counting."""
    return _requests.labels(method, route, str(status)), _request_duration.labels(method, route)


def request_begins(request: object) -> None:
    """Count a request as being answered, until `request_ends`."""
    _being_answered.add(id(request))


def request_ends(request: object) -> None:
    """Count it no more."""
    _being_answered.discard(id(request))


@contextmanager
def job(task: str) -> Iterator[JobRun]:
    """Time a run of a job; one that raises has failed, unless its `outcome` says that it will be tried again."""
    run, began = JobRun(), time.perf_counter()
    try:
        with _jobs_in_progress.labels(task).track_inprogress():
            yield run
    except BaseException:
        if run.outcome is JobOutcome.SUCCEEDED:
            run.outcome = JobOutcome.FAILED
        raise
    finally:
        observe_job(task, run.outcome, time.perf_counter() - began)


def observe_job(task: str, outcome: JobOutcome, seconds: float) -> None:
    """Count a run of a job that was timed elsewhere."""
    _jobs.labels(task, outcome.value).inc()
    _job_duration.labels(task, outcome.value).observe(seconds)


def observe_placed(source: str, orders: int) -> None:
    """Count orders that a caller has placed."""
    if orders:
        _placed.labels(source).inc(orders)


def observe_model(*, known: bool) -> None:
    """Count a model that somebody wants to use; a known one is not measured again."""
    _models.labels("yes" if known else "no").inc()


def observe_measuring(triangles: int, seconds: float) -> None:
    """Time a measurement."""
    size = next((name for most, name in _SIZES if triangles < most), _LARGEST)
    _measuring.labels(size).observe(seconds)


def observe_pending(carrier: str, sender: str, messages: int) -> None:
    """Tell how many messages of a sender are still to come."""
    _pending.labels(carrier, sender).set(messages)


def observe_pricing(waits_s: Iterable[float]) -> None:
    """Count orders that have got their price: for each, the seconds since it was submitted."""
    _pricing_wait.observe_all(_forward(waits_s))


def observe_refresh(orders: int, seconds: float, lags_s: Iterable[float] = ()) -> None:
    """Count a batch of the refresher: orders merged, time taken, and for each mark the seconds since it was made."""
    _refreshed.inc(orders)
    _refresh_duration.observe(seconds)
    _refresh_lag.observe_all(_forward(lags_s))


def observe_publishing(carrier: str, lags_s: Sequence[float]) -> None:
    """Count events that a bus has taken: for each, the seconds since it happened."""
    _published.labels(carrier).inc(len(lags_s))
    _publishing_lag.labels(carrier).observe_all(_forward(lags_s))


def _forward(seconds: Iterable[float]) -> Sequence[float]:
    """Clocks of two machines differ."""
    return [max(each, 0.0) for each in seconds]


def observe_received(sender: str, carrier: str, new: int, repeated: int, unreadable: int) -> None:
    """Count messages that a bus has brought."""
    for kind, number in (("new", new), ("repeated", repeated), ("unreadable", unreadable)):
        if number:
            _received.labels(sender, carrier, kind).inc(number)


def observe_applied(events: int) -> None:
    """Count events that changed an order."""
    _applied.inc(events)


def observe_webhook(*, accepted: bool, seconds: float) -> None:
    """Count and time a call to a webhook."""
    _webhooks.labels("accepted" if accepted else "failed").observe(seconds)


def observe_action(action: str, outcome: ActionOutcome) -> None:
    """Count an action of a person in the console; `action` is its name in the program, such as `move`."""
    _actions.labels(action, outcome.value).inc()


@contextmanager
def console_session() -> Iterator[None]:
    """Count a page of the console as open for the time of the block."""
    with _console_sessions.track_inprogress():
        yield


def observe_first_rows(seconds: float) -> None:
    """Time how long a page that was just opened took to show its first rows."""
    _first_rows.observe(seconds)


def observe_stream(carrier: str, messages: int, size_bytes: int) -> None:
    """Note what a bus keeps of ours."""
    _stream_messages.labels(carrier).set(messages)
    _stream_bytes.labels(carrier).set(size_bytes)


def observe_read(reason: ReadReason) -> None:
    """Count a read of a process that has a replica."""
    _reads.labels("replica" if reason is ReadReason.FRESH else "primary", reason.value).inc()


def observe_replica_lag(seconds: float) -> None:
    """Note how far the replica is behind at most."""
    _replica_lag.set(seconds)


def watch(collector: Collector) -> None:
    """Export what else this process can tell, such as how full its disk is."""
    REGISTRY.register(collector)


def exposition(accept: str | None = None, *others: Collector) -> tuple[bytes, str]:
    """All metrics of this process, and of `others` such as `DatabaseGauges`, and their content type.

    The format is the one that the request's `Accept` header asks for: Prometheus text, or OpenMetrics.
    """
    encode, content_type = choose_encoder(accept or "")
    return encode(_Together((REGISTRY, *others))), content_type


@dataclass(frozen=True)
class _Together:
    """Several collectors as one."""

    collectors: tuple[Collector, ...]

    def collect(self) -> Iterator[Metric]:
        for collector in self.collectors:
            yield from collector.collect()
