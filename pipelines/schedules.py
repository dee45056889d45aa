"""Runs the main job at night, whether or not files arrived, and has prices follow the day's rates."""

from datetime import UTC, date, timedelta

import dagster as dg

from assets.partitions import range_tags
from pipelines.jobs import main_job, prices


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


def _month_before(month: date) -> date:
    return (month - timedelta(days=1)).replace(day=1)
