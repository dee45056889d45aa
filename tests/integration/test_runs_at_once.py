"""Several commands on one database wait for each other, and one that is ended or killed leaves nothing behind."""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import psutil
import psycopg
import pytest

from mes.runtime import database_locks
from mes.runtime.embedded import EmbeddedPostgres
from tests.conftest import REPOSITORY
from tests.integration.test_main_job import MES

pytestmark = pytest.mark.timeout(300)

KEY = 77  # no lock of ours

HOLDER = """
import sys, time
from mes.runtime import database_locks
with database_locks.held(sys.argv[1], int(sys.argv[2])):
    print("held", flush=True)
    time.sleep(600)
"""


class Demo:
    """A running `mes demo` on a small workshop; what it tells goes to a file."""

    def __init__(self, home: Path, name: str) -> None:
        self.output = home.parent / f"{name}.out"
        with self.output.open("wb") as output:
            self.process = subprocess.Popen(
                [MES, "demo", "--no-serve", "--orders", "40"],
                cwd=REPOSITORY,
                env={**os.environ, "MES_HOME": str(home)},
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )

    def has_told(self, words: str) -> bool:
        assert self.process.poll() is None, self.output.read_text()
        return words in self.output.read_text()

    def end(self, number: signal.Signals) -> int:
        self.process.send_signal(number)
        return self.process.wait(timeout=20)


def until(holds: Callable[[], bool], within_s: float) -> None:
    end = time.monotonic() + within_s
    while not holds():
        assert time.monotonic() < end, "did not happen in time"
        time.sleep(0.05)


def processes_of(home: Path) -> list[list[str]]:
    """Command lines of all living processes of a home."""
    found = []
    for process in psutil.process_iter():
        try:
            command = process.cmdline()
            of_home = process.environ().get("MES_HOME") == str(home) or str(home) in " ".join(command)
            if of_home and process.status() != psutil.STATUS_ZOMBIE:
                found.append(command)
        except psutil.Error:
            continue
    return found


@pytest.fixture
def home(tmp_path: Path) -> Iterator[Path]:
    """A fresh home; whatever still runs there after the test is ended."""
    folder = tmp_path / "home"
    yield folder
    for process in psutil.process_iter():
        try:
            if process.environ().get("MES_HOME") == str(folder) and process.pid != os.getpid():
                process.kill()
        except psutil.Error:
            continue


def test_runs_of_the_main_job_take_turns_and_end_cleanly_whether_told_or_killed(home: Path) -> None:
    first, second = Demo(home, "first"), Demo(home, "second")
    waiting = "waiting for another run of the main job"
    until(lambda: first.has_told(waiting) or second.has_told(waiting), 90)  # both have built the read models by now
    builds = (home / "logs" / "build-read-models.jsonl").read_text()
    assert builds.count("waiting for another process that builds the read models") == 1
    waiter, worker = (first, second) if first.has_told(waiting) else (second, first)
    until(lambda: worker.has_told("landed"), 60)
    assert "landed" not in waiter.output.read_text()
    worker.end(signal.SIGKILL)
    until(lambda: waiter.has_told("landed"), 60)  # its turn came with the other's death
    assert waiter.end(signal.SIGTERM) == 128 + signal.SIGTERM
    assert processes_of(home) == []  # the database is stopped too, when the command ends
    assert "Traceback" not in waiter.output.read_text()
    with EmbeddedPostgres(home) as server, psycopg.connect(server.url()) as conn:
        assert conn.execute("select count(*) from marts.order_list").fetchone() == (0,)


def test_a_lock_is_waited_for_and_vanishes_with_its_holder(database_url: str) -> None:
    told: list[str] = []
    with subprocess.Popen(
        [sys.executable, "-c", HOLDER, database_url, str(KEY)], cwd=REPOSITORY, stdout=subprocess.PIPE, text=True
    ) as holder:
        assert holder.stdout is not None
        assert holder.stdout.readline() == "held\n"

        def on_wait() -> None:
            told.append("waiting")
            holder.kill()

        with database_locks.held(database_url, KEY, on_wait):
            assert told == ["waiting"]
    with database_locks.held(database_url, KEY, on_wait):  # given back: nobody waits
        assert told == ["waiting"]


def test_a_quote_uses_loaded_rates_although_nothing_runs(tmp_path: Path) -> None:
    home = tmp_path / "home"
    prices = tmp_path / "dear.csv"
    prices.write_text("month,gold_usd_ozt,silver_usd_ozt,platinum_usd_ozt\n2026M01,40000,500,15000\n")
    before = quote(home, tmp_path)
    assert not home.exists()  # a quote alone makes no database
    mes(home, "rates", "load", str(prices))
    assert not EmbeddedPostgres(home).running()
    after = quote(home, tmp_path)
    assert (before["rate_card"]["name"], after["rate_card"]["name"]) == ("sample", "dear")
    assert float(after["price"]["amount"]) > 5 * float(before["price"]["amount"])
    assert not EmbeddedPostgres(home).running()


def quote(home: Path, folder: Path) -> dict[str, dict[str, str]]:
    """What `mes quote` says of a tetrahedron of gold with edges of 20 mm along the axes."""
    model = folder / "tetrahedron.obj"
    faces = "f 1 3 2\nf 1 2 4\nf 1 4 3\nf 2 3 4\n"
    model.write_text(f"v 0 0 0\nv 20 0 0\nv 0 20 0\nv 0 0 20\n{faces}")
    told: dict[str, dict[str, str]] = json.loads(mes(home, "quote", str(model), "--material", "gold750", "--json"))
    return told


def test_an_unknown_revision_is_explained(database_url: str, tmp_path: Path) -> None:
    done = subprocess.run(
        [MES, "db", "upgrade", "nope"],
        env={**os.environ, "MES_HOME": str(tmp_path), "MES_DATABASE_URL": database_url},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 2
    assert done.stderr.startswith("error: The schema cannot be moved to 'nope'")
    assert len(done.stderr.splitlines()) == 1


def mes(home: Path, *arguments: str) -> str:
    """What a command prints on standard output."""
    return subprocess.run(
        [MES, *arguments],
        cwd=REPOSITORY,
        env={**os.environ, "MES_HOME": str(home)},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        text=True,
        timeout=60,
        check=True,
    ).stdout
