"""Dagster compares with shop and CRM by itself, says what it saw, and fails a check when nobody looks."""

from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import dagster as dg
import psycopg
import pytest
from sqlalchemy import Engine, text

from assets.reconciliation import Comparison, no_old_drift, reconciliation
from assets.resources import Database
from mes import config
from mes.observability.database_gauges import DatabaseGauges
from mes.orders import placing, service
from mes.orders.life import Status, System
from mes.orders.model import Actor
from mes.reconciliation import drift
from mes.reconciliation.model import StatementTooSmall
from mes.runtime.location import libpq_url
from pipelines.jobs import RECONCILE
from pipelines.schedules import reconcile_continuously, reconcile_nightly
from tests.callers import SHOP, add_model, new_order
from tests.statements import known_there, states

# Dagster asks resources that have no settings for their fields by pydantic's old name
pytestmark = pytest.mark.filterwarnings("ignore:The `__fields__` attribute is deprecated")
AT = datetime(2026, 11, 29, 3, 32, tzinfo=UTC)


@pytest.fixture
def shop(engine: Engine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Engine]:
    """Two orders, of which the shop has missed something, and its statement, configured as Dagster finds it."""
    with engine.begin() as conn:
        add_model(conn)
        ids = [placing.place(conn, SHOP, new_order(number)).order_id for number in ("S-1", "S-2")]
        states(tmp_path, *known_there(conn))
        service.transition(conn, ids[0], Status.PRICE_CALCULATED, Actor(System.MES, "pricing"))
    monkeypatch.setenv("MES_DATABASE_URL", engine.url.render_as_string(hide_password=False))
    monkeypatch.setenv("MES_SHOP_STATEMENT_URL", str(tmp_path))
    monkeypatch.setenv("MES_DRIFT_SETTLE_MINUTES", "0")
    config.load.cache_clear()
    yield engine
    config.load.cache_clear()


def compare(everything: bool = True) -> dg.ExecuteInProcessResult:
    return dg.materialize(
        [reconciliation, no_old_drift],
        resources={"database": Database()},
        partition_key="shop",
        run_config=dg.RunConfig(ops={"ops__drift": Comparison(everything=everything)}),
    )


def test_a_run_says_what_it_saw_and_the_check_fails_when_nobody_looks(shop: Engine) -> None:
    result = compare()
    (event,) = result.asset_materializations_for_node("ops__drift")
    told = {name: value.value for name, value in event.metadata.items()}
    assert (told["scope"], told["stated"], told["compared"], told["differing_buckets"]) == ("all", 2, 2, 1)
    assert (told["repairs_begun"], told["gone"]) == (1, 0)
    assert [check.passed for check in result.get_asset_check_evaluations()] == [True]
    with shop.begin() as conn:
        conn.execute(text("update ops.drift set opened_at = opened_at - interval '5 hours'"))
    result = compare(everything=False)
    (check,) = result.get_asset_check_evaluations()
    assert (check.passed, check.metadata["shop_behind_there"].value) == (False, 1)


def test_half_a_statement_fails_the_run_and_changes_nothing(shop: Engine, tmp_path: Path) -> None:
    path = tmp_path / "shop/orders.jsonl"
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    with pytest.raises(StatementTooSmall):
        compare()
    with shop.begin() as conn:
        assert drift.listed(conn) == []


def test_what_is_open_is_measured(shop: Engine, database_url: str) -> None:
    compare()
    found = {
        (family.name, *sample.labels.values()): sample.value
        for family in DatabaseGauges(libpq_url(database_url)).collect()
        for sample in family.samples
    }
    assert found["mes_drift_open", "shop", "behind_there"] == 1
    assert found["mes_reconciliation_failed", "shop"] == 0
    assert 0 <= found["mes_drift_oldest_age_seconds", "shop"] < 60
    assert 0 <= found["mes_reconciliation_last_success_age_seconds", "shop"] < 60
    assert ("mes_reconciliation_failed", "crm") not in found


def test_the_schedules_ask_for_a_run_with_each_whose_statement_is_known(
    shop: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    with dg.instance_for_test() as instance:
        context = dg.build_schedule_context(instance=instance, scheduled_execution_time=AT)
        asked = {each.name: each(context) for each in (reconcile_continuously, reconcile_nightly)}
        assert {
            name: [(request.partition_key, request.run_config["ops"]["ops__drift"]["config"]) for request in requests]
            for name, requests in asked.items()
        } == {
            "reconcile_continuously": [("shop", {"everything": False})],
            "reconcile_nightly": [("shop", {"everything": True})],
        }
        running = dg.DagsterRun(
            job_name=RECONCILE, status=dg.DagsterRunStatus.STARTED, tags={"dagster/partition": "shop"}
        )
        instance.add_run(running)
        assert "under way" in str(reconcile_continuously(context).skip_message)
        monkeypatch.delenv("MES_SHOP_STATEMENT_URL")
        config.load.cache_clear()
        assert "set MES_SHOP_STATEMENT_URL or MES_CRM_STATEMENT_URL" in str(reconcile_nightly(context).skip_message)


def test_the_index_serves_what_is_measured(database_url: str) -> None:
    """However many differences were closed."""
    with psycopg.connect(libpq_url(database_url)) as conn:
        conn.execute("""
            insert into ops.drift (system, source, external_id, kind, explanation, remedy, state)
            select 'shop', 'shop', n::text, 'behind_there', '-', 'snapshot', 'closed'
            from generate_series(1, 20000) as n
        """)
        conn.execute("analyze ops.drift")
        plan = conn.execute(
            "explain select system, kind, count(*), min(opened_at) from ops.drift "
            "where state in ('open', 'person') group by system, kind"
        ).fetchall()
    assert "ix_drift_open" in str(plan)
