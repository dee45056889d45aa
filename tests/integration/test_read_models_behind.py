"""Changes that wait too long for the read models ask for one run at a time, of what is behind; nothing else does."""

from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import dagster as dg
import pytest
from sqlalchemy import Engine, text

from assets.resources import Database
from mes import config
from mes.runtime.location import libpq_url
from pipelines.jobs import REFRESH_READ_MODELS
from pipelines.read_model_sensors import read_models_behind
from tests.orders import add_order

# Dagster's own, when it opens a resource for a sensor
pytestmark = pytest.mark.filterwarnings("ignore:The `__fields__` attribute is deprecated")
DAILY, LIST = "marts/throughput_daily", "marts/order_list"


class Daemon:
    """Calls the sensor as Dagster's daemon does: keeps its cursor, and its runs in an instance."""

    def __init__(self) -> None:
        self.cursor: str | None = None
        self.instance = dg.DagsterInstance.ephemeral()

    def tick(self) -> dg.RunRequest | str:
        """The run that one tick asks for, or why it asks for none."""
        name = read_models_behind.name
        with dg.build_sensor_context(
            instance=self.instance, cursor=self.cursor, sensor_name=name, resources={"database": Database()}
        ) as context:
            result = read_models_behind(context)
        if isinstance(result, dg.SkipReason):
            return str(result.skip_message)
        assert isinstance(result, dg.SensorResult)
        self.cursor = result.cursor
        (request,) = result.run_requests or []
        return request

    def asked(self) -> list[str]:
        """The tables of the run that one tick asks for."""
        request = self.tick()
        assert isinstance(request, dg.RunRequest), request
        return [key.to_user_string() for key in request.asset_selection or []]

    def run(self, status: dg.DagsterRunStatus) -> None:
        """A run of the sensor's job as it would be known here."""
        tags = {"dagster/sensor_name": read_models_behind.name}
        self.instance.add_run(dg.DagsterRun(job_name=REFRESH_READ_MODELS, status=status, tags=tags))


@pytest.fixture
def daemon(database_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Daemon]:
    """A daemon that has seen nothing, and a database without orders."""
    monkeypatch.setenv("MES_DATABASE_URL", libpq_url(database_url))
    monkeypatch.setenv("MES_HOME", str(tmp_path))
    config.load.cache_clear()
    yield Daemon()
    config.load.cache_clear()


def change(engine: Engine, number: str, *, age_s: int, merged: bool = True) -> None:
    """An order that came so long ago; a refresher has merged it into the list, or there is none."""
    with engine.begin() as conn:
        add_order(conn, number, placed_at=datetime(2026, 3, 2, tzinfo=UTC))
        for queue in ("changed_days", "dirty_orders"):
            conn.execute(text(f"update ops.{queue} set marked_at = now() - interval '1 s' * :age"), {"age": age_s})
        if merged:
            conn.execute(text("delete from ops.dirty_orders"))


def test_what_waited_for_a_minute_is_asked_for_and_nothing_else(daemon: Daemon, engine: Engine) -> None:
    assert daemon.tick() == "Nothing has waited for a minute."
    change(engine, "A", age_s=10)
    assert daemon.tick() == "Nothing has waited for a minute."
    change(engine, "B", age_s=70)
    assert daemon.asked() == [DAILY]
    change(engine, "C", age_s=70, merged=False)
    assert daemon.asked() == [LIST, DAILY]


def test_the_same_tick_twice_names_its_run_the_same(daemon: Daemon, engine: Engine) -> None:
    change(engine, "A", age_s=70)
    first = daemon.tick()
    daemon.cursor = None  # the daemon died before it kept the cursor
    second = daemon.tick()
    assert isinstance(first, dg.RunRequest)
    assert isinstance(second, dg.RunRequest)
    assert first.run_key == second.run_key


def test_one_run_at_a_time_and_a_failed_one_waits_for_the_next_change(daemon: Daemon, engine: Engine) -> None:
    change(engine, "A", age_s=70)
    assert daemon.asked() == [DAILY]
    daemon.run(dg.DagsterRunStatus.STARTED)
    assert "takes what waited before" in str(daemon.tick())
    (run,) = daemon.instance.get_runs()
    daemon.instance.delete_run(run.run_id)
    daemon.run(dg.DagsterRunStatus.FAILURE)
    assert "failed, and nothing changed since" in str(daemon.tick())
    change(engine, "B", age_s=70)
    assert daemon.asked() == [DAILY]


def test_a_change_that_commits_after_newer_ones_were_taken_is_asked_for(daemon: Daemon, engine: Engine) -> None:
    slow = engine.connect()
    with slow, slow.begin():
        add_order(slow, "slow")
        change(engine, "A", age_s=70)
        assert daemon.asked() == [DAILY]
        daemon.run(dg.DagsterRunStatus.SUCCESS)
        with engine.begin() as conn:
            conn.execute(text("delete from ops.changed_days"))
        slow.execute(text("update ops.changed_days set marked_at = now() - interval '70 s'"))
        slow.execute(text("delete from ops.dirty_orders"))
    assert daemon.asked() == [DAILY]
