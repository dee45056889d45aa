"""Logs of every process are JSON lines that hold the context and no secret."""

import json
import logging
import subprocess
import sys
import warnings
from typing import Any

import pytest
import structlog

from mes.observability import logs
from mes.observability.redaction import REDACTED, redact_text

pytestmark = pytest.mark.usefixtures("restored_logging")


def lines(capsys: pytest.CaptureFixture[str]) -> list[dict[str, Any]]:
    return [json.loads(line) for line in capsys.readouterr().err.splitlines()]


def test_structlog_and_standard_library_come_out_alike(capsys: pytest.CaptureFixture[str]) -> None:
    logs.configure("worker")
    structlog.get_logger("mes.lists").info("refreshed", rows=3)
    logging.getLogger("sqlalchemy.pool").warning("pool of %d is used up", 5, extra={"size": 5})
    ours, theirs = lines(capsys)
    assert ours["event"] == "refreshed"
    assert ours["rows"] == 3
    assert theirs["event"] == "pool of 5 is used up"
    assert theirs["size"] == 5
    for line, level, logger in ((ours, "info", "mes.lists"), (theirs, "warning", "sqlalchemy.pool")):
        assert (line["level"], line["logger"], line["process"]) == (level, logger, "worker")
        assert line["timestamp"].endswith("Z")


def test_bound_context_is_on_every_line_and_ends_with_the_block(capsys: pytest.CaptureFixture[str]) -> None:
    logs.configure("worker")
    with logs.bound(order_id="o-1"):
        logging.getLogger("a").info("inside")
    logging.getLogger("a").info("outside")
    inside, outside = lines(capsys)
    assert inside["order_id"] == "o-1"
    assert "order_id" not in outside


def test_level_hides_what_is_below(capsys: pytest.CaptureFixture[str]) -> None:
    logs.configure("worker", "WARNING")
    structlog.get_logger("a").info("quiet")
    structlog.get_logger("a").error("loud")
    assert [line["event"] for line in lines(capsys)] == ["loud"]


@pytest.mark.parametrize(
    "text",
    [
        "cannot reach postgresql://mes:hunter22@db:5432/mes",
        "cannot reach postgresql+psycopg://mes:hunter22/@x@db/mes?sslmode=require",
        "fetch https://user:hunter22@example.test/feeds/a.jsonl",
        "Authorization: Bearer hunter22.abc-def",
        '"Authorization": "Basic hunter22=="',
        "connection to host=db user=mes password=hunter22 failed",
        "connection to host=db password='hunter22 with blank' failed",
        'sent {"api_key": "hunter22", "rows": 3}',
        "GET /x?access_token=hunter22&a=1",
        "MES_SECRET=hunter22",
        "the key mes_0123456789abcdef_hunter22".replace("hunter22", "0badc0de" * 8 + "hunter22"),
        "signed with whsec_hunter22/AbC+1=",
        "told hunter22@customers.example of it",
        "see mailto:hunter22@customers.example",
        "GET /v1/customers/hunter22%40customers.example",
        "x-api-key: hunter22",
        "Cookie: session=hunter22; a=1",
        'null value in column\nDETAIL:  Failing row contains (1, hunter22, "x", gold585).',
        "2026-11-30 02:00:00 UTC DETAIL:  Parameters: $1 = 'hunter22'",
        '{"to": "Anna <anna.hunter22+rings@mail.customers.example>"}',
    ],
)
def test_secrets_in_text_are_redacted(text: str) -> None:
    clean = redact_text(text)
    assert "hunter22" not in clean
    assert REDACTED in clean


@pytest.mark.parametrize(
    "text",
    [
        "ready http://127.0.0.1:8501/queue?mail=a@b",
        "tokens counted: 14 of model a.stl",
        "basic checks passed",
        "order 12:30 @ bench 4",
        "mes_postgres_waiting_for_locks is 12",
        "connects to nats://relay@bus.example:4222",
    ],
)
def test_plain_text_stays_as_it_is(text: str) -> None:
    assert redact_text(text) == text


@pytest.mark.timeout(30)
@pytest.mark.parametrize(
    "part", ["a-", "a.", "a://a:", "a@", "a@a.", "authorization ", "bearer ", "password", "a%40", "=: "]
)
def test_long_texts_take_time_in_proportion(part: str) -> None:
    """In time that grows with the square of the length, each would take minutes."""
    for text in (part * 150_000, f":{part * 150_000}", f"{part * 150_000}@"):
        redact_text(text)


def test_secrets_are_redacted_by_key_at_any_depth(capsys: pytest.CaptureFixture[str]) -> None:
    logs.configure("worker")
    nested = {"headers": [{"Authorization": "hunter22", "host": "a"}], "db": {"password": "hunter22", "port": 1}}
    facts = {"token": "hunter22", "webhook_secret": "hunter22", "nested": nested}
    facts |= {"customer": "hunter22", "customer_name": "hunter22", "e_mail": "hunter22", "engraving": "hunter22"}
    structlog.get_logger("a").info("request", **facts)
    (line,) = lines(capsys)
    assert "hunter22" not in json.dumps(line)
    assert line["nested"]["db"] == {"password": REDACTED, "port": 1}
    assert line["nested"]["headers"][0]["host"] == "a"


def test_exceptions_are_one_structured_line_without_secrets(capsys: pytest.CaptureFixture[str]) -> None:
    logs.configure("worker")
    try:
        int("postgresql://mes:hunter22@db/mes")
    except ValueError:
        logging.getLogger("a").exception("failed")
        structlog.get_logger("a").exception("failed too")
    for line in lines(capsys):
        assert line["exception"][0]["exc_type"] == "ValueError"
        assert line["exception"][0]["frames"]
        assert "hunter22" not in json.dumps(line)


def test_warnings_of_python_become_log_lines(capsys: pytest.CaptureFixture[str]) -> None:
    logs.configure("worker")
    with warnings.catch_warnings():
        warnings.simplefilter("default")
        logging.captureWarnings(capture=False)
        logging.captureWarnings(capture=True)
        warnings.warn("old way", DeprecationWarning, stacklevel=1)
    (line,) = lines(capsys)
    assert line["logger"] == "py.warnings"
    assert "old way" in line["event"]


def test_libraries_with_handlers_of_their_own_are_taken_over(capsys: pytest.CaptureFixture[str]) -> None:
    library = logging.getLogger("a_library_that_prints")
    library.addHandler(logging.StreamHandler(sys.stderr))
    library.propagate = False
    logs.configure("console")
    library.warning("once")
    assert [line["event"] for line in lines(capsys)] == ["once"]


def test_an_uncaught_exception_is_a_json_line() -> None:
    code = "from mes.observability import logs; logs.configure('worker'); raise ValueError('token=hunter22')"
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert run.returncode == 1
    line = json.loads(run.stderr)
    assert (line["level"], line["event"]) == ("critical", "uncaught exception")
    assert "hunter22" not in run.stderr


def test_the_terminal_rendering_is_for_people_and_has_no_secrets(capsys: pytest.CaptureFixture[str]) -> None:
    logs.configure_cli("INFO")
    structlog.get_logger("a").info("loading", url="postgresql://mes:hunter22@db/mes")
    text = capsys.readouterr().err
    assert "loading" in text
    assert "hunter22" not in text
    assert not text.lstrip().startswith("{")
