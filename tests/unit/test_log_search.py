"""`mes logs` finds what all processes said, newest last, whatever the files' size, rotation and dirt."""

import json
import logging
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest
import structlog
import uvicorn
from typer.testing import CliRunner, Result

from mes import config
from mes.observability import log_files, log_search, logs
from mes.observability.log_search import BadTime, Search
from mes.runtime.cli import app
from mes.runtime.process_log import ProcessLog

ORDER = UUID("01939a5c-7a80-7000-8000-000000000001")
T0 = datetime(2026, 11, 22, 10, 0, tzinfo=UTC)
Run = Callable[..., Result]


def line(second: float, event: str, process: str = "worker", level: str = "info", **facts: Any) -> str:
    at = (T0 + timedelta(seconds=second)).isoformat().replace("+00:00", "Z")
    common = {"timestamp": at, "level": level, "logger": "mes", "process": process, "event": event}
    return json.dumps(facts | common, ensure_ascii=False) + "\n"


pytestmark = pytest.mark.usefixtures("restored_logging")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    path = tmp_path / "logs"
    path.mkdir()
    return path


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Run:
    monkeypatch.setenv("MES_HOME", str(tmp_path))
    monkeypatch.delenv("MES_DATABASE_URL", raising=False)
    config.load.cache_clear()
    return lambda *arguments: CliRunner().invoke(app, ["logs", *arguments])


def events(folder: Path, **conditions: Any) -> list[str]:
    """The events that a search finds, the oldest first."""
    return [record.facts["event"] for record in log_search.newest_first(folder, Search(**conditions))][::-1]


def test_all_processes_and_rotated_files_come_merged_by_time(folder: Path) -> None:
    (folder / "worker.jsonl.2").write_text(line(0, "a") + line(2, "c"))
    (folder / "worker.jsonl.1").write_text(line(4, "e"))
    (folder / "worker.jsonl").write_text(line(6, "g") + line(8, "i"))
    (folder / "api.jsonl.1").write_text(line(1, "b", "api") + line(3, "d", "api"))
    (folder / "api.jsonl").write_text(line(5, "f", "api") + line(7, "h", "api"))
    assert events(folder) == list("abcdefghi")


def test_lines_longer_than_a_block_and_files_without_a_last_newline_are_whole(folder: Path) -> None:
    long = ["x" * 700_000, "short", "y" * 300_000, "z"]
    (folder / "worker.jsonl").write_text("".join(line(n, event) for n, event in enumerate(long)).rstrip("\n"))
    assert events(folder) == long


def test_an_order_is_found_where_it_is_carried_listed_or_named_but_not_in_another_id(folder: Path) -> None:
    other = str(ORDER)[:-1] + "2"
    (folder / "worker.jsonl").write_text(
        line(0, "carried", order_id=str(ORDER))
        + line(1, "listed", order_ids=[other, str(ORDER)])
        + line(2, f"named {str(ORDER).upper()}, as people do")
        + line(3, "other", order_id=other)
        + line(4, "nested", request={"path": f"/v1/orders/{ORDER}/events"})
        + line(5, "longer", order_id=f"{ORDER}-7")
    )
    found = ["carried", "listed", f"named {str(ORDER).upper()}, as people do", "nested"]
    assert events(folder, order=str(ORDER)) == found
    assert events(folder, order="S-1", order_ids=(ORDER,)) == found


def test_a_number_is_found_as_a_whole_word(folder: Path) -> None:
    (folder / "main-job.jsonl").write_text(
        line(0, "order S-1 waits") + line(1, "order S-10 waits") + line(2, "x", external_id="s-1") + line(3, "XS-1")
    )
    assert events(folder, order="S-1") == ["order S-1 waits", "x"]


def test_conditions_hold_together(folder: Path) -> None:
    (folder / "worker.jsonl").write_text(
        line(0, "too early", level="error")
        + line(60, "refresh failed", level="error", role="refresh")
        + line(61, "refresh is slow", level="info")
        + line(62, "relay failed", level="error")
        + line(120, "refresh failed later", level="error")
    )
    (folder / "api.jsonl").write_text(line(60, "refresh failed in api", "api", level="error"))
    conditions: dict[str, Any] = {"level": "warning", "text": "FAILED refresh", "processes": frozenset({"worker"})}
    since, until = T0 + timedelta(seconds=30), T0 + timedelta(seconds=90)
    assert events(folder, since=since, until=until, **conditions) == ["refresh failed"]


def test_words_are_found_however_json_writes_them(folder: Path) -> None:
    (folder / "dagster.jsonl").write_text(json.dumps({"event": 'sagte "größer" / weg'}) + "\n")  # as \\u00f6
    assert events(folder, text='größer "gr /') == ['sagte "größer" / weg']


def test_dirt_and_lines_without_a_time_are_shown_beside_their_neighbours(folder: Path) -> None:
    dirt = '{"step": "feeds", "state": "done"}\nnot json\n{"half": \n[1, 2]\n\xff\n'
    content = line(0, "before") + dirt + line(1, "after")
    (folder / "worker.jsonl").write_bytes(content.encode("latin-1"))
    (folder / "api.jsonl").write_text(line(5, "later", "api"))
    found = [record.facts.get("event") for record in log_search.newest_first(folder, Search())][::-1]
    assert found == ["before", None, "not json", '{"half": ', "[1, 2]", "\\xff", "after", "later"]


def test_reading_stops_where_since_says(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (folder / "worker.jsonl").write_text("".join(line(n, f"event {n}") for n in range(20_000)))
    parsed: list[int] = []
    real = log_files._record
    monkeypatch.setattr(log_files, "_record", lambda *args: parsed.append(1) or real(*args))
    assert len(events(folder, since=T0 + timedelta(seconds=19_990))) == 10
    assert len(parsed) < 200
    parsed.clear()
    assert events(folder, since=T0 + timedelta(seconds=19_990), text="nowhere") == []
    assert len(parsed) < 200


@pytest.mark.parametrize(
    ("written", "moment"),
    [
        ("90s", T0 - timedelta(seconds=90)),
        ("30m", T0 - timedelta(minutes=30)),
        ("2h", T0 - timedelta(hours=2)),
        ("1 d", T0 - timedelta(days=1)),
        ("2026-11-22T10:00", T0),
        ("2026-11-22T11:00+01:00", T0),
        ("2026-11-22", datetime(2026, 11, 22, tzinfo=UTC)),
    ],
)
def test_times_are_ago_or_iso(written: str, moment: datetime) -> None:
    assert log_search.parse_time(written, T0) == moment


@pytest.mark.parametrize("written", ["", "soon", "1w", "-5m", "25:00", "999999999999d"])
def test_other_times_are_refused(written: str) -> None:
    with pytest.raises(BadTime):
        log_search.parse_time(written, T0)


def test_a_tail_gives_what_is_added_through_rotations_and_in_new_files(folder: Path) -> None:
    log = ProcessLog(folder / "worker.jsonl", "worker", max_bytes=1_000)
    log.write(line(0, "old"))
    tail = log_files.Tail(folder)
    seen: list[str] = []
    for number in range(100):
        log.write(line(number, f"n{number}"))
        seen += [record.facts["event"] for record in tail.new()]
    (folder / "api.jsonl").write_text(line(200, "from a new file", "api"))
    seen += [record.facts["event"] for record in tail.new()]
    log.close()
    tail.close()
    assert len(list(folder.glob("worker.jsonl.*"))) == 3  # it was rotated many times
    assert seen == [*(f"n{number}" for number in range(100)), "from a new file"]


def test_a_line_that_is_half_written_waits_for_its_other_half(folder: Path) -> None:
    path = folder / "worker.jsonl"
    path.touch()
    tail = log_files.Tail(folder)
    whole = line(0, "whole")
    with path.open("a") as file:
        file.write(whole[:20])
        file.flush()
        assert tail.new() == []
        file.write(whole[20:])
        file.flush()
        assert [record.facts["event"] for record in tail.new()] == ["whole"]
    tail.close()


def test_history_and_tail_meet_without_gap_or_repetition(folder: Path) -> None:
    path = folder / "worker.jsonl"
    path.write_text(line(0, "history"))
    tail = log_files.Tail(folder)
    ends = tail.ends()
    path.rename(folder / "worker.jsonl.1")
    with (folder / "worker.jsonl.1").open("a") as file:
        file.write(line(1, "after the tail began"))
    path.write_text(line(2, "after the rotation"))
    history = [record.facts["event"] for record in log_files.newest_first(folder, log_files.Wanted(ends=ends))]
    assert history == ["history"]
    assert [record.facts["event"] for record in tail.new()] == ["after the tail began", "after the rotation"]
    tail.close()


def test_a_record_is_one_aligned_line_for_people(folder: Path, run: Run) -> None:
    (folder / "worker.jsonl").write_text(
        line(1.1234, "order priced", order_id="o-1", total="12.50 USD") + line(2, "two\nlines \x1b[31m", level="error")
    )
    (folder / "postgres-keeper.jsonl").write_text(line(0, "started", "postgres-keeper"))
    result = run()
    assert result.exit_code == 0
    assert result.stdout.splitlines() == [
        "2026-11-22 10:00:00.000  postgres-keeper  info      started",
        '2026-11-22 10:00:01.123  worker           info      order priced  order_id=o-1 total="12.50 USD"',
        "2026-11-22 10:00:02.000  worker           error     two\\nlines \\u001b[31m",
    ]


def test_an_exception_is_told_in_a_word(folder: Path, run: Run) -> None:
    frames = [{"filename": "a.py", "lineno": 1}, {"filename": "b.py", "lineno": 2}]
    exception = [{"exc_type": "ValueError", "exc_value": "no such thing", "frames": frames}]
    (folder / "api.jsonl").write_text(line(0, "failed", "api", level="error", exception=exception))
    assert run().stdout.rstrip().endswith("failed  exception=ValueError: no such thing (b.py:2)")


def test_the_newest_are_shown_and_the_rest_is_mentioned(folder: Path, run: Run) -> None:
    written = [line(n, f"event {n}") for n in range(10)]
    (folder / "worker.jsonl").write_text("".join(written))
    result = run("--limit", "2", "--json")
    assert result.stdout == "".join(written[-2:])
    assert "2 newest" in result.stderr
    assert "newest" not in run("--limit", "10").stderr


def test_nothing_found_says_so_and_fails(folder: Path, run: Run) -> None:
    (folder / "worker.jsonl").write_text(line(0, "a"))
    result = run("--process", "wroker")
    assert result.exit_code == 1
    assert "no log of wroker; there are: worker" in result.stderr


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        ([], "`mes up`"),
        (["--since", "soon"], "30m, 2h, 1d"),
        (["--level", "loud"], "debug, info, warning, error, critical"),
    ],
)
def test_what_cannot_be_done_is_one_clear_line(run: Run, arguments: list[str], told: str) -> None:
    result = run(*arguments)
    assert result.exit_code == 2
    assert told in result.stderr
    assert len(result.stderr.splitlines()) == 1


def test_a_command_at_a_terminal_keeps_its_log_with_the_others(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    logs.configure_cli("INFO")
    logs.keep(folder / "up.jsonl", "up", max_bytes=10_000, backups=1)
    structlog.get_logger("mes").info("process ended", name="worker", url="postgresql://mes:hunter22@db/mes")
    (record,) = log_search.newest_first(folder, Search(processes=frozenset({"up"})))
    assert (record.facts["event"], record.facts["level"], record.facts["name"]) == ("process ended", "info", "worker")
    assert not capsys.readouterr().err.startswith("{")
    assert "hunter22" not in record.line


def test_uvicorn_logs_as_all_else_does(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    logs.configure("api")
    uvicorn.Config(lambda: None, **logs.uvicorn_options())
    logging.getLogger("uvicorn.error").info("Started server process [%d]", 1)
    line = json.loads(capsys.readouterr().err)
    assert (line["event"], line["process"], line["logger"]) == ("Started server process [1]", "api", "uvicorn.error")


def test_what_a_child_prints_gets_what_every_record_has(folder: Path) -> None:
    log = ProcessLog(folder / "dagster.jsonl", "dagster")
    log.write('{"step": "feeds", "state": "done"}')
    log.write(
        '{"event": "kept", "level": "warning", "logger": "a", "process": "b", "timestamp": "2026-11-22T10:00:00Z"}'
    )
    log.write("2026-11-22 16:32:35.274 UTC [25710] [unknown] mes FATAL:  database does not exist")
    log.write("\x1b[32m2026-11-22 16:34:34 +0000\x1b[0m - dagster - \x1b[34mWARNING\x1b[0m - slow")
    log.write("all is well, said ERROR, the cat")
    log.close()
    records = [json.loads(text) for text in (folder / "dagster.jsonl").read_text().splitlines()]
    assert all({"timestamp", "level", "event", "process", "logger"} <= set(record) for record in records)
    assert [record["level"] for record in records] == ["info", "warning", "error", "warning", "info"]
    assert (records[0]["step"], records[0]["process"]) == ("feeds", "dagster")
    assert (records[1]["process"], records[1]["timestamp"]) == ("b", "2026-11-22T10:00:00Z")
    assert records[3]["event"] == "2026-11-22 16:34:34 +0000 - dagster - WARNING - slow"
