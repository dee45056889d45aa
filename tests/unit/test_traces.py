"""Spans are sampled so that nothing that failed or took long is missing, and go on from what caused them."""

import json
import os
import time
from collections.abc import Iterator

import pytest
from opentelemetry import trace
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import ReadableSpan
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.trace import Span, SpanKind, StatusCode

from mes.observability import logs, traces
from mes.orders.model import NoSuchOrder

SAMPLED = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
UNSAMPLED = "00-0af7651916cd43dd8448eb211c80319d-b7ad6b7169203332-00"


class Exported:
    """What a collector would have got, with so many new traces a second."""

    def __init__(self, per_s: float, slow_s: float = 60.0) -> None:
        self._kept = InMemorySpanExporter()
        traces.send(SimpleSpanProcessor(self._kept), Resource({}), per_s=per_s, slow_s=slow_s)

    @property
    def spans(self) -> list[ReadableSpan]:
        return list(self._kept.get_finished_spans())

    @property
    def names(self) -> list[str]:
        return [span.name for span in self.spans]


@pytest.fixture(autouse=True)
def _no_traces_afterwards() -> Iterator[None]:
    yield
    traces.send_nothing()


def test_of_a_flood_a_few_are_kept() -> None:
    exported = Exported(per_s=0.5)
    for _ in range(200):
        with traces.span("request"), traces.span("inner"):
            pass
    assert 5 <= exported.names.count("request") <= 7  # of a quiet time before
    assert exported.names.count("inner") == exported.names.count("request")


def test_what_failed_is_kept_with_all_that_it_failed_in() -> None:
    exported = Exported(per_s=0)
    with traces.span("fine"), traces.span("part of what is fine"):
        pass
    with pytest.raises(ValueError, match="hunter22"):
        _fail()
    assert exported.names == ["failing part", "request"]
    (event,) = exported.spans[-1].events
    assert event.name == "exception"
    assert "hunter22" not in json.dumps(dict(event.attributes or {}))
    assert "customers" not in json.dumps(dict(event.attributes or {}))


def _fail() -> None:
    with traces.span("request"):
        with traces.span("part"):
            pass
        with traces.span("failing part"):
            raise ValueError("password=hunter22 of anna@customers.example is no number")


def test_what_failed_is_kept_though_the_work_went_on() -> None:
    exported = Exported(per_s=0)
    with traces.span("request"), pytest.raises(KeyError), traces.span("tried"):
        raise KeyError
    assert exported.names == ["tried"]


def test_what_took_long_is_kept() -> None:
    exported = Exported(per_s=0, slow_s=0.0)
    with traces.span("request"):
        pass
    assert exported.names == ["request"]


def test_a_sampled_cause_has_all_that_follows_sampled() -> None:
    exported = Exported(per_s=0)
    with traces.span("job", causes=[SAMPLED]):
        pass
    with traces.span("batch", causes=[UNSAMPLED, None, SAMPLED, "nonsense", SAMPLED]):
        pass
    with traces.span("of no interest", causes=[UNSAMPLED]):
        pass
    job, batch = exported.spans
    assert (job.name, f"{job.context.trace_id:032x}") == ("job", SAMPLED.split("-")[1])
    assert job.parent is not None
    assert f"{job.parent.span_id:016x}" == SAMPLED.split("-")[2]
    assert [f"{link.context.span_id:016x}" for link in batch.links] == [SAMPLED.split("-")[2]]
    assert batch.parent is None


def test_work_of_which_no_cause_is_sampled_is_linked_to_all_of_them() -> None:
    exported = Exported(per_s=0, slow_s=0)
    with traces.span("batch", causes=[UNSAMPLED, "nonsense", None, UNSAMPLED[:-4] + "7-00"]):
        pass
    (batch,) = exported.spans
    assert [f"{link.context.span_id:016x}" for link in batch.links] == ["b7ad6b7169203332", "b7ad6b7169203337"]


def test_one_cause_of_many_messages_is_the_parent() -> None:
    exported = Exported(per_s=0)
    with traces.span("publish", causes=[SAMPLED, None, SAMPLED]):
        pass
    (publish,) = exported.spans
    assert publish.parent is not None
    assert f"{publish.parent.span_id:016x}" == SAMPLED.split("-")[2]


def test_a_span_is_described_when_it_is_sent() -> None:
    def describe(span: Span) -> None:
        described.append(span)
        span.update_name("POST /v1/orders")
        span.set_attributes({"http.response.status_code": 201})

    described: list[Span] = []
    exported = Exported(per_s=0, slow_s=60)
    with traces.span("POST") as fine:
        traces.describe(fine, describe)
    assert described == []
    for per_s, slow_s in ((0, 0.0), (5, 60.0)):
        exported = Exported(per_s=per_s, slow_s=slow_s)
        with traces.span("POST") as current:
            traces.describe(current, describe)
        (sent,) = exported.spans
        assert (sent.name, dict(sent.attributes or {})) == ("POST /v1/orders", {"http.response.status_code": 201})


def test_after_a_flood_traces_are_sampled_again() -> None:
    exported = Exported(per_s=20)
    for _ in range(300):
        with traces.span("flood"):
            pass
    assert exported.names.count("flood") < 250
    time.sleep(0.2)
    for _ in range(10):
        with traces.span("after it"):
            pass
    assert 1 <= exported.names.count("after it") <= 10


def test_work_of_libraries_finds_the_span_that_is_recorded() -> None:
    Exported(per_s=5)
    with traces.span("job") as current:
        assert trace.get_current_span() is current
    assert not trace.get_current_span().get_span_context().is_valid


def test_strangers_do_not_decide_what_is_sampled() -> None:
    exported = Exported(per_s=0)
    with traces.span("POST", kind=SpanKind.SERVER, causes=[SAMPLED], foreign=True):
        assert (traces.traceparent() or "").split("-")[1] == SAMPLED.split("-")[1]
    assert exported.names == []


def test_work_within_work_is_linked_to_its_cause() -> None:
    exported = Exported(per_s=10)
    with traces.span("batch"), traces.span("one of it", causes=[SAMPLED]):
        pass
    one, batch = exported.spans
    assert one.context.trace_id == batch.context.trace_id
    assert [f"{link.context.trace_id:032x}" for link in one.links] == [SAMPLED.split("-")[1]]


def test_what_is_sent_after_all_is_as_it_was_told() -> None:
    exported = Exported(per_s=0)
    with traces.span("POST", kind=SpanKind.SERVER, causes=[UNSAMPLED], foreign=True, attributes={"a": "b"}) as current:
        assert not current.is_recording()
        current.update_name("POST /v1/orders")
        current.set_attributes({"http.response.status_code": 503})
        current.set_status(StatusCode.ERROR)
        told = traces.traceparent()
    (sent,) = exported.spans
    assert (sent.name, sent.kind) == ("POST /v1/orders", SpanKind.SERVER)
    assert dict(sent.attributes or {}) == {"a": "b", "http.response.status_code": 503}
    assert told == f"00-{sent.context.trace_id:032x}-{sent.context.span_id:016x}-00"
    assert sent.parent is not None
    assert f"{sent.parent.span_id:016x}" == UNSAMPLED.split("-")[2]


def test_a_refusal_is_no_failure() -> None:
    exported = Exported(per_s=0)
    with pytest.raises(NoSuchOrder), traces.span("action"):
        raise NoSuchOrder(order_id="o-1")
    assert exported.names == []


def test_statements_are_spans_of_recorded_work_alone() -> None:
    exported = Exported(per_s=10)
    with traces.query("select 1"):
        pass
    with traces.span("job"), traces.query("with told as (select 1)\ninsert into  ops.orders (x) values (1)"):
        pass
    assert exported.names == ["insert into ops.orders", "job"]
    assert exported.spans[0].kind is SpanKind.CLIENT


def test_without_a_collector_work_has_ids_and_costs_nothing_else(capsys: pytest.CaptureFixture[str]) -> None:
    traces.send_nothing()
    logs.configure("worker")
    with traces.span("job") as span:
        logs.structlog.get_logger("a").info("done", order_id="o-1")
        assert not span.is_recording()
        told = traces.traceparent()
    line = json.loads(capsys.readouterr().err)
    assert (told or "").startswith(f"00-{line['trace_id']}-{line['span_id']}-")
    assert span.get_span_context().is_valid


def test_ids_are_drawn_anew_in_a_process_that_was_forked() -> None:
    def ids() -> list[str | None]:
        told = []
        for _ in range(200):
            with traces.span("work"):
                told.append(traces.traceparent())
        return told

    first = ids()
    reading, writing = os.pipe()
    child = os.fork()
    if not child:
        try:
            os.write(writing, json.dumps(ids()).encode())
        finally:
            os._exit(0)
    os.close(writing)
    with os.fdopen(reading) as told:
        others = json.load(told)
    os.waitpid(child, 0)
    every = [*first, *ids(), *others]
    assert (
        len({told[traces.TRACE_ID] for told in every if told}) == len({told[traces.SPAN_ID] for told in every}) == 600
    )


@pytest.mark.parametrize(
    ("event", "headers", "told"),
    [
        ({"traceparent": SAMPLED}, None, SAMPLED),
        ({}, {"traceparent": SAMPLED}, SAMPLED),
        ({"traceparent": UNSAMPLED}, {"traceparent": SAMPLED}, UNSAMPLED),
        ({"traceparent": 7}, None, None),
        ({"traceparent": "00-" + "0" * 32 + "-b7ad6b7169203331-01"}, None, None),
        ({"traceparent": SAMPLED + "\n"}, None, None),
        ({}, {}, None),
    ],
)
def test_a_message_names_its_trace(event: dict[str, object], headers: dict[str, str] | None, told: str | None) -> None:
    assert traces.of_message(event, headers) == told


def test_a_statement_that_fails_is_marked_as_failed(caplog: pytest.LogCaptureFixture) -> None:
    exported = Exported(per_s=5)
    with pytest.raises(ValueError, match="no"), traces.span("job"), traces.query("select 1 from ops.orders"):
        raise ValueError("no")
    statement = exported.spans[0]
    assert (statement.name, statement.status.status_code) == ("from ops.orders", StatusCode.ERROR)
    assert [event.name for event in statement.events] == ["exception"]
    assert caplog.text == ""


def test_others_do_not_decide_what_is_sent_of_their_messages() -> None:
    exported = Exported(per_s=0)
    for causes in ([SAMPLED], [SAMPLED, UNSAMPLED]):
        with traces.span("receive", kind=SpanKind.CONSUMER, causes=causes, foreign=True):
            pass
    assert exported.names == []


def test_what_is_sent_after_all_is_linked_to_what_was_found_to_have_led_to_it() -> None:
    exported = Exported(per_s=0, slow_s=0)
    with traces.span("order SHIPPED") as current:
        traces.follow(current, [SAMPLED])
    (link,) = exported.spans[0].links
    assert f"{link.context.trace_id:032x}" == SAMPLED.split("-")[1]


def test_an_error_without_words_is_told_all_the_same() -> None:
    class Wordless(Exception):
        def __str__(self) -> str:
            raise RuntimeError("no words")

    for per_s in (0, 5):
        exported = Exported(per_s=per_s)
        with pytest.raises(Wordless), traces.span("job"):
            raise Wordless
        assert exported.names == ["job"]
