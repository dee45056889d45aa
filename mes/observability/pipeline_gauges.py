"""What Prometheus is told of Dagster's runs, read from its own storage: no process of Dagster exports metrics."""

from datetime import timedelta

from sqlalchemy import Connection, text

from mes.observability.gauge_groups import Gauge, Group, Samples, age

SUBJECT = "pipelines"
_RECENT = timedelta(days=1)
# as Dagster names them
_WAITING = ("NOT_STARTED", "MANAGED", "QUEUED", "STARTING", "CANCELING")
_STATES = {"SUCCESS": "succeeded", "FAILURE": "failed", "CANCELED": "cancelled", "STARTED": "running"}


def _runs(conn: Connection) -> Samples:
    """Of the last day, by Dagster's own index of status and time: it keeps runs for ever."""
    rows = conn.execute(
        text("""
            select pipeline_name as job, status, count(*) as runs
            from runs
            where status = any(:statuses) and update_timestamp > (now() at time zone 'UTC') - :recent
                and create_timestamp > (now() at time zone 'UTC') - :recent
            group by 1, 2
        """),
        {"recent": _RECENT, "statuses": [*_STATES, *_WAITING]},
    )
    counted: dict[tuple[str, str], float] = {}
    for row in rows:
        labels = row.job, _STATES.get(row.status, "waiting")
        counted[labels] = counted.get(labels, 0.0) + row.runs
    return [("mes_pipeline_runs", labels, runs) for labels, runs in counted.items()]


def _last_successes(conn: Connection) -> Samples:
    """By the last one of each job, from the newest run backwards; jobs that never succeeded are missing."""
    rows = conn.execute(
        text("""
            with recursive jobs as (
                (select pipeline_name from runs order by pipeline_name limit 1)
                union all
                select (
                    select runs.pipeline_name from runs
                    where runs.pipeline_name > jobs.pipeline_name order by runs.pipeline_name limit 1
                ) from jobs where jobs.pipeline_name is not null
            )
            select jobs.pipeline_name as job, extract(epoch from now()) - last.end_time as age_s
            from jobs cross join lateral (
                select end_time from runs
                where runs.pipeline_name = jobs.pipeline_name and status = 'SUCCESS' and end_time is not null
                order by id desc limit 1
            ) as last
        """)
    )
    return [("mes_pipeline_last_success_age_seconds", (row.job,), age(row.age_s)) for row in rows]


GROUPS = (
    Group(
        "runs",
        (Gauge("mes_pipeline_runs", "Dagster's runs of the last day.", ("job", "state")),),
        _runs,
    ),
    Group(
        "successes",
        (Gauge("mes_pipeline_last_success_age_seconds", "How long ago a job last succeeded.", ("job",)),),
        _last_successes,
    ),
)
