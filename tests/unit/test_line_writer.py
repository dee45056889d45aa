"""Lines that are written a moment later are written once, in order, whatever the process does."""

import json
import os
import select
import subprocess
import sys
import time
from contextlib import nullcontext
from pathlib import Path

import pytest
from opentelemetry.trace import INVALID_SPAN

from mes.observability import logs, traces
from mes.observability.line_writer import LineWriter

LINES = 500


pytestmark = pytest.mark.usefixtures("restored_logging")


def test_lines_are_written_in_order_without_asking(capsys: pytest.CaptureFixture[str]) -> None:
    writer = LineWriter()
    for number in range(LINES):
        writer.put([f"line {number}\n"])
    written, end = "", time.monotonic() + 10
    while written.count("\n") < LINES and time.monotonic() < end:
        time.sleep(0.01)
        written += capsys.readouterr().err
    assert written.splitlines() == [f"line {number}" for number in range(LINES)]


def test_a_line_that_cannot_be_made_takes_no_other_with_it(capsys: pytest.CaptureFixture[str]) -> None:
    class Broken:
        def __str__(self) -> str:
            raise ValueError("of no use")

    logs.configure("api")
    facts = ["before", Broken(), "after"]
    speaker().say((), logs.Lines([time.time()] * 3, [None] * 3, {"fact": facts}, {}))  # type: ignore[dict-item]  # what if
    logs.flush()
    said = [json.loads(line) for line in capsys.readouterr().err.splitlines()]
    assert sorted((line["event"], line.get("fact", "")) for line in said if "exception" not in line) == [
        ("request", "after"),
        ("request", "before"),
    ]
    assert [line["event"] for line in said if "exception" in line] == ["a line could not be made"]


@pytest.mark.parametrize("end", ["", "sys.exit(3)", "raise ValueError"])
def test_a_process_that_ends_has_written_all(end: str) -> None:
    program = f"""if True:
        import sys
        from mes.observability.line_writer import LineWriter
        writer = LineWriter()
        for number in range({LINES}):
            writer.put([f"line {{number}}\\n"])
        {end}
    """
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)
    assert [line for line in done.stderr.splitlines() if line.startswith("line")] == [f"line {n}" for n in range(LINES)]


def test_what_is_forked_writes_its_own_lines_alone() -> None:
    program = """if True:
        import os
        from mes.observability.line_writer import LineWriter
        writer = LineWriter()
        writer.put(["ours\\n"])
        if os.fork():
            os.wait()
        else:
            writer.put(["its\\n"])
    """
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)
    assert sorted(done.stderr.split()) == ["its", "ours"]


def test_who_writes_where_nobody_reads_goes_on() -> None:
    reader, writer = os.pipe()
    program = """if True:
        import time
        from mes.observability.line_writer import LineWriter
        lines = LineWriter()
        for number in range(3):
            lines.put(["line\\n"])
            time.sleep(0.2)
        print("done")
    """
    with os.fdopen(writer, "wb") as closed:
        os.close(reader)
        done = subprocess.run([sys.executable, "-c", program], stdout=subprocess.PIPE, stderr=closed, check=False)
    assert done.stdout == b"done\n"


def test_no_line_is_written_within_another_however_slowly_they_are_read() -> None:
    program = """if True:
        import logging, threading
        from mes.observability import logs
        logs.configure("api")
        log = logging.getLogger("often")
        def warn():
            for number in range(1_500):
                log.warning("w" * 500)
        thread = threading.Thread(target=warn)
        thread.start()
        said = logs.speaker("requests", "info", "s" * 500)
        for number in range(3_000):
            said.say((), logs.Lines([0], [None], {}, {"number": [number]}))
        thread.join()
    """
    environment = {**os.environ, "PYTHONUNBUFFERED": "1"}
    with subprocess.Popen([sys.executable, "-c", program], stderr=subprocess.PIPE, env=environment) as running:
        assert running.stderr is not None
        read = bytearray()
        while part := running.stderr.read(20_000):
            read += part
            time.sleep(0.005)
    said = [json.loads(line)["event"][0] for line in read.splitlines()]
    assert (said.count("w"), said.count("s")) == (1_500, 3_000)


def test_facts_that_are_said_are_looked_through(capsys: pytest.CaptureFixture[str]) -> None:
    logs.configure("api")
    given = {
        "api_key": ["hunter22", "k"],
        "customer": ["Rosalind Franklin", "c"],
        "actor": ["anna@mail.example", "shop"],
    }
    speaker().say((("status", 200),), logs.Lines([time.time()] * 2, [None] * 2, given, {}))
    logs.flush()
    written = capsys.readouterr().err
    said = [json.loads(line) for line in written.splitlines()]
    assert [(line["actor"], line["status"]) for line in said] == [("[redacted]", 200), ("shop", 200)]
    assert not [secret for secret in ("hunter22", "Rosalind", "anna") if secret in written]


@pytest.mark.parametrize(
    "given",
    [
        {"actor": "shop", "order_id": "0199c0de-1111-7222-8333-123456789012"},
        {"actor": '50 % "off"\\n', "order_id": "\N{LATIN SMALL LETTER E WITH ACUTE}1"},
        {"actor": ""},
        {"request_id": "r-1", "rate": "5%"},
        {"status": "theirs"},
        {},
    ],
)
@pytest.mark.parametrize("is_traced", [True, False])
def test_what_is_said_is_what_is_logged(
    capsys: pytest.CaptureFixture[str], given: dict[str, str], is_traced: bool
) -> None:
    logs.configure("api")
    work = traces.span("work") if is_traced else nullcontext(INVALID_SPAN)
    with work as span:
        facts = {name: [value] * 2 for name, value in given.items()}
        said = logs.Lines([1.25] * 2, [traces.traceparent(span)] * 2, facts, {"took": [1.5] * 2})
        speaker("100 % done").say((("route", "/v1/{id}%s"), ("status", 200)), said)
    logs.flush()
    line, same = map(json.loads, capsys.readouterr().err.splitlines())
    assert line == same
    assert line.pop("timestamp") == "1970-01-01T00:00:01.250000Z"
    ours = {"level": "info", "logger": "requests", "process": "api", "event": "100 % done", "route": "/v1/{id}%s"}
    _, trace_id, span_id, _ = (traces.traceparent(span) or "---").split("-")
    ids = {"trace_id": trace_id, "span_id": span_id} if is_traced else {}
    assert line == {**given, **ours, "status": 200, "took": 1.5, **ids}


def speaker(event: str = "request") -> logs.Speaker:
    found = logs.speaker("requests", "info", event)
    assert found is not None
    return found


def test_where_no_thread_can_be_started_lines_are_written_at_once() -> None:
    program = """if True:
        import os, threading
        from mes.observability.line_writer import LineWriter
        def refuse(thread):
            raise RuntimeError("can't start new thread")
        threading.Thread.start = refuse
        LineWriter().put(["line\\n"])
        os._exit(0)
    """
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)
    assert done.stderr == "line\n"


@pytest.mark.parametrize("whole", [True, False])
def test_a_pipe_gets_whole_lines_and_a_file_all_of_them_together(tmp_path: Path, *, whole: bool) -> None:
    program = f"""if True:
        import os, sys
        from mes.observability import later
        from mes.observability.line_writer import LineWriter
        writes, lines = [], LineWriter()
        for number in range({LINES}):
            lines.put([f"line {{number}} of many\\n"])
        write = lines.write
        lines.write = lambda text: (writes.append(text), write(text))
        later.flush()
        print(len(writes), max(map(len, writes)), all(text.endswith("\\n") for text in writes))
    """
    with (tmp_path / "stderr").open("w") as file:
        stderr = file if whole else subprocess.PIPE
        done = subprocess.run([sys.executable, "-c", program], stdout=subprocess.PIPE, stderr=stderr, check=False)
    number, longest, ends = done.stdout.decode().split()
    assert ends == "True"
    assert (int(number) == 1) == whole
    assert whole or int(longest) <= select.PIPE_BUF
    written = (tmp_path / "stderr").read_bytes() if whole else done.stderr
    assert written.decode().splitlines() == [f"line {each} of many" for each in range(LINES)]
