"""Lines that are written a moment later are written once, in order, whatever the process does."""

import os
import subprocess
import sys
import time

import pytest

from mes.observability.line_writer import LineWriter

LINES = 500


def test_lines_are_written_in_order_without_asking(capsys: pytest.CaptureFixture[str]) -> None:
    writer = LineWriter()
    for number in range(LINES):
        writer.put(f"line {number}".format)
    written, end = "", time.monotonic() + 10
    while written.count("\n") < LINES and time.monotonic() < end:
        time.sleep(0.01)
        written += capsys.readouterr().err
    assert written.splitlines() == [f"line {number}" for number in range(LINES)]


def test_a_line_that_cannot_be_made_takes_no_other_with_it(capsys: pytest.CaptureFixture[str]) -> None:
    writer = LineWriter()
    for line in ("before".format, "{unknown}".format, "after".format):
        writer.put(line)
    writer.flush()
    assert [line for line in capsys.readouterr().err.splitlines() if "could not be made" not in line] == [
        "before",
        "after",
    ]


@pytest.mark.parametrize("end", ["", "sys.exit(3)", "raise ValueError"])
def test_a_process_that_ends_has_written_all(end: str) -> None:
    program = f"""if True:
        import sys
        from mes.observability.line_writer import LineWriter
        writer = LineWriter()
        for number in range({LINES}):
            writer.put(f"line {{number}}".format)
        {end}
    """
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)
    assert [line for line in done.stderr.splitlines() if line.startswith("line")] == [f"line {n}" for n in range(LINES)]


def test_what_is_forked_writes_its_own_lines_alone() -> None:
    program = """if True:
        import os
        from mes.observability.line_writer import LineWriter
        writer = LineWriter()
        writer.put("ours".format)
        if os.fork():
            os.wait()
        else:
            writer.put("its".format)
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
            lines.put("line".format)
            time.sleep(0.2)
        print("done")
    """
    with os.fdopen(writer, "wb") as closed:
        os.close(reader)
        done = subprocess.run([sys.executable, "-c", program], stdout=subprocess.PIPE, stderr=closed, check=False)
    assert done.stdout == b"done\n"
