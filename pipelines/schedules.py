"""Runs the main job at night, whether or not files arrived."""

from datetime import UTC, date, timedelta

import dagster as dg

from assets.partitions import range_tags
from pipelines.jobs import main_job


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


def _month_before(month: date) -> date:
    return (month - timedelta(days=1)).replace(day=1)
