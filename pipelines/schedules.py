"""Runs the main job at night, has prices follow the day's rates, and compares with shop and CRM all day."""

from datetime import UTC, date, timedelta

import dagster as dg

from assets.partitions import range_tags
from assets.reconciliation import Comparison
from mes import config
from mes.reconciliation import sources
from mes.reconciliation.model import SYSTEMS, StatementMissing
from pipelines.jobs import RECONCILE, main_job, prices, reconcile


@dg.schedule(
    name="nightly",
    job=main_job,
    cron_schedule="0 2 * * *",
    execution_timezone="UTC",
    default_status=dg.DefaultScheduleStatus.RUNNING,
    description=(
        "Runs the main job for this month and the last at 02:00 UTC: tries again what waits for its order, model or "
        "rates, prices what is unpriced, repairs the order list and proves it with all tests."
    ),
)
def nightly(context: dg.ScheduleEvaluationContext) -> dg.RunRequest:
    """One run a night, named after its day."""
    day = context.scheduled_execution_time.astimezone(UTC).date()
    this_month = day.replace(day=1)
    return dg.RunRequest(run_key=day.isoformat(), tags=range_tags(_month_before(this_month), this_month))


@dg.schedule(
    name="prices_daily",
    job=prices,
    cron_schedule="10 0 * * *",
    execution_timezone="UTC",
    default_status=dg.DefaultScheduleStatus.RUNNING,
    description=(
        "Runs the job `prices` at 00:10 UTC: rate cards begin at midnight, and quotes that ran out the day before are "
        "renewed by them."
    ),
)
def prices_daily(context: dg.ScheduleEvaluationContext) -> dg.RunRequest:
    """One run a day, named after it."""
    return dg.RunRequest(run_key=context.scheduled_execution_time.astimezone(UTC).date().isoformat())


@dg.schedule(
    name="reconcile_continuously",
    job=reconcile,
    cron_schedule="*/5 * * * *",
    execution_timezone="UTC",
    default_status=dg.DefaultScheduleStatus.RUNNING,
    description="Compares orders that changed lately with what shop and CRM state of them, every five minutes.",
)
def reconcile_continuously(context: dg.ScheduleEvaluationContext) -> list[dg.RunRequest] | dg.SkipReason:
    """A run with each system whose last one has ended."""
    return _comparisons(context, everything=False)


@dg.schedule(
    name="reconcile_nightly",
    job=reconcile,
    cron_schedule="32 3 * * *",
    execution_timezone="UTC",
    default_status=dg.DefaultScheduleStatus.RUNNING,
    description="Compares all orders with what shop and CRM state of them, at 03:32 UTC.",
)
def reconcile_nightly(context: dg.ScheduleEvaluationContext) -> list[dg.RunRequest] | dg.SkipReason:
    """A run with each system whose last one has ended."""
    return _comparisons(context, everything=True)


def _comparisons(context: dg.ScheduleEvaluationContext, *, everything: bool) -> list[dg.RunRequest] | dg.SkipReason:
    try:
        systems = sources.stating(config.load())
    except StatementMissing as error:
        return dg.SkipReason(error.message)
    at = context.scheduled_execution_time.isoformat()
    free = [system for system in systems if not _under_way(context.instance, system)]
    if not free:
        return dg.SkipReason("The runs before are still under way.")
    scope = dg.RunConfig(ops={"ops__drift": Comparison(everything=everything)})
    return [
        dg.RunRequest(run_key=f"{at} {system}", partition_key=system, run_config=scope)
        for system in SYSTEMS
        if system in free
    ]


def _under_way(instance: dg.DagsterInstance, system: str) -> bool:
    running = dg.RunsFilter(
        job_name=RECONCILE,
        tags={"dagster/partition": system},
        statuses=[dg.DagsterRunStatus.QUEUED, dg.DagsterRunStatus.STARTING, dg.DagsterRunStatus.STARTED],
    )
    return bool(instance.get_runs(running, limit=1))


def _month_before(month: date) -> date:
    return (month - timedelta(days=1)).replace(day=1)
