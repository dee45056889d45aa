"""Has the held read models follow what changed: by marks where the database knows, by assets where Dagster does.

Each table has one driver between the main job's runs. Orders change by API and console, of which Dagster hears nothing,
so a sensor looks at the marks that such changes leave, and asks for what is behind them: `marts.throughput_daily`, and
`marts.order_list` where no refresher takes its marks. `marts.throughput_weekly` changes only after the daily report,
which Dagster knows: it follows by its automation condition, and no other sensor or schedule asks for it alone.
"""

from datetime import timedelta

import dagster as dg
from sqlalchemy import Connection

from assets.resources import Database
from mes.reports import marks
from pipelines.jobs import refresh_read_models

INTERVAL_S = 30
# a refresher merges within half a second, and a run takes some ten: more often would only be noise
PATIENCE = timedelta(minutes=1)
_QUEUES = {
    dg.AssetKey(["marts", "throughput_daily"]): marks.changed_days,
    dg.AssetKey(["marts", "order_list"]): marks.dirty_orders,
}


@dg.sensor(
    name="read_models_behind",
    job=refresh_read_models,
    minimum_interval_seconds=INTERVAL_S,
    default_status=dg.DefaultSensorStatus.RUNNING,
    description=(
        "Refreshes the daily report when a change has waited for it for a minute, and the order list when no refresher "
        "takes its changes: one run at a time, for what is behind."
    ),
)
def read_models_behind(context: dg.SensorEvaluationContext, database: Database) -> dg.SensorResult | dg.SkipReason:
    """Ask for a run for the tables whose oldest mark has waited too long; the cursor is the newest mark of each.

    A mark may commit after newer ones were taken, so what waits after a good run is asked for whatever its number. Only
    after a failed run the same marks are not tried again: that would fail for ever.
    """
    last = _last_run(context)
    if last is not None and not last.is_finished:
        return dg.SkipReason(f"Run {last.run_id} takes what waited before; marks are looked at when it has ended.")
    with database.begin() as conn:
        behind = _behind(conn)
    if not behind:
        return dg.SkipReason("Nothing has waited for a minute.")
    cursor = ", ".join(f"{asset.to_user_string()} {newest}" for asset, newest in sorted(behind.items()))
    if cursor == context.cursor and last is not None and last.status is dg.DagsterRunStatus.FAILURE:
        return dg.SkipReason(f"Run {last.run_id} failed, and nothing changed since: mend what it says, re-execute it.")
    request = dg.RunRequest(run_key=cursor, asset_selection=sorted(behind))
    return dg.SensorResult(run_requests=[request], cursor=cursor)


read_models_follow = dg.AutomationConditionSensorDefinition(
    "read_models_follow",
    target=dg.AssetSelection.assets(["marts", "throughput_weekly"]),
    minimum_interval_seconds=INTERVAL_S,
    default_status=dg.DefaultSensorStatus.RUNNING,
    description="Refreshes the weekly report after the daily one was refreshed without it.",
)


def _behind(conn: Connection) -> dict[dg.AssetKey, int]:
    """The tables that changes have waited for too long, with the number of the newest change."""
    found = {asset: queue(conn) for asset, queue in _QUEUES.items()}
    return {
        asset: waiting.newest
        for asset, waiting in found.items()
        if waiting is not None and waiting.oldest_age > PATIENCE
    }


def _last_run(context: dg.SensorEvaluationContext) -> dg.DagsterRun | None:
    """The newest run that this sensor asked for."""
    runs = context.instance.get_runs(dg.RunsFilter(tags={"dagster/sensor_name": context.sensor_name}), limit=1)
    return runs[0] if runs else None
