"""Starts the main job when feed files arrive, and prices when a rate card is activated."""

from datetime import UTC, date, datetime

import dagster as dg

from assets.partitions import MONTHS, range_tags
from assets.resources import Database, Feeds
from mes import config
from mes.clock import utc_now
from mes.feeds.files import FeedFolder, UnreadableFeed
from mes.pricing.rates import rate_store
from pipelines import arrivals
from pipelines.jobs import MAIN_JOB, main_job, prices

# on runs that loaded all that there was: the fingerprint of the files that they found
FILES_TAG = "mes/feed_files"
INTERVAL_S = 30
_SENSOR_TAG = "dagster/sensor_name"


@dg.sensor(
    name="new_feed_files",
    job=main_job,
    minimum_interval_seconds=INTERVAL_S,
    default_status=dg.DefaultSensorStatus.RUNNING,
    description=(
        "Runs the main job for the months of feed files that are new or have changed: one run at a time, once for each "
        "state of the files. A file that was written to within the last 10 s waits."
    ),
)
def new_feed_files(context: dg.SensorEvaluationContext, feeds: Feeds) -> dg.SensorResult | dg.SkipReason:
    """Ask for a run for what has arrived; the cursor moves with the request, or not at all."""
    last = _last_run(context)
    if last is not None and not last.is_finished:
        return dg.SkipReason(f"Run {last.run_id} loads what arrived before; files are looked at when it has ended.")
    now, folder = utc_now(), feeds.folder
    try:
        files = arrivals.find(folder)
        seen = arrivals.parse(context.cursor)
    except (UnreadableFeed, arrivals.BadMemory) as error:
        return dg.SkipReason(str(error))
    notice = arrivals.compare(seen, files, now)
    cursor = arrivals.dump(notice.seen)
    if not notice.changed:
        return dg.SensorResult(skip_reason=_why_nothing(files, notice, last), cursor=cursor)
    if _all_loaded(context.instance, files):
        reason = "A run from the command line loaded these files."
        return dg.SensorResult(skip_reason=reason, cursor=arrivals.dump(arrivals.everything(files)))
    request = dg.RunRequest(
        run_key=arrivals.fingerprint(seen, notice.seen), tags=range_tags(*_span(folder, notice.changed, now))
    )
    return dg.SensorResult(run_requests=[request], cursor=cursor)


@dg.sensor(
    name="rate_card_activated",
    job=prices,
    minimum_interval_seconds=INTERVAL_S,
    default_status=dg.DefaultSensorStatus.RUNNING,
    description="Runs the job `prices` when a rate card was activated since the last time: once for each activation.",
)
def rate_card_activated(context: dg.SensorEvaluationContext, database: Database) -> dg.SensorResult | dg.SkipReason:
    """Ask for a run for the last activation; the cursor moves with the request, or not at all."""
    with database.begin() as conn:
        last = rate_store.last_activation(conn)
    if last is None:
        return dg.SkipReason("No rate card is active yet.")
    card, at = last[0], last[1].isoformat()
    if context.cursor == at:
        return dg.SkipReason(f"No rate card was activated since {card}, at {at}.")
    return dg.SensorResult(run_requests=[dg.RunRequest(run_key=at, tags={"mes/rate_card": card})], cursor=at)


def _span(folder: FeedFolder, files: list[arrivals.FoundFile], now: datetime) -> tuple[date, date]:
    """The first and the last month of the files; the running one where they hold no good row."""
    first = config.load().feeds_since
    since = datetime.combine(first, datetime.min.time(), UTC)
    running = date.fromisoformat(MONTHS.get_partition_keys(current_time=now)[-1])
    months = arrivals.months(folder, files, now=now, since=since)
    if months is None:
        return first, running
    return (min(months), max(months)) if months else (running, running)


def _why_nothing(files: list[arrivals.FoundFile], notice: arrivals.Notice, last: dg.DagsterRun | None) -> str:
    if notice.unsettled:
        return f"{', '.join(file.path for file in notice.unsettled[:5])}: still being written."
    if not files:
        return "There are no feed files."
    if last is not None and last.status is dg.DagsterRunStatus.FAILURE:
        return f"Nothing new. Run {last.run_id} failed: mend what it says, then re-execute it, or replace the file."
    return "Nothing new."


def _last_run(context: dg.SensorEvaluationContext) -> dg.DagsterRun | None:
    """The newest run that this sensor asked for."""
    runs = context.instance.get_runs(dg.RunsFilter(tags={_SENSOR_TAG: context.sensor_name}), limit=1)
    return runs[0] if runs else None


def _all_loaded(instance: dg.DagsterInstance, files: list[arrivals.FoundFile]) -> bool:
    """Whether a run loaded just these files, all of their months."""
    fingerprint = arrivals.fingerprint(arrivals.everything(files))
    done = dg.RunsFilter(job_name=MAIN_JOB, tags={FILES_TAG: fingerprint}, statuses=[dg.DagsterRunStatus.SUCCESS])
    return bool(instance.get_runs(done, limit=1))
