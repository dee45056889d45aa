"""Health and the database's gauges tell the truth of a known database, and never hang on one that is away."""

import json
import socket
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import closing
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from uuid import UUID

import psycopg
import pytest
from dagster._core.storage.runs.schema import RunsTable, RunStorageSqlMetadata
from procrastinate.schema import SchemaManager
from procrastinate.testing import InMemoryConnector
from prometheus_client.parser import text_string_to_metric_families
from sqlalchemy import Connection, Engine, text

from app import health_routes
from ingest import worker_http
from mes import config
from mes.lists import refresher
from mes.observability import health, log_search, metrics, pipeline_gauges
from mes.observability.database_gauges import GROUPS, DatabaseGauges
from mes.observability.health import Heartbeat, Readiness, Report
from mes.orders.life import Status
from mes.runtime.location import libpq_url
from tests.orders import add_order

AWAY = "postgresql://nobody@127.0.0.1:1/nothing"
Sample = tuple[str, tuple[tuple[str, str], ...]]


def scraped(database_url: str, **options: Any) -> dict[Sample, float]:
    """The database's gauges as Prometheus reads them."""
    content, _ = metrics.exposition(None, DatabaseGauges(database_url, **options))
    families = text_string_to_metric_families(content.decode())
    return {(sample.name, tuple(sorted(sample.labels.items()))): sample.value for f in families for sample in f.samples}


def gauge(samples: dict[Sample, float], name: str, **labels: str) -> float | None:
    return samples.get((name, tuple(sorted(labels.items()))))


def url(engine: Engine) -> str:
    return engine.url.render_as_string(hide_password=False)


def named(report: Report) -> dict[str, bool]:
    return {check.name: check.ok for check in report.checks}


@pytest.fixture
def silent() -> Iterator[str]:
    """The URL of a server that takes connections and never says a word."""
    with closing(socket.socket()) as server:
        server.bind(("127.0.0.1", 0))
        server.listen(64)
        yield f"postgresql://nobody@127.0.0.1:{server.getsockname()[1]}/nothing"


def refresh_all(engine: Engine) -> None:
    with engine.begin() as conn:
        refresher.flip_overdue(conn)
        conn.execute(text("insert into ops.dirty_orders (order_id) select order_id from ops.orders"))
        refresher.refresh_batch(conn)
        conn.execute(text("delete from ops.dirty_orders"))


def test_orders_are_counted_by_what_they_are(marts_engine: Engine) -> None:
    soon = datetime.now(UTC) + timedelta(days=7)
    with marts_engine.begin() as conn:
        for number in range(3):
            add_order(conn, f"S-{number}", placed_at=soon)
        held = add_order(conn, "S-3", status=Status.MANUFACTURING_APPROVED, placed_at=soon)
        add_order(conn, "S-4", status=Status.MANUFACTURING_APPROVED, due_in=timedelta(0))
        for number, status in enumerate((Status.CLOSED, Status.SHIPPED, Status.CANCELLED)):
            add_order(conn, f"F-{number}", status=status, due_in=timedelta(0))
        conn.execute(
            text("""
                update ops.orders set hold_reason = 'thin wall', held_by = 'a', held_since = now(), assigned_to = 'anna'
                where order_id = :id
            """),
            {"id": held},
        )
    refresh_all(marts_engine)
    samples = scraped(url(marts_engine))
    assert gauge(samples, "mes_database_up") == 1
    assert gauge(samples, "mes_orders_open", status="SUBMITTED") == 3
    assert gauge(samples, "mes_orders_unassigned", status="SUBMITTED") == 3
    approved = {
        what: gauge(samples, f"mes_orders_{what}", status="MANUFACTURING_APPROVED")
        for what in ("open", "late", "held", "unassigned")
    }
    assert approved == {"open": 2, "late": 1, "held": 1, "unassigned": 1}
    assert gauge(samples, "mes_orders_open", status="PACKAGING") == 0
    assert gauge(samples, "mes_orders_open", status="CLOSED") is None


def test_orders_finished_in_time_are_counted_by_the_report(marts_engine: Engine) -> None:
    with marts_engine.begin() as conn:
        conn.execute(
            text("""
                insert into marts.throughput_daily (day, week, placed, finished, finished_late, cancelled)
                select now()::date - age, now()::date, 0, finished, late, 0
                from (values (0, 5, 1), (6, 3, 2), (7, 100, 100)) as days (age, finished, late)
            """)
        )
    samples = scraped(url(marts_engine))
    assert gauge(samples, "mes_orders_finished_week", when="on_time") == 5
    assert gauge(samples, "mes_orders_finished_week", when="late") == 3


def test_dagsters_runs_are_counted_in_its_storage(engine: Engine) -> None:
    storage = {"subject": pipeline_gauges.SUBJECT, "groups": pipeline_gauges.GROUPS}
    samples = scraped(url(engine), **storage)
    assert gauge(samples, "mes_pipelines_up") == 1
    assert gauge(samples, "mes_pipelines_group_up", group="runs") == 0  # Dagster has made no tables yet
    RunStorageSqlMetadata.create_all(engine)
    now = datetime.now(UTC)
    with engine.begin() as conn:
        for nth, (job, status, age_h) in enumerate(
            [
                *[("prices", "SUCCESS", 30), ("prices", "SUCCESS", 2), ("prices", "FAILURE", 1)],
                *[("prices", "QUEUED", 0), ("prices", "NOT_STARTED", 0), ("reconcile", "STARTED", 0)],
            ]
        ):
            at = now - timedelta(hours=age_h)
            conn.execute(
                RunsTable.insert().values(
                    run_id=str(nth),
                    pipeline_name=job,
                    status=status,
                    create_timestamp=at.replace(tzinfo=None),
                    end_time=at.timestamp() if status in ("SUCCESS", "FAILURE") else None,
                )
            )
    samples = scraped(url(engine), **storage)
    runs = {
        tuple(dict(labels).values()): value for (name, labels), value in samples.items() if name == "mes_pipeline_runs"
    }
    assert runs == {
        ("prices", "succeeded"): 1,
        ("prices", "failed"): 1,
        ("prices", "waiting"): 2,
        ("reconcile", "running"): 1,
    }
    assert 7_195 <= (gauge(samples, "mes_pipeline_last_success_age_seconds", job="prices") or 0) < 7_260


def test_the_age_of_a_mark_is_that_of_the_oldest_waiting(marts_engine: Engine) -> None:
    samples = scraped(url(marts_engine))
    assert gauge(samples, "mes_refresh_marks_waiting") == 0
    assert gauge(samples, "mes_refresh_oldest_mark_age_seconds") == 0
    with marts_engine.begin() as conn:
        order_id = add_order(conn)
        conn.execute(text("delete from ops.dirty_orders"))
        for seconds in (90, 30):
            conn.execute(
                text("insert into ops.dirty_orders (order_id, marked_at) values (:id, now() - :age)"),
                {"id": order_id, "age": timedelta(seconds=seconds)},
            )
    samples = scraped(url(marts_engine))
    assert gauge(samples, "mes_refresh_marks_waiting") == 2
    assert 90 <= (gauge(samples, "mes_refresh_oldest_mark_age_seconds") or 0) < 95


def test_an_event_waits_for_its_position_and_then_for_each_carrier(engine: Engine) -> None:
    with engine.begin() as conn:
        for sequence, age_s, position in ((1, 500, 1), (2, 60, None), (3, 20, None), (4, 400, 2)):
            conn.execute(
                text("""
                    insert into ops.outbox (order_id, sequence, event, created_at, position)
                    values (:id, :sequence, '{}', now() - :age, :position)
                """),
                {"id": UUID(int=7), "sequence": sequence, "age": timedelta(seconds=age_s), "position": position},
            )
        conn.execute(text("update ops.carriers set position = 2"))
        conn.execute(text("insert into ops.carriers (name, position) values ('slow', 1), ('quick', 2)"))
    samples = scraped(url(engine))
    assert gauge(samples, "mes_outbox_events_waiting") == 2
    assert 60 <= (gauge(samples, "mes_outbox_oldest_age_seconds") or 0) < 65
    assert gauge(samples, "mes_carrier_events_waiting", carrier="slow") == 1
    assert 400 <= (gauge(samples, "mes_carrier_oldest_age_seconds", carrier="slow") or 0) < 405
    assert gauge(samples, "mes_carrier_events_waiting", carrier="quick") == 0
    assert gauge(samples, "mes_carrier_oldest_age_seconds", carrier="quick") == 0


def test_jobs_wait_by_queue_since_their_turn(engine: Engine) -> None:
    with engine.begin() as conn:
        _ensure_queue_tables(conn)
        waiting = _job(conn, "pricing")
        _job(conn, "pricing")
        _job(conn, "pricing", status="doing")
        _job(conn, "pricing", status="succeeded")
        _job(conn, "pricing", scheduled_in=timedelta(hours=1))
        _job(conn, "webhooks", scheduled_in=timedelta(seconds=-10))  # its retry is due since then
        conn.execute(
            text(
                "update procrastinate_events set at = now() - interval '45 s' where job_id = :id and type = 'deferred'"
            ),
            {"id": waiting},
        )
    samples = scraped(url(engine))
    states = {state: gauge(samples, "mes_queue_jobs", queue="pricing", state=state) for state in _STATES}
    assert states == {"waiting": 2, "scheduled": 1, "running": 1}
    assert 45 <= (gauge(samples, "mes_queue_oldest_job_age_seconds", queue="pricing") or 0) < 50
    assert 10 <= (gauge(samples, "mes_queue_oldest_job_age_seconds", queue="webhooks") or 0) < 15


def test_open_rows_of_quarantine_are_counted_by_feed_and_stage(engine: Engine) -> None:
    with engine.begin() as conn:
        for number, (stage, resolved) in enumerate((("read", False), ("read", False), ("wait", False), ("read", True))):
            conn.execute(
                text("""
                    insert into ops.quarantine (feed, file, line, stage, kind, reason, advice, content, content_hash,
                        resolved_at)
                    values ('shop/orders', 'f', :line, :stage, 'k', 'r', 'a', '', :line,
                        case when :resolved then now() end)
                """),
                {"line": number, "stage": stage, "resolved": resolved},
            )
    samples = scraped(url(engine))
    assert gauge(samples, "mes_quarantine_open_rows", feed="shop/orders", stage="read") == 2
    assert gauge(samples, "mes_quarantine_open_rows", feed="shop/orders", stage="wait") == 1


def test_leases_are_live_or_expired(engine: Engine) -> None:
    with engine.begin() as conn:
        for number, minutes in enumerate((5, 10, -1)):
            conn.execute(
                text("update ops.orders set claimed_by = 'anna', lease_until = now() + :lease where order_id = :id"),
                {"lease": timedelta(minutes=minutes), "id": add_order(conn, f"S-{number}")},
            )
    samples = scraped(url(engine))
    assert gauge(samples, "mes_leases", state="live") == 2
    assert gauge(samples, "mes_leases", state="expired") == 1


# a question that takes longer than it may on a busy machine is asked again
ATTEMPTS = 10


def test_missing_and_locked_tables_silence_their_own_group_only(marts_engine: Engine) -> None:
    with psycopg.connect(libpq_url(url(marts_engine))) as locking:
        locking.execute("drop table ops.list_counts")
        locking.commit()
        locking.execute("lock table ops.quarantine in access exclusive mode")
        for _ in range(ATTEMPTS):
            samples = scraped(url(marts_engine))
            up = {group.name: gauge(samples, "mes_database_group_up", group=group.name) for group in GROUPS}
            if None not in up.values() and up["leases"] and up["refresh"] and up["outbox"]:
                break
    assert (up["orders"], up["quarantine"]) == (0, 0)
    assert (up["leases"], up["refresh"], up["outbox"]) == (1, 1, 1)
    assert gauge(samples, "mes_database_up") == 1
    assert gauge(samples, "mes_orders_open", status="SUBMITTED") is None


def test_no_gauge_reads_finished_orders(marts_engine: Engine) -> None:
    """The plan of the orders' question goes by the index on open ones, with many finished orders beside them."""
    with marts_engine.begin() as conn:
        add_order(conn)
        add_order(conn, "F-1", status=Status.CLOSED)
    refresh_all(marts_engine)
    with marts_engine.begin() as conn:
        columns = refresher._columns(conn)
        copied = ", ".join("gen_random_uuid()" if name == "order_id" else name for name in columns)
        conn.execute(
            text(f"""
                insert into marts.order_list ({", ".join(columns)})
                select {copied} from marts.order_list, generate_series(1, 20000) where status = 'CLOSED'
            """)
        )
    with marts_engine.connect().execution_options(isolation_level="AUTOCOMMIT") as conn:
        conn.execute(text("vacuum analyze marts.order_list"))
        conn.execute(text("select pg_stat_reset_single_table_counters('marts.order_list'::regclass)"))
        scraped(url(marts_engine))
        read = text("""
            select coalesce(seq_tup_read, 0) + coalesce(idx_tup_fetch, 0)
            from pg_stat_user_tables where relid = 'marts.order_list'::regclass
        """)
        conn.execute(text("select pg_stat_force_next_flush(), pg_sleep(1.1)"))
        assert conn.execute(read).scalar_one() <= 10


@pytest.mark.parametrize("away", ["refused", "silent"])
def test_a_database_that_is_away_is_told_in_time(away: str, silent: str) -> None:
    where = AWAY if away == "refused" else silent
    gauges, ready = DatabaseGauges(where), Readiness(where, read_models=True)
    began = time.monotonic()
    content, _ = metrics.exposition(None, gauges)
    assert time.monotonic() - began < 3
    assert b"mes_database_up 0.0" in content
    assert b"mes_build_info" in content
    began = time.monotonic()
    report = ready()
    assert time.monotonic() - began < 3
    assert (report.http_status, named(report)) == (503, {"database": False})


def test_a_database_that_hangs_costs_one_thread_however_often_it_is_asked(silent: str) -> None:
    ready = Readiness(silent, limit_s=0.05)
    before = threading.active_count()
    for _ in range(10):
        assert not ready().ok
    assert threading.active_count() <= before + 1


def test_a_database_that_comes_back_is_ready_again(marts_engine: Engine) -> None:
    ready = Readiness(url(marts_engine), read_models=True)
    assert ready().ok
    name = marts_engine.url.database
    marts_engine.dispose()
    server = marts_engine.url.set(database="postgres").render_as_string(hide_password=False)
    with psycopg.connect(libpq_url(server), autocommit=True) as admin:
        admin.execute(f'alter database "{name}" allow_connections false')
        admin.execute("select pg_terminate_backend(pid) from pg_stat_activity where datname = %s", [name])
        assert named(ready()) == {"database": False}
        admin.execute(f'alter database "{name}" allow_connections true')
    assert ready().ok


def test_ready_means_migrated_and_built(marts_engine: Engine) -> None:
    ready = Readiness(url(marts_engine), read_models=True)
    assert named(ready()) == {"database": True, "migrations": True, "read models": True}
    with marts_engine.begin() as conn:
        conn.execute(text("drop schema marts cascade"))
        conn.execute(text("update alembic_version set version_num = '0001'"))
    assert named(ready()) == {"database": True, "migrations": False, "read models": False}
    assert any("`mes db upgrade`" in check.detail for check in ready().checks)
    with marts_engine.begin() as conn:
        conn.execute(text("update alembic_version set version_num = '9999'"))
    assert named(ready())["migrations"]  # a newer version is being rolled out
    with marts_engine.begin() as conn:
        conn.execute(text("drop table alembic_version"))
    assert not named(ready())["migrations"]


def test_details_hold_no_password() -> None:
    ready = Readiness("postgresql://mes:hunter22@127.0.0.1:1/mes")
    assert b"hunter22" not in ready().json()
    assert not Readiness(None)().ok


def test_an_object_store_that_cannot_be_used_is_not_ready(database_url: str, tmp_path: Path) -> None:
    folder = tmp_path / "objects"
    ready = Readiness(database_url, others={"object store": health.object_store(str(folder))})
    assert not named(ready())["object store"]
    folder.mkdir()
    assert named(ready())["object store"]


def test_a_worker_is_healthy_while_its_loops_come_round() -> None:
    now = 0.0
    running = True
    heartbeat = Heartbeat(clock=lambda: now)
    heartbeat.expect("refresh", limit_s=30)
    heartbeat.expect("relay", limit_s=30, alive=lambda: running)
    now = 29
    assert health.healthz(heartbeat).ok
    heartbeat.beat("relay")
    now = 31
    assert named(health.healthz(heartbeat)) == {"process": True, "refresh": False, "relay": True}
    heartbeat.beat("refresh")
    running = False
    assert named(health.healthz(heartbeat)) == {"process": True, "refresh": True, "relay": False}
    heartbeat.forget("relay")
    assert health.healthz(heartbeat).ok


def get(address: str) -> tuple[int, str, bytes]:
    try:
        with urllib.request.urlopen(address, timeout=5) as answer:
            return answer.status, answer.headers["content-type"], answer.read()
    except urllib.error.HTTPError as error:
        with error:
            return error.code, error.headers["content-type"], error.read()


def test_two_workers_of_one_host_answer_on_ports_of_their_own(marts_engine: Engine) -> None:
    ready, gauges = Readiness(url(marts_engine), read_models=True), DatabaseGauges(url(marts_engine))
    heartbeat = Heartbeat()
    heartbeat.expect("refresh", alive=lambda: False)

    def serve(port: int) -> worker_http.WorkerServer:
        return worker_http.start(
            "127.0.0.1", port, healthz=lambda: health.healthz(heartbeat), readyz=ready, gauges=[gauges]
        )

    with serve(0) as first, serve(int(first.address.rpartition(":")[2])) as second:
        assert first.address != second.address
        for address in (first.address, second.address):
            status, kind, body = get(f"{address}/readyz")
            assert (status, kind, json.loads(body)["ok"]) == (200, "application/json", True)
            status, _, body = get(f"{address}/healthz")
            assert (status, json.loads(body)["checks"][1]["detail"]) == (503, "has ended by itself")
            status, kind, body = get(f"{address}/metrics")
            assert (status, kind.startswith("text/plain; version=")) == (200, True)
            assert b"mes_database_up 1.0" in body
            assert get(f"{address}/other")[0] == 404
    assert not first.thread.is_alive()


def test_the_console_answers_machines(marts_engine: Engine, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MES_DATABASE_URL", libpq_url(url(marts_engine)))
    config.load.cache_clear()
    health_routes._readiness.cache_clear()
    answers = {route.path: route.endpoint for route in health_routes.routes()}
    assert set(answers) == {"/healthz", "/readyz", "/metrics"}
    assert answers["/healthz"](None).status_code == 200
    assert json.loads(answers["/readyz"](None).body)["ok"]
    health_routes._readiness.cache_clear()
    config.load.cache_clear()


def test_the_number_of_an_order_gives_its_ids(engine: Engine) -> None:
    with engine.begin() as conn:
        order_id = add_order(conn, "S-7")
        add_order(conn, "S-77")
        found = log_search.with_ids(conn, log_search.Search(order="S-7"))
        assert found.order_ids == (order_id,)
        assert log_search.with_ids(conn, log_search.Search(order="S-8")).order_ids == ()


_STATES = ("waiting", "scheduled", "running")


def _ensure_queue_tables(conn: Connection) -> None:
    if conn.execute(text("select to_regclass('procrastinate_jobs')")).scalar_one() is None:
        schema = SchemaManager(InMemoryConnector()).get_schema()
        conn.connection.driver_connection.execute(schema)


def _job(conn: Connection, queue: str, *, status: str = "todo", scheduled_in: timedelta | None = None) -> int:
    job_id: int = conn.execute(
        text("""
            insert into procrastinate_jobs (queue_name, task_name, scheduled_at)
            values (:queue, 'task', now() + cast(:delay as interval)) returning id
        """),
        {"queue": queue, "delay": scheduled_in},
    ).scalar_one()
    conn.execute(
        text("update procrastinate_jobs set status = cast(:status as procrastinate_job_status) where id = :id"),
        {"status": status, "id": job_id},
    )
    return job_id
