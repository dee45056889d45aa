"""Runs the main job once, in this process, for the months that the feeds hold: `python -m pipelines.main_job`."""

import argparse
import json
import sys
from collections.abc import Iterator
from datetime import UTC, date, datetime

import dagster as dg

from assets.partitions import MONTHS, range_tags
from mes import config
from mes.clock import utc_now
from mes.errors import MesError
from mes.feeds import land
from mes.feeds.files import FeedFolder, UnreadableFeed
from pipelines import arrivals
from pipelines.definitions import defs
from pipelines.jobs import MAIN_JOB
from pipelines.sensors import FILES_TAG


class MainJobFailed(MesError):
    """The main job failed; nothing of the failed step was kept. Dagster's UI shows the run."""

    code = "main_job_failed"


def main() -> int:
    """Tell each finished step on standard output, as one JSON object a line."""
    argparse.ArgumentParser(prog="python -m pipelines.main_job", description=__doc__).parse_args()
    try:
        run()
    except MesError as error:
        tell(error=str(error), code=error.code)
        return 1
    return 0


def run() -> None:
    """Materialize everything for the months from the feeds' first row to the last.

    Raises:
        MainJobFailed: a step failed; which and why was logged and told.
    """
    tell(step="feeds", state="reading")
    files = _files()
    months = _months()
    tell(step="feeds", state="found", months=len(months))
    keys = MONTHS.get_partition_keys()
    first, last = (min(months), max(months)) if months else 2 * (date.fromisoformat(keys[-1]),)
    with dg.DagsterInstance.get() as instance:
        job = defs.resolve_job_def(MAIN_JOB).with_hooks({tell_step})
        result = job.execute_in_process(
            instance=instance,
            tags=range_tags(first, last) | files,
            raise_on_error=False,
        )
    failures = list(_failures(result))
    for step, why in failures:
        tell(step=step, state="failed", why=why)
    if not result.success:
        raise MainJobFailed(run=result.run_id)
    tell(run=result.run_id, state="done")


@dg.success_hook
def tell_step(context: dg.HookContext) -> None:
    """Say which step is done."""
    tell(step=context.op.name, state="done")


def tell(**facts: object) -> None:
    """One line for whoever started this process."""
    print(json.dumps(facts, default=str), flush=True)  # noqa: T201 - standard output is this process's protocol


def _files() -> dict[str, str]:
    """Tells the sensor which files this run loads, so that it does not load them once more."""
    try:
        found = arrivals.find(FeedFolder(config.load().feeds_location))
    except UnreadableFeed:
        return {}  # told by the run itself
    return {FILES_TAG: arrivals.fingerprint(arrivals.everything(found))}


def _months() -> set[date]:
    """The months of the feeds that can be read; one that cannot be fails in the run, where Dagster tells it."""
    settings = config.load()
    folder = FeedFolder(settings.feeds_location)
    since = datetime.combine(settings.feeds_since, datetime.min.time(), UTC)
    months, unreadable = land.readable_months(folder, now=utc_now(), since=since)
    for feed, why in unreadable.items():
        tell(step=f"raw__{feed}", state="unreadable", why=why)
    return months


def _failures(result: dg.ExecuteInProcessResult) -> Iterator[tuple[str, str]]:
    said = {
        event.step_key: event.asset_check_evaluation_data.description
        for event in result.all_events
        if event.event_type is dg.DagsterEventType.ASSET_CHECK_EVALUATION
    }
    for event in result.get_step_failure_events():
        error = event.step_failure_data.error
        cause = error.cause if error and error.cause else error
        yield str(event.step_key), said.get(event.step_key) or (cause.message.strip() if cause else "unknown")


if __name__ == "__main__":
    sys.exit(main())
