"""Metrics say what happened, in Prometheus's formats, and the page for whoever is on call lists them all."""

import json
import re
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import httpx
import pytest
import structlog
from fastapi import APIRouter, FastAPI, Request
from hypothesis import given
from hypothesis import strategies as st
from prometheus_client import CollectorRegistry
from prometheus_client.metrics import MetricWrapperBase
from prometheus_client.openmetrics.parser import text_string_to_metric_families as openmetrics
from prometheus_client.parser import text_string_to_metric_families

from ingest.request_metrics import RequestMetrics
from mes.observability import logs, metrics, pipeline_gauges
from mes.observability.database_gauges import DatabaseGauges
from mes.observability.metrics import ActionOutcome, JobOutcome
from tests import asynchronous

ON_CALL = Path(__file__).resolve().parents[2] / "docs/on-call.md"
ORDER_ID = "019aa3c2-7d51-7c35-9d3c-0123456789ab"
NOWHERE = "postgresql://nobody@127.0.0.1:1/nothing"


pytestmark = pytest.mark.usefixtures("restored_logging")


def value(name: str, **labels: str) -> float:
    return metrics.REGISTRY.get_sample_value(name, labels) or 0.0


def ours() -> dict[str, tuple[str, set[str]]]:
    """All metrics of ours by name, with type and labels, as a scrape shows them."""
    instruments = [each for each in metrics.REGISTRY._collector_to_names if isinstance(each, MetricWrapperBase)]
    described = [(family, each._labelnames) for each in instruments for family in each.describe()]
    pipelines = DatabaseGauges(NOWHERE, subject=pipeline_gauges.SUBJECT, groups=pipeline_gauges.GROUPS)
    asked = [*DatabaseGauges(NOWHERE).describe(), *pipelines.describe()]
    described += [(family, family._labelnames) for family in asked]
    return {
        f"{family.name}_total" if family.type == "counter" else family.name: (family.type, set(labels))
        for family, labels in described
    }


def test_the_page_for_on_call_lists_every_metric_with_type_and_labels() -> None:
    rows = re.findall(r"^\| `(mes_\w+)` \| (\w+) \| (.*?) \| .+ \|$", ON_CALL.read_text(), re.MULTILINE)
    documented = {name: (kind, set(re.findall(r"`(\w+)`", labels))) for name, kind, labels in rows}
    assert documented == ours()


def test_names_follow_prometheus_conventions() -> None:
    for name, (kind, _) in ours().items():
        assert not re.search(r"_(ms|minutes|hours|bytes_total_total|count|sum|bucket)$", name), name
        assert name.endswith("_total") == (kind == "counter"), name
        if kind == "histogram":
            assert name.endswith("_seconds"), name


def test_requests_of_many_threads_are_each_counted_once() -> None:
    before = value("mes_http_requests_total", method="GET", route="/flood", status="200")
    with ThreadPoolExecutor(8) as callers:
        for _ in callers.map(lambda _: metrics.observe_requests("GET", "/flood", 200, [0.02]), range(10_001)):
            pass
    assert value("mes_http_requests_total", method="GET", route="/flood", status="200") - before == 10_001
    assert value("mes_http_request_duration_seconds_count", method="GET", route="/flood") >= 10_001


def test_a_job_counts_once_with_how_it_ended() -> None:
    before = {outcome: value("mes_jobs_total", task="t", outcome=outcome.value) for outcome in JobOutcome}
    with metrics.job("t"):
        assert value("mes_jobs_in_progress", task="t") == 1
    with pytest.raises(ValueError, match="no"), metrics.job("t"):
        raise ValueError("no")
    with pytest.raises(ValueError, match="later"), metrics.job("t") as run:
        _try_again_later(run)
    after = {outcome: value("mes_jobs_total", task="t", outcome=outcome.value) for outcome in JobOutcome}
    assert {outcome: after[outcome] - before[outcome] for outcome in JobOutcome} == dict.fromkeys(JobOutcome, 1.0)
    assert value("mes_jobs_in_progress", task="t") == 0
    assert value("mes_job_duration_seconds_count", task="t", outcome="failed") >= 1


def _try_again_later(run: metrics.JobRun) -> None:
    run.outcome = JobOutcome.RETRIED
    raise ValueError("later")


def test_refresh_lags_are_seconds_and_never_negative() -> None:
    before = value("mes_refresh_lag_seconds_count"), value("mes_refresh_lag_seconds_sum")
    orders = value("mes_refresh_orders_total")
    metrics.observe_refresh(2, 0.004, [0.25, 1.5, -0.01])
    assert value("mes_refresh_orders_total") - orders == 2
    assert value("mes_refresh_lag_seconds_count") - before[0] == 3
    assert value("mes_refresh_lag_seconds_sum") - before[1] == pytest.approx(1.75)


def test_actions_of_the_console_are_counted() -> None:
    before = value("mes_console_actions_total", action="hold", outcome="refused")
    metrics.observe_action("hold", ActionOutcome.REFUSED)
    assert value("mes_console_actions_total", action="hold", outcome="refused") - before == 1


def test_invented_methods_share_one_series() -> None:
    before = value("mes_http_requests_total", method="OTHER", route="unmatched", status="405")
    for method in ("BREW", "PROPFIND"):
        metrics.observe_requests(method, metrics.UNMATCHED, 405, [0.001])
    assert value("mes_http_requests_total", method="OTHER", route="unmatched", status="405") - before == 2


def test_the_exposition_is_what_prometheus_reads() -> None:
    metrics.observe_requests("GET", '/odd"\n\\route', 200, [0.01])
    content, content_type = metrics.exposition()
    names = {family.name for family in text_string_to_metric_families(content.decode())}
    assert {"mes_http_requests", "mes_http_request_duration_seconds", "mes_build_info"} <= names
    assert "process_resident_memory_bytes" in names
    assert content_type.startswith("text/plain; version=")
    content, content_type = metrics.exposition("application/openmetrics-text; version=1.0.0,text/plain;q=0.5")
    assert content_type.startswith("application/openmetrics-text")
    assert {family.name for family in openmetrics(content.decode())} == names


def application() -> RequestMetrics:
    app, orders = FastAPI(), APIRouter(prefix="/v1")

    @orders.get("/orders/{order_id}")
    async def order(order_id: str, request: Request) -> dict[str, str]:
        request.state.caller = "shop"
        structlog.get_logger("inside").info("working")
        return {"order_id": order_id, "request_id": request.state.request_id}

    @orders.post("/orders")
    async def create(request: Request) -> None:
        request.state.order_id = ORDER_ID
        raise RuntimeError("broken token=hunter22")

    @app.get("/healthz")
    async def healthz() -> None:
        """For machines."""

    app.include_router(orders)
    return RequestMetrics(app)


def ask(method: str, path: str, **options: Any) -> httpx.Response:
    async def request() -> httpx.Response:
        transport = httpx.ASGITransport(application(), raise_app_exceptions=False)
        async with httpx.AsyncClient(transport=transport, base_url="http://test") as client:
            return await client.request(method, path, **options)

    return asynchronous.run(request)


def lines(capsys: pytest.CaptureFixture[str]) -> list[dict[str, Any]]:
    logs.flush()
    return [json.loads(line) for line in capsys.readouterr().err.splitlines()]


def test_requests_are_counted_by_the_whole_template_of_their_route() -> None:
    logs.configure("api")
    matched = {"method": "GET", "route": "/v1/orders/{order_id}", "status": "200"}
    unmatched = {"method": "GET", "route": "unmatched", "status": "404"}
    before = value("mes_http_requests_total", **matched), value("mes_http_requests_total", **unmatched)
    for path in ("/v1/orders/1", "/v1/orders/2", "/wp-admin", "/robots.txt"):
        ask("GET", path)
    assert value("mes_http_requests_total", **matched) - before[0] == 2
    assert value("mes_http_requests_total", **unmatched) - before[1] == 2
    assert value("mes_http_requests_in_progress") == 0


def test_a_request_is_one_line_and_its_id_is_on_all_that_it_logs(capsys: pytest.CaptureFixture[str]) -> None:
    logs.configure("api")
    headers = {"X-Request-Id": "from-shop-1", "Authorization": "Bearer hunter22"}
    answer = ask("GET", f"/v1/orders/{ORDER_ID}?access_token=hunter22", headers=headers)
    assert answer.headers["x-request-id"] == answer.json()["request_id"] == "from-shop-1"
    said = {line["logger"]: line for line in lines(capsys)}
    inside, request = said["inside"], said["ingest.request_metrics"]
    assert inside["request_id"] == request["request_id"] == "from-shop-1"
    told = {name: request[name] for name in ("method", "route", "status", "actor", "order_id")}
    assert told == {
        "method": "GET",
        "route": "/v1/orders/{order_id}",
        "status": 200,
        "actor": "shop",
        "order_id": ORDER_ID,
    }
    assert request["duration_ms"] >= 0
    assert "hunter22" not in json.dumps([inside, request])


@pytest.mark.parametrize("given", ["", "a b", "x" * 129, "new\tline", "-dash", "<script>"])
def test_an_id_that_is_not_sane_is_replaced(given: str) -> None:
    answer = ask("GET", "/healthz", headers={"X-Request-Id": given})
    assert re.fullmatch("[0-9a-f]{32}", answer.headers["x-request-id"])


def test_a_request_that_fails_is_an_error_with_its_order_and_answer(capsys: pytest.CaptureFixture[str]) -> None:
    logs.configure("api")
    before = value("mes_http_requests_total", method="POST", route="/v1/orders", status="500")
    answer = ask("POST", "/v1/orders", content=b"secret body")
    assert answer.status_code == 500
    assert answer.headers["x-request-id"]
    (line,) = (line for line in lines(capsys) if line["logger"] == "ingest.request_metrics")
    assert (line["level"], line["status"], line["order_id"]) == ("error", 500, ORDER_ID)
    assert line["exception"][0]["exc_type"] == "RuntimeError"
    assert "hunter22" not in json.dumps(line)
    assert "secret body" not in json.dumps(line)
    assert value("mes_http_requests_total", method="POST", route="/v1/orders", status="500") - before == 1


def test_what_machines_ask_every_few_seconds_is_not_logged(capsys: pytest.CaptureFixture[str]) -> None:
    logs.configure("api")
    ask("GET", "/healthz")
    assert [line for line in lines(capsys) if line["logger"] == "ingest.request_metrics"] == []


@pytest.mark.parametrize("given", ["anna@mail.example", "o-1", "a-" * 4_000])
def test_what_stands_in_a_path_is_logged_only_if_it_is_an_id(given: str, capsys: pytest.CaptureFixture[str]) -> None:
    logs.configure("api")
    ask("GET", f"/v1/orders/{given}")
    (request,) = (line for line in lines(capsys) if line["logger"] == "ingest.request_metrics")
    assert "order_id" not in request
    assert given not in json.dumps(request)


@given(st.lists(st.floats(0, 1000) | st.sampled_from([0.005, 0.01, 30.0, 300.0])))
def test_many_values_at_once_are_as_each_alone(seconds: list[float]) -> None:
    registry = CollectorRegistry()
    together, alone = (metrics.Times(name, "Of a test.", registry=registry) for name in ("together", "alone"))
    together.observe_all(seconds)
    for each in seconds:
        alone.observe(each)
    (ours, theirs) = registry.collect()
    assert [(each.labels, each.value) for each in ours.samples] == [
        (each.labels, pytest.approx(each.value)) for each in theirs.samples
    ]
