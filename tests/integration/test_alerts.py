"""The right alert comes when something breaks and goes when it is mended, in the real Prometheus and Alertmanager."""

import json
import re
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
import yaml
from sqlalchemy import Engine, text

from mes.clock import utc_now
from mes.observability import metrics, pipeline_gauges, surroundings
from mes.observability.database_gauges import DatabaseGauges
from mes.orders import placing
from tests import certificates
from tests.alerts import alerting_on, await_alerts, needs_prometheus
from tests.callers import SHOP, add_model, new_order
from tests.faults import clock
from tests.processes import free_port, running

ROOT = Path(__file__).resolve().parents[2]
RULES = sorted((ROOT / "deploy/prometheus/rules").glob("*.yml"))
RUNBOOKS = (ROOT / "docs/runbooks.md").read_text()
NOWHERE = "postgresql://nobody@127.0.0.1:1/nothing"
# of every process, by Prometheus's client
_OF_A_PROCESS = {"process_start_time_seconds", "process_cpu_seconds_total", "process_resident_memory_bytes"}
# of Prometheus itself, of its client, and of a rule's own making
_NOT_OURS = re.compile(r"^(up|process_start_time_seconds|mes:.*|ALERTS.*)$")


def _rules() -> Iterator[dict[str, Any]]:
    for file in RULES:
        for group in yaml.safe_load(file.read_text())["groups"]:
            yield from group["rules"]


ALERTS = [rule for rule in _rules() if "alert" in rule]


def _known() -> set[str]:
    """The names of all series that our processes export."""
    collectors = [*metrics.REGISTRY._collector_to_names, DatabaseGauges(NOWHERE)]
    collectors += [DatabaseGauges(NOWHERE, subject=pipeline_gauges.SUBJECT, groups=pipeline_gauges.GROUPS)]
    collectors += [surroundings.Disks(home=ROOT), surroundings.Certificates([])]
    names = set()
    for collector in collectors:
        describe = getattr(collector, "describe", None) or collector.collect
        for family in describe():
            suffixes = {"counter": ["_total"], "histogram": ["_bucket", "_count", "_sum"]}.get(family.type, [""])
            names |= {family.name + suffix for suffix in suffixes}
    return names


def _named_in(expression: str) -> set[str]:
    return set(re.findall(r"\b(?:mes[_:][\w:]+|process_\w+)", re.sub(r'"[^"]*"', "", expression)))


@pytest.mark.parametrize("rule", ALERTS, ids=lambda rule: rule["alert"])
def test_an_alert_says_what_is_wrong_whom_it_wakes_and_what_to_do(rule: dict[str, Any]) -> None:
    assert rule["labels"]["severity"] in {"page", "ticket", "none"}
    assert len(rule["annotations"]["summary"]) > 20
    page, anchor = rule["annotations"]["runbook"].split("#")
    assert page == "docs/runbooks.md"
    section = re.search(rf"(?ims)^## {anchor}\n(.*?)(?=^## |\Z)", RUNBOOKS)
    assert section
    assert "**Look:**" in section[1]
    assert "**Do:**" in section[1]


def test_every_runbook_is_of_an_alert() -> None:
    anchors = {rule["annotations"]["runbook"].split("#")[1] for rule in ALERTS}
    assert {title.lower() for title in re.findall(r"^## (\w+)$", RUNBOOKS, re.MULTILINE)} == anchors


def test_rules_ask_for_what_we_export() -> None:
    asked = {name for rule in _rules() for name in _named_in(rule["expr"])}
    recorded = {rule["record"] for rule in _rules() if "record" in rule}
    assert {name for name in asked if not _NOT_OURS.match(name)} - _known() == set()
    assert {name for name in asked if name.startswith("mes:")} - recorded == set()


def _dashboards() -> list[str]:
    """All that they ask."""
    pages = [json.loads(file.read_text()) for file in sorted((ROOT / "deploy/grafana/dashboards").glob("*.json"))]
    return [target["expr"] for page in pages for panel in page["panels"] for target in panel.get("targets", ())]


def test_dashboards_are_as_their_definition_makes_them_and_ask_for_what_we_export() -> None:
    subprocess.run([sys.executable, "scripts/dashboards.py", "--check"], cwd=ROOT, check=True)
    asked = {name for expression in _dashboards() for name in _named_in(expression)}
    recorded = {rule["record"] for rule in _rules() if "record" in rule}
    assert len(_dashboards()) > 80
    assert asked - _known() - recorded - _OF_A_PROCESS == set()


@needs_prometheus
def test_dashboards_ask_in_prometheus_language(tmp_path: Path) -> None:
    asked = [expression.replace("$__rate_interval", "5m") for expression in _dashboards()]
    rules = [{"record": f"asked:{nth}", "expr": expression} for nth, expression in enumerate(asked)]
    file = tmp_path / "asked.yml"
    file.write_text(yaml.safe_dump({"groups": [{"name": "asked", "rules": rules}]}))
    done = subprocess.run(["promtool", "check", "rules", str(file)], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


def test_every_cause_is_tried() -> None:
    tried = yaml.safe_load((ROOT / "deploy/prometheus/tests/causes.yml").read_text())["tests"]
    causes = {rule["alert"] for rule in ALERTS if "slo" not in rule["labels"]} - {"Watchdog"}
    assert {case["name"] for case in tried} - {"a quiet hour"} == causes


@needs_prometheus
@pytest.mark.slow
@pytest.mark.parametrize("file", ["causes.yml", "slo.yml"])
def test_alerts_fire_and_rest_as_they_should_by_the_clock_of_a_test(file: str) -> None:
    done = subprocess.run(
        ["promtool", "test", "rules", file],
        cwd=ROOT / "deploy/prometheus/tests",
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr


@needs_prometheus
def test_alertmanagers_configuration_is_one() -> None:
    subprocess.run(["amtool", "check-config", str(ROOT / "deploy/alertmanager/alertmanager.yml")], check=True)


@needs_prometheus
@pytest.mark.slow
def test_what_breaks_alerts_within_two_minutes_and_no_more_once_it_is_mended(
    marts_engine: Engine, tmp_path: Path
) -> None:
    """Nobody does the work of relay, refresher, pricing and inbox here: what is to be done is behind at once."""
    library = clock.build(tmp_path)
    if library is None:
        pytest.skip("there is no C compiler, by which a program's clock is set wrong")
    wrong = clock.ProgramClock(tmp_path / "clock", library)
    certificate = tmp_path / "api.pem"
    _certify(certificate, timedelta(days=90))
    url = marts_engine.url.render_as_string(hide_password=False)
    with marts_engine.begin() as conn:
        add_model(conn)
    api, port = ["-m", "ingest.api", "--port", "{port}"], free_port()
    with ExitStack() as stack:
        worker = stack.enter_context(
            running(
                ["-m", "ingest.worker", "--roles", "webhooks"],
                *(url, tmp_path / "worker"),
                MES_WORKER_PORT="{port}",
                MES_CERTIFICATES=str(certificate),
                **wrong.environment,
            )
        )
        first = stack.enter_context(running(api, url, tmp_path / "api", port=port))
        firing = stack.enter_context(
            alerting_on(tmp_path, {"api": first.url, "worker": worker.url, "console": first.url})
        )
        await_alerts(firing, set())
        time.sleep(10)
        assert firing() == set()

        first.process.kill()
        wrong.set_wrong(-3_600)
        _certify(certificate, timedelta(days=1))
        _break(marts_engine)
        with _waiting_for_a_lock(marts_engine, 11):
            broken = {
                *("ApiDown", "ConsoleDown", "ClockWrong", "CertificateEnds", "OutboxStuck", "ListBehind"),
                *("PricingBehind", "OrderStuck", "InboxBehind", "EventMissing", "OrdersParked", "SystemsDiffer"),
                *("ReconciliationFails", "FeedLate", "WaitingForLocks"),
            }
            await_alerts(firing, broken)

        wrong.set_wrong(0)
        _certify(certificate, timedelta(days=90))
        _mend(marts_engine)
        stack.enter_context(running(api, url, tmp_path / "again", port=port))
        await_alerts(firing, set())


def _certify(file: Path, valid: timedelta) -> None:
    file.write_bytes(certificates.pem(utc_now() + valid))


def _break(engine: Engine) -> None:
    with engine.begin() as conn:
        placing.place(conn, SHOP, new_order("S-1"))
        conn.execute(text("update ops.orders set status_since = now() - interval '20 minutes'"))
        conn.execute(
            text("""
                insert into ops.inbox_orders (sender, source, external_id, due_at, gap_since, parked_at, parked_reason)
                values
                    ('shop', 'shop', 'late', now() - interval '1 minute', null, null, null),
                    ('shop', 'shop', 'missing', null, now() - interval '1 minute', null, null),
                    ('crm', 'shop', 'poison', null, null, now(), 'no such move')
            """)
        )
        conn.execute(
            text("""
                insert into ops.drift (system, source, external_id, kind, explanation, remedy, state, opened_at)
                values ('crm', 'shop', 'S-1', 'behind_there', 'it was not told', 'person', 'person',
                    now() - interval '2 hours')
            """)
        )
        conn.execute(
            text("""
                insert into ops.reconciliation_runs (system, scope, state, finished_at, error)
                values ('crm', 'all', 'failed', now(), 'no statement')
            """)
        )
        conn.execute(text("insert into ops.feed_loads values ('shop_orders', now() - interval '2 days', 5)"))


def _mend(engine: Engine) -> None:
    with engine.begin() as conn:
        conn.execute(text("update ops.outbox set position = outbox_id"))
        for table in ("ops.dirty_orders", "procrastinate_jobs", "ops.inbox_orders", "ops.drift", "ops.feed_loads"):
            conn.execute(text(f"delete from {table}"))
        conn.execute(text("delete from ops.reconciliation_runs"))
        conn.execute(text("update ops.orders set status_since = now()"))
        conn.execute(text("delete from ops.dirty_orders"))


@contextmanager
def _waiting_for_a_lock(engine: Engine, number: int) -> Iterator[None]:
    def wait() -> None:
        with engine.connect() as conn, conn.begin():
            conn.execute(text("select pg_advisory_xact_lock(42)"))

    threads = [threading.Thread(target=wait) for _ in range(number)]
    with engine.connect() as holder, holder.begin():
        holder.execute(text("select pg_advisory_xact_lock(42)"))
        for thread in threads:
            thread.start()
        yield
    for thread in threads:
        thread.join()
