"""New and changed feed files start the main job, once, for their months; nothing else does."""

import json
import os
from datetime import UTC, datetime, timedelta
from pathlib import Path

import dagster as dg
import pytest

from assets.partitions import months_of_run, range_tags
from assets.resources import Feeds
from mes.clock import utc_now
from mes.feeds.catalogue import SHOP_ORDERS
from pipelines import arrivals
from pipelines.jobs import MAIN_JOB
from pipelines.schedules import nightly
from pipelines.sensors import FILES_TAG, new_feed_files
from tests.workshop import write_lines

ORDERS = "shop/orders.jsonl"
LONG_AGO_S = 3600


class Daemon:
    """Calls the sensor as Dagster's daemon does: keeps its cursor, and its runs in an instance."""

    def __init__(self, feeds: Path) -> None:
        self.feeds = feeds
        self.cursor: str | None = None
        self.instance = dg.DagsterInstance.ephemeral()

    def tick(self) -> dg.SensorResult | dg.SkipReason:
        """One tick; a run that it asks for is queued."""
        context = dg.build_sensor_context(instance=self.instance, cursor=self.cursor, sensor_name=new_feed_files.name)
        result = new_feed_files(context, feeds=Feeds(location=str(self.feeds)))
        assert isinstance(result, dg.SensorResult | dg.SkipReason)
        if isinstance(result, dg.SensorResult):
            self.cursor = result.cursor
        return result

    def asked(self) -> list[tuple[str, str]]:
        """The months of the runs that one tick asks for."""
        result = self.tick()
        requests = result.run_requests if isinstance(result, dg.SensorResult) else None
        spans = [months_of_run(request.tags) for request in requests or []]
        return [(first.isoformat(), last.isoformat()) for first, last in filter(None, spans)]

    def skipped(self) -> str:
        """Why one tick asks for nothing."""
        result = self.tick()
        reason = result if isinstance(result, dg.SkipReason) else result.skip_reason
        assert reason is not None
        assert reason.skip_message
        return str(reason.skip_message)

    def run(self, status: dg.DagsterRunStatus, **tags: str) -> None:
        """A run of the main job as it would be known here."""
        named = {"dagster/sensor_name": new_feed_files.name, **tags}
        self.instance.add_run(dg.DagsterRun(job_name=MAIN_JOB, status=status, tags=named))


@pytest.fixture
def daemon(tmp_path: Path) -> Daemon:
    """A daemon that has seen nothing, and an empty folder."""
    (tmp_path / "feeds").mkdir()
    return Daemon(tmp_path / "feeds")


def put(daemon: Daemon, path: str, *placed: str, age_s: float = LONG_AGO_S) -> None:
    """Write a file of orders placed at these times, last touched so long ago."""
    rows = [
        {
            "external_id": f"{path}-{number}",
            "placed_at": at,
            "updated_at": at,
            "customer": {"external_id": "c"},
            "status": "SUBMITTED",
            "items": [{"line": 1, "model": "a.stl", "material": "gold585", "finish": "polished", "quantity": 1}],
        }
        for number, at in enumerate(placed)
    ]
    write_lines(daemon.feeds / path, [json.dumps(row) for row in rows])
    touch(daemon, path, age_s)


def touch(daemon: Daemon, path: str, age_s: float) -> None:
    at = utc_now().timestamp() - age_s
    os.utime(daemon.feeds / path, (at, at))


def test_new_and_changed_files_ask_for_one_run_for_their_months(daemon: Daemon) -> None:
    assert daemon.skipped() == "There are no feed files."
    put(daemon, ORDERS, "2026-03-05T08:00:00Z", "2026-05-31T23:59:59Z")
    put(daemon, "crm/orders-april.jsonl", "2026-04-01T00:00:00Z")
    assert daemon.asked() == [("2026-03-01", "2026-05-01")]
    assert daemon.skipped() == "Nothing new."
    put(daemon, "shop/orders-july.jsonl", "2026-07-02T08:00:00Z")
    assert daemon.asked() == [("2026-07-01", "2026-07-01")]
    put(daemon, ORDERS, "2026-03-05T08:00:00Z", age_s=LONG_AGO_S / 2)
    assert daemon.asked() == [("2026-03-01", "2026-03-01")]
    (daemon.feeds / "crm/orders-april.jsonl").unlink()
    put(daemon, "shop/readme.txt")
    assert daemon.skipped() == "Nothing new."


def test_the_same_tick_twice_names_its_run_the_same(daemon: Daemon) -> None:
    put(daemon, ORDERS, "2026-03-05T08:00:00Z")
    first = daemon.tick()
    daemon.cursor = None  # the daemon died before it kept the cursor
    second = daemon.tick()
    assert isinstance(first, dg.SensorResult)
    assert isinstance(second, dg.SensorResult)
    assert first.run_requests is not None
    assert [each.run_key for each in first.run_requests] == [each.run_key for each in second.run_requests or []]
    assert first.cursor == second.cursor


def test_a_file_that_is_being_written_waits_and_is_not_forgotten(daemon: Daemon) -> None:
    put(daemon, ORDERS, "2026-03-05T08:00:00Z", age_s=1)
    assert daemon.skipped() == f"{ORDERS}: still being written."
    assert daemon.skipped() == f"{ORDERS}: still being written."
    touch(daemon, ORDERS, LONG_AGO_S)
    assert daemon.asked() == [("2026-03-01", "2026-03-01")]
    put(daemon, ORDERS, "2026-04-05T08:00:00Z", age_s=1)
    assert daemon.skipped() == f"{ORDERS}: still being written."
    touch(daemon, ORDERS, -86_400)  # the sender's clock is a day ahead
    assert daemon.asked() == [("2026-04-01", "2026-04-01")]


def test_files_without_a_good_row_are_run_for_this_month_so_that_somebody_sees(daemon: Daemon) -> None:
    this_month = utc_now().date().replace(day=1).isoformat()
    write_lines(daemon.feeds / ORDERS, [b"\x00 no feed"])
    touch(daemon, ORDERS, LONG_AGO_S)
    assert daemon.asked() == [(this_month, this_month)]


def test_files_too_large_to_look_into_are_run_for_all_months(daemon: Daemon, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(arrivals, "READ_LIMIT_BYTES", 10)
    put(daemon, ORDERS, "2026-03-05T08:00:00Z")
    assert daemon.asked() == [("2010-01-01", utc_now().date().replace(day=1).isoformat())]


def test_what_the_command_line_loaded_is_not_loaded_again(daemon: Daemon) -> None:
    put(daemon, ORDERS, "2026-03-05T08:00:00Z")
    found = arrivals.find(Feeds(location=str(daemon.feeds)).folder)
    tags = {FILES_TAG: arrivals.fingerprint(arrivals.everything(found))}
    run = dg.DagsterRun(job_name=MAIN_JOB, status=dg.DagsterRunStatus.SUCCESS, tags=tags)
    daemon.instance.add_run(run)
    assert daemon.skipped() == "A run from the command line loaded these files."
    assert daemon.skipped() == "Nothing new."
    put(daemon, "shop/orders-july.jsonl", "2026-07-02T08:00:00Z")
    assert daemon.asked() == [("2026-07-01", "2026-07-01")]


def test_one_run_at_a_time_and_a_failed_one_is_named(daemon: Daemon) -> None:
    put(daemon, ORDERS, "2026-03-05T08:00:00Z")
    daemon.run(dg.DagsterRunStatus.STARTED)
    assert "loads what arrived before" in daemon.skipped()
    (run,) = daemon.instance.get_runs()
    daemon.instance.delete_run(run.run_id)
    assert daemon.asked() == [("2026-03-01", "2026-03-01")]
    daemon.run(dg.DagsterRunStatus.FAILURE)
    assert "failed: mend what it says" in daemon.skipped()


def test_a_missing_place_and_a_spoilt_cursor_are_explained(daemon: Daemon) -> None:
    daemon.cursor = "{"
    assert "reset the sensor's cursor" in daemon.skipped()
    daemon.feeds.rmdir()
    assert "MES_FEEDS_URL" in daemon.skipped()
    assert daemon.cursor == "{"


def test_memory_stays_small_and_notices_one_file_among_very_many() -> None:
    now = datetime(2026, 11, 20, tzinfo=UTC)
    then = now - timedelta(days=1)
    files = [arrivals.FoundFile(SHOP_ORDERS, f"shop/orders/{number}.csv", 9, "a", then) for number in range(50_000)]
    seen = arrivals.everything(files)
    assert len(arrivals.dump(seen)) < 25_000
    assert arrivals.parse(arrivals.dump(seen)) == seen
    assert arrivals.compare(seen, files, now).changed == []
    changed = arrivals.FoundFile(SHOP_ORDERS, files[4711].path, 9, "b", then)
    noticed = arrivals.compare(seen, [*files[:4711], changed, *files[4712:]], now)
    assert changed in noticed.changed
    assert len(noticed.changed) < 100  # with neighbours, which change nothing


def test_every_night_this_month_and_the_last(daemon: Daemon) -> None:
    at = datetime(2027, 1, 1, 2, tzinfo=UTC)
    request = nightly(dg.build_schedule_context(instance=daemon.instance, scheduled_execution_time=at))
    assert isinstance(request, dg.RunRequest)
    assert request.run_key == "2027-01-01"
    assert request.tags == range_tags(at.date().replace(year=2026, month=12), at.date())
