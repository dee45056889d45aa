"""Tells Prometheus what is true of the database: orders, backlogs and their ages, asked when Prometheus asks.

The numbers are the whole system's, so one kind of process exports them, the workers. Every worker gives the same
numbers: take `max`, never `sum`, over workers.
"""

import time
from collections.abc import Iterable, Iterator, Sequence

import structlog
from prometheus_client import Metric
from prometheus_client.core import GaugeMetricFamily
from psycopg.errors import InvalidSchemaName, QueryCanceled, UndefinedColumn, UndefinedTable
from sqlalchemy import Connection, text
from sqlalchemy.exc import DBAPIError

from mes.lists import counts
from mes.observability import postgres_gauges, probe
from mes.observability.gauge_groups import COUNTED, Gauge, Group, Labels, Samples, age
from mes.observability.time_limit import TimeLimited
from mes.orders.life import OPEN_STATUSES

log = structlog.get_logger(__name__)

LIMIT_S = 2.5
# a question takes some milliseconds, unless its table is locked; all groups together stay within the limit
QUESTION_TIMEOUT_MS = 400
# two Prometheus servers that ask at the same time cost one look
KEPT_S = 2.0
_UNREADABLE = (UndefinedTable, UndefinedColumn, InvalidSchemaName, QueryCanceled)


def _orders(conn: Connection) -> Samples:
    """From the counts that are kept with the list."""
    found = counts.orders(conn)
    by_status = {
        "mes_orders_open": found.by_status,
        "mes_orders_late": found.late_by_status,
        "mes_orders_held": found.held_by_status,
        "mes_orders_unassigned": found.unassigned_by_status,
    }
    return [
        (gauge, (status.value,), float(numbers[status]))
        for status in OPEN_STATUSES
        for gauge, numbers in by_status.items()
    ]


def _longest_in_status(conn: Connection) -> Samples:
    """The first of each status by the index on open orders that nobody holds."""
    rows = conn.execute(
        text("""
            select statuses.status, extract(epoch from now() - first.status_since) as oldest_s
            from unnest(cast(:statuses as ops.order_status[])) as statuses (status) left join lateral (
                select status_since from ops.orders
                where orders.status = statuses.status and held_since is null
                    and orders.status not in ('SHIPPED', 'CLOSED', 'CANCELLED')
                order by status_since limit 1
            ) as first on true
        """),
        {"statuses": [status.value for status in OPEN_STATUSES]},
    ).all()
    return [("mes_orders_oldest_in_status_seconds", (row.status,), age(row.oldest_s)) for row in rows]


def _on_time(conn: Connection) -> Samples:
    """Of the last seven days, by the daily report, which is no older than its own gauge of freshness says."""
    row = conn.execute(
        text("""
            select coalesce(sum(finished), 0) as finished, coalesce(sum(finished_late), 0) as late
            from marts.throughput_daily where day > (now() at time zone 'UTC')::date - 7
        """)
    ).one()
    return [
        ("mes_orders_finished_week", ("on_time",), float(row.finished - row.late)),
        ("mes_orders_finished_week", ("late",), float(row.late)),
    ]


def _feeds(conn: Connection) -> Samples:
    rows = conn.execute(text("select feed, extract(epoch from now() - loaded_at) as age_s from ops.feed_loads")).all()
    return [("mes_feed_last_load_age_seconds", (row.feed,), age(row.age_s)) for row in rows]


def _leases(conn: Connection) -> Samples:
    """By the partial index on leases, which holds claims whose work has not begun."""
    row = conn.execute(
        text("""
            select count(*) filter (where lease_until > now()) as live,
                count(*) filter (where lease_until <= now()) as expired
            from ops.orders where lease_until is not null
        """)
    ).one()
    return [("mes_leases", ("live",), float(row.live)), ("mes_leases", ("expired",), float(row.expired))]


def _refresh(conn: Connection) -> Samples:
    """The oldest mark by primary key, and a count that ends somewhere."""
    row = conn.execute(
        text("""
            select
                (select count(*) from (select from ops.dirty_orders limit :counted) as marks) as waiting,
                (
                    select extract(epoch from clock_timestamp() - marked_at)
                    from ops.dirty_orders order by mark_id limit 1
                ) as oldest_s
        """),
        {"counted": COUNTED},
    ).one()
    return [
        ("mes_refresh_marks_waiting", (), float(row.waiting)),
        ("mes_refresh_oldest_mark_age_seconds", (), age(row.oldest_s)),
    ]


def _outbox(conn: Connection) -> Samples:
    """By the partial index on what has no position yet, and how far each carrier is from the last position."""
    row = conn.execute(
        text("""
            select
                (
                    select count(*) from (
                        select from ops.outbox where position is null order by outbox_id limit :counted
                    ) as waiting
                ) as waiting,
                (
                    select extract(epoch from clock_timestamp() - created_at)
                    from ops.outbox where position is null order by outbox_id limit 1
                ) as oldest_s
        """),
        {"counted": COUNTED},
    ).one()
    carriers = conn.execute(
        text("""
            select
                carriers.name, greatest(numbered.position - carriers.position, 0) as behind,
                (
                    select extract(epoch from clock_timestamp() - created_at) from ops.outbox
                    where outbox.position > carriers.position order by outbox.position limit 1
                ) as oldest_s
            from ops.carriers cross join (select position from ops.carriers where name = 'outbox') as numbered
            where carriers.name <> 'outbox'
        """)
    ).all()
    return [
        ("mes_outbox_events_waiting", (), float(row.waiting)),
        ("mes_outbox_oldest_age_seconds", (), age(row.oldest_s)),
        *(("mes_carrier_events_waiting", (carrier.name,), float(carrier.behind)) for carrier in carriers),
        *(("mes_carrier_oldest_age_seconds", (carrier.name,), age(carrier.oldest_s)) for carrier in carriers),
    ]


def _inbox(conn: Connection) -> Samples:
    """By the partial indexes on what is due, missing or parked."""
    row = conn.execute(
        text("""
            select
                (
                    select count(*) from (
                        select from ops.inbox_orders where due_at <= clock_timestamp() limit :counted
                    ) as due
                ) as due,
                (
                    select extract(epoch from clock_timestamp() - min(due_at))
                    from ops.inbox_orders where due_at <= clock_timestamp()
                ) as due_s,
                (
                    select count(*) from ops.inbox_orders where gap_since < clock_timestamp() - interval '5 seconds'
                ) as gaps,
                (
                    select extract(epoch from clock_timestamp() - min(gap_since))
                    from ops.inbox_orders where gap_since is not null
                ) as gap_s,
                (select count(*) from ops.inbox_orders where parked_at is not null) as parked,
                (
                    select count(*) from ops.rejected_messages where received_at > now() - interval '1 day'
                ) as unreadable
        """),
        {"counted": COUNTED},
    ).one()
    return [
        ("mes_inbox_due_orders", (), float(row.due)),
        ("mes_inbox_oldest_due_age_seconds", (), age(row.due_s)),
        ("mes_inbox_gaps", (), float(row.gaps)),
        ("mes_inbox_oldest_gap_age_seconds", (), age(row.gap_s)),
        ("mes_inbox_parked_orders", (), float(row.parked)),
        ("mes_inbox_unreadable_messages", (), float(row.unreadable)),
    ]


def _webhooks(conn: Connection) -> Samples:
    """By the partial index on what waits, for each endpoint."""
    row = conn.execute(
        text("""
            select coalesce(sum(due.calls), 0) as due, extract(epoch from now() - min(due.first_at)) as oldest_s,
                count(*) filter (where endpoints.disabled_at is not null) as disabled
            from ops.webhook_endpoints as endpoints
            left join lateral (
                select count(*) as calls, min(next_at) as first_at from (
                    select next_at from ops.webhook_deliveries as deliveries
                    where deliveries.endpoint_id = endpoints.endpoint_id and state = 'waiting' and next_at <= now()
                    order by next_at limit :counted
                ) as waiting
            ) as due on endpoints.disabled_at is null
        """),
        {"counted": COUNTED},
    ).one()
    return [
        ("mes_webhook_calls_due", (), float(row.due)),
        ("mes_webhook_oldest_due_age_seconds", (), age(row.oldest_s)),
        ("mes_webhooks_disabled", (), float(row.disabled)),
    ]


def _queues(conn: Connection) -> Samples:
    """Reads waiting and running jobs, by procrastinate's index on them; a retried job waits since its turn came.

    A job that prices several orders counts as that many.
    """
    rows = conn.execute(
        text("""
            with live as materialized (
                select id, queue_name, status, scheduled_at,
                    coalesce(jsonb_array_length(args -> 'order_ids'), 1) as jobs,
                    status = 'todo' and coalesce(scheduled_at <= now(), true) as due
                from procrastinate_jobs where status in ('todo', 'doing') order by id limit :counted
            ), queues as (
                select queue_name,
                    coalesce(sum(jobs) filter (where due), 0) as waiting,
                    coalesce(sum(jobs) filter (where status = 'todo' and not due), 0) as scheduled,
                    coalesce(sum(jobs) filter (where status = 'doing'), 0) as running,
                    min(id) filter (where due and scheduled_at is null) as oldest,
                    min(scheduled_at) filter (where due) as oldest_turn
                from live group by queue_name
            )
            select queue_name, waiting, scheduled, running,
                extract(epoch from clock_timestamp() - least(oldest_turn, deferred.at)) as oldest_s
            from queues left join lateral (
                select min(at) as at from procrastinate_events where job_id = oldest and type = 'deferred'
            ) as deferred on true
        """),
        {"counted": COUNTED},
    ).all()
    return [
        sample
        for row in rows
        for sample in (
            ("mes_queue_jobs", (row.queue_name, "waiting"), float(row.waiting)),
            ("mes_queue_jobs", (row.queue_name, "scheduled"), float(row.scheduled)),
            ("mes_queue_jobs", (row.queue_name, "running"), float(row.running)),
            ("mes_queue_oldest_job_age_seconds", (row.queue_name,), age(row.oldest_s)),
        )
    ]


def _quarantine(conn: Connection) -> Samples:
    """By the partial index on open rows."""
    rows = conn.execute(
        text("""
            select feed, stage, count(*) as rows from (
                select feed, stage from ops.quarantine where resolved_at is null order by quarantine_id limit :counted
            ) as open group by feed, stage
        """),
        {"counted": COUNTED},
    ).all()
    return [("mes_quarantine_open_rows", (row.feed, row.stage), float(row.rows)) for row in rows]


def _drift(conn: Connection) -> Samples:
    """By the partial index on open differences, and the last runs of each system."""
    rows = conn.execute(
        text("""
            select system, kind, count(*) as differences, extract(epoch from now() - min(opened_at)) as oldest_s
            from ops.drift where state in ('open', 'person') group by system, kind
        """)
    ).all()
    runs = conn.execute(
        text("""
            select systems.system, last.state, extract(epoch from now() - done.finished_at) as done_s
            from (values ('shop'), ('crm')) as systems (system)
            cross join lateral (
                select state from ops.reconciliation_runs as runs
                where runs.system = systems.system and state <> 'running' order by run_id desc limit 1
            ) as last
            left join lateral (
                select finished_at from ops.reconciliation_runs as runs
                where runs.system = systems.system and state = 'done' order by run_id desc limit 1
            ) as done on true
        """)
    ).all()
    oldest = {run.system: 0.0 for run in runs}
    for row in rows:
        oldest[row.system] = max(oldest.get(row.system, 0.0), age(row.oldest_s))
    return [
        *(("mes_drift_open", (row.system, row.kind), float(row.differences)) for row in rows),
        *(("mes_drift_oldest_age_seconds", (system,), age) for system, age in oldest.items()),
        *(("mes_reconciliation_failed", (run.system,), float(run.state == "failed")) for run in runs),
        *(
            ("mes_reconciliation_last_success_age_seconds", (run.system,), age(run.done_s))
            for run in runs
            if run.done_s is not None
        ),
    ]


GROUPS = (
    Group(
        "orders",
        (
            Gauge("mes_orders_open", "Orders that are neither shipped, closed nor cancelled.", ("status",)),
            Gauge("mes_orders_late", "Open orders whose due date has passed.", ("status",)),
            Gauge("mes_orders_held", "Open orders on hold.", ("status",)),
            Gauge("mes_orders_unassigned", "Open orders that no operator has.", ("status",)),
        ),
        _orders,
    ),
    Group(
        "statuses",
        (
            Gauge(
                "mes_orders_oldest_in_status_seconds",
                "How long the order that has been in this status longest has been in it; held ones do not count.",
                ("status",),
            ),
        ),
        _longest_in_status,
    ),
    Group(
        "on_time",
        (Gauge("mes_orders_finished_week", "Orders finished in the last seven days.", ("when",)),),
        _on_time,
    ),
    Group(
        "feeds",
        (Gauge("mes_feed_last_load_age_seconds", "How long ago a feed was last loaded.", ("feed",)),),
        _feeds,
    ),
    Group(
        "leases",
        (Gauge("mes_leases", "Claims whose work has not begun: live, or expired and to be ended.", ("state",)),),
        _leases,
    ),
    Group(
        "refresh",
        (
            Gauge("mes_refresh_marks_waiting", f"Marks of changed orders that wait for the list, up to {COUNTED:,}."),
            Gauge("mes_refresh_oldest_mark_age_seconds", "How long the oldest of them has waited; 0 without any."),
        ),
        _refresh,
    ),
    Group(
        "outbox",
        (
            Gauge("mes_outbox_events_waiting", f"Events that have no position yet, up to {COUNTED:,}."),
            Gauge("mes_outbox_oldest_age_seconds", "How long the oldest of them has waited; 0 without any."),
            Gauge("mes_carrier_events_waiting", "Events that a carrier has still to carry.", ("carrier",)),
            Gauge(
                "mes_carrier_oldest_age_seconds",
                "How long ago the first of them happened; 0 without any.",
                ("carrier",),
            ),
        ),
        _outbox,
    ),
    Group(
        "inbox",
        (
            Gauge("mes_inbox_due_orders", f"Orders whose events can be looked at now, up to {COUNTED:,}."),
            Gauge("mes_inbox_oldest_due_age_seconds", "How long the first of them has been due; 0 without any."),
            Gauge("mes_inbox_gaps", "Orders of which an event has been missing for more than five seconds."),
            Gauge("mes_inbox_oldest_gap_age_seconds", "For how long, of the first of them; 0 without any."),
            Gauge("mes_inbox_parked_orders", "Orders whose next event a person has to look at."),
            Gauge("mes_inbox_unreadable_messages", "Messages that were set aside in the last day."),
        ),
        _inbox,
    ),
    Group(
        "webhooks",
        (
            Gauge("mes_webhook_calls_due", f"Calls to webhooks that could be made now, up to {COUNTED:,} of each."),
            Gauge("mes_webhook_oldest_due_age_seconds", "How long the first of them has been due; 0 without any."),
            Gauge("mes_webhooks_disabled", "Webhooks that are not called any more."),
        ),
        _webhooks,
    ),
    Group(
        "queues",
        (
            Gauge(
                "mes_queue_jobs",
                f"Jobs that wait, are scheduled for later or run, up to {COUNTED:,}.",
                ("queue", "state"),
            ),
            Gauge(
                "mes_queue_oldest_job_age_seconds",
                "How long the oldest waiting job could have run already.",
                ("queue",),
            ),
        ),
        _queues,
    ),
    Group(
        "quarantine",
        (
            Gauge(
                "mes_quarantine_open_rows",
                f"Rows of feeds that nobody has mended yet, up to {COUNTED:,}.",
                ("feed", "stage"),
            ),
        ),
        _quarantine,
    ),
    Group(
        "drift",
        (
            Gauge("mes_drift_open", "Orders on which a system says otherwise than we do.", ("system", "kind")),
            Gauge("mes_drift_oldest_age_seconds", "How long the oldest of them is open; 0 without any.", ("system",)),
            Gauge("mes_reconciliation_failed", "Whether the last comparison with a system failed.", ("system",)),
            Gauge(
                "mes_reconciliation_last_success_age_seconds",
                "How long ago the last one ended that did not.",
                ("system",),
            ),
        ),
        _drift,
    ),
    *postgres_gauges.GROUPS,
)


class DatabaseGauges:
    """A collector for Prometheus; `collect` takes at most `limit_s` seconds, whatever the database does.

    A database that is away gives `mes_database_up 0`, and a table that is missing or locked its group's 0: neither
    raises, so that a scrape always brings the process's own metrics.
    """

    def __init__(
        self,
        database_url: str,
        *,
        subject: str = "database",
        groups: Sequence[Group] = GROUPS,
        limit_s: float = LIMIT_S,
        kept_s: float = KEPT_S,
    ) -> None:
        """Of our database; or of another one, with questions of its own: `mes_<subject>_up` says if it answers."""
        self._groups = groups
        self._up = Gauge(f"mes_{subject}_up", "Whether it answered in time; if 0, the gauges below are missing.")
        self._group_up = Gauge(
            f"mes_{subject}_group_up",
            "Whether these gauges could be read; 0 while their tables are missing or locked.",
            ("group",),
        )
        self._database = probe.connect(database_url, statement_timeout_ms=QUESTION_TIMEOUT_MS)
        self._ask = TimeLimited(self._look, limit_s, f"{subject}-gauges")
        self._kept_s, self._asked_at = kept_s, float("-inf")
        self._kept: Samples = ()

    def describe(self) -> Iterator[Metric]:
        """All gauges, without samples."""
        return iter(self._families(()))

    def collect(self) -> Iterator[Metric]:
        """All gauges, with what the database says now, or said within the last two seconds."""
        if time.monotonic() - self._asked_at >= self._kept_s:
            self._kept, self._asked_at = self._samples(), time.monotonic()
        return iter(self._families(self._kept))

    def _samples(self) -> Samples:
        try:
            return self._ask()
        except (DBAPIError, TimeoutError) as error:
            reason = type(getattr(error, "orig", error)).__name__
            log.warning("database did not answer for metrics", asked_for=self._up.name, reason=reason)
            return ((self._up.name, (), 0.0),)

    def _look(self) -> Samples:
        with self._database.connect() as conn:
            return (
                (self._up.name, (), 1.0),
                *(sample for group in self._groups for sample in self._asked(conn, group)),
            )

    def _asked(self, conn: Connection, group: Group) -> Iterable[tuple[str, Labels, float]]:
        try:
            samples = group.ask(conn)
        except DBAPIError as error:
            if not isinstance(error.orig, _UNREADABLE):
                raise
            return ((self._group_up.name, (group.name,), 0.0),)
        return ((self._group_up.name, (group.name,), 1.0), *samples)

    def _families(self, samples: Samples) -> Sequence[Metric]:
        gauges = (self._up, self._group_up, *(gauge for group in self._groups for gauge in group.gauges))
        families = {gauge.name: GaugeMetricFamily(gauge.name, gauge.meaning, labels=gauge.labels) for gauge in gauges}
        for name, labels, value in samples:
            families[name].add_metric(labels, value)
        return tuple(families.values())
