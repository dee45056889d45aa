"""The supervisor keeps real processes running and leaves none behind, however it ends."""

import json
import os
import signal
import subprocess
import sys
import textwrap
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import psutil
import pytest

from mes.runtime import run_marker, run_state
from mes.runtime.process_log import ProcessLog, tail
from mes.runtime.supervisor import ProcessFailed, ProcessSpec, Supervisor, answers

SLEEPER = "import time; time.sleep(600)"
STUBBORN = "import signal, time; signal.signal(signal.SIGTERM, signal.SIG_IGN); time.sleep(600)"


def python(code: str) -> list[str]:
    return [sys.executable, "-c", textwrap.dedent(code)]


def parent_of(code: str) -> list[str]:
    """A process that starts a grandchild in a session of its own, as Dagster's servers do, then sleeps."""
    return python(
        f"""
        import subprocess, sys, time
        subprocess.Popen([sys.executable, "-c", {code!r}], start_new_session=True)
        time.sleep(600)
        """
    )


def eventually(holds: Callable[[], object], within_s: float = 10.0) -> None:
    end = time.monotonic() + within_s
    while not holds():
        assert time.monotonic() < end, "did not happen in time"
        time.sleep(0.05)


class Driver:
    """A supervisor in a process of its own, as `mes up` is one."""

    def __init__(self, folder: Path, *specs: dict[str, object]) -> None:
        code = f"""
            import json, pathlib
            from mes.runtime.supervisor import ProcessSpec, Supervisor
            folder = pathlib.Path({str(folder)!r})
            specs = [ProcessSpec(**spec) for spec in json.loads({json.dumps(list(specs))!r})]
            supervisor = Supervisor(specs, folder / "logs", folder, on_ready=(folder / "ready").touch)
            (folder / "run_id").write_text(supervisor.run_id)
            supervisor.run()
            """
        self.folder = folder
        self.process = subprocess.Popen(python(code))

    def until_ready(self, members: int) -> None:
        eventually((self.folder / "ready").exists)
        eventually(lambda: len(self.members()) == members)

    def members(self, name: str | None = None) -> list[psutil.Process]:
        return run_marker.members((self.folder / "run_id").read_text(), name)

    def watchdog(self) -> psutil.Process:
        (found,) = self.watchdogs()
        return found

    def watchdogs(self) -> list[psutil.Process]:
        """At most one; none while a new one is between its fork and its program."""
        children = psutil.Process(self.process.pid).children()
        return [child for child in children if "mes.runtime.watchdog" in child.cmdline()]


@pytest.fixture
def drive(tmp_path: Path) -> Iterator[Callable[..., Driver]]:
    drivers: list[Driver] = []

    def start(*specs: dict[str, object]) -> Driver:
        drivers.append(Driver(tmp_path, *specs))
        return drivers[-1]

    yield start
    for driver in drivers:
        driver.process.kill()
        driver.process.wait()
        run_marker.kill((tmp_path / "run_id").read_text())


def test_a_killed_child_is_restarted_and_its_grandchild_does_not_linger(drive: Callable[..., Driver]) -> None:
    driver = drive({"name": "server", "argv": parent_of(SLEEPER)})
    driver.until_ready(members=2)
    first = {member.pid for member in driver.members()}
    (child,) = [member for member in driver.members() if member.ppid() == driver.process.pid]
    child.send_signal(signal.SIGKILL)
    eventually(lambda: len(driver.members()) == 2 and first.isdisjoint(member.pid for member in driver.members()))


def test_terminating_leaves_no_process_within_ten_seconds(drive: Callable[..., Driver]) -> None:
    driver = drive(
        {"name": "good", "argv": parent_of(STUBBORN)},
        {"name": "bad", "argv": python(STUBBORN)},
    )
    driver.until_ready(members=3)
    started = time.monotonic()
    driver.process.terminate()
    assert driver.process.wait(timeout=10) == 0
    assert time.monotonic() - started < 10
    assert driver.members() == []


def test_a_second_signal_does_not_wait(drive: Callable[..., Driver]) -> None:
    driver = drive({"name": "bad", "argv": python(STUBBORN)})
    driver.until_ready(members=1)
    driver.process.send_signal(signal.SIGINT)
    time.sleep(0.3)
    assert driver.process.poll() is None
    driver.process.send_signal(signal.SIGINT)
    driver.process.wait(timeout=2)
    assert driver.members() == []


def test_killing_the_supervisor_leaves_no_process(drive: Callable[..., Driver]) -> None:
    driver = drive({"name": "server", "argv": parent_of(STUBBORN)}, {"name": "bad", "argv": python(STUBBORN)})
    driver.until_ready(members=3)
    driver.process.kill()
    eventually(lambda: not driver.members(), within_s=5)


def test_killing_supervisor_and_watchdog_still_ends_the_children(drive: Callable[..., Driver]) -> None:
    driver = drive({"name": "bad", "argv": python(STUBBORN)})
    driver.until_ready(members=1)
    driver.watchdog().kill()
    driver.process.kill()
    eventually(lambda: not driver.members(), within_s=5)


def test_a_killed_watchdog_is_replaced(drive: Callable[..., Driver]) -> None:
    driver = drive({"name": "server", "argv": python(SLEEPER)})
    driver.until_ready(members=1)
    first = driver.watchdog()
    first.kill()
    eventually(lambda: not first.is_running() and driver.watchdogs())


def run_until(supervisor: Supervisor, holds: Callable[[], object]) -> None:
    """Run it here until the condition holds, then interrupt it as Ctrl-C does."""

    def interrupt() -> None:
        eventually(holds)
        os.kill(os.getpid(), signal.SIGINT)

    thread = threading.Thread(target=interrupt)
    thread.start()
    supervisor.run()
    thread.join()


def test_processes_start_after_those_that_they_need_and_stop_in_reverse(tmp_path: Path) -> None:
    steps = tmp_path / "steps"
    code = """
        import signal, sys, time
        def say(what):
            with open(sys.argv[1], "a") as file: file.write(f"{what} {sys.argv[2]}\\n")
        def stop(*_):
            time.sleep(0.2); say("stop"); sys.exit(0)
        signal.signal(signal.SIGTERM, stop)
        say("start")
        time.sleep(600)
        """

    def spec(name: str, after: list[str]) -> ProcessSpec:
        def ready() -> bool:
            return steps.exists() and f"start {name}" in steps.read_text()

        return ProcessSpec(name, [*python(code), str(steps), name], ready=ready, after=after)

    done: list[bool] = []
    specs = [spec("last", ["first"]), spec("first", [])]
    run_until(Supervisor(specs, tmp_path, tmp_path, on_ready=lambda: done.append(True)), lambda: done)
    assert steps.read_text().splitlines() == ["start first", "start last", "stop first", "stop last"]


def test_a_process_that_never_comes_up_is_reported_with_its_last_words(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("mes.runtime.supervisor._BACKOFF_S", (0.01,))
    spec = ProcessSpec("broken", python("import sys; sys.exit('no such module: pipelines')"))
    with pytest.raises(ProcessFailed, match=r"broken ended 5 times .*status 1(.|\n)*no such module: pipelines"):
        Supervisor([spec], tmp_path, tmp_path).run()


def test_readiness_by_http(tmp_path: Path) -> None:
    code = """
        import http.server
        server = http.server.HTTPServer(("127.0.0.1", 0), http.server.SimpleHTTPRequestHandler)
        open("port", "w").write(str(server.server_port))
        server.serve_forever()
        """
    done: list[bool] = []
    port = tmp_path / "port"

    def ready() -> bool:
        url = f"http://127.0.0.1:{port.read_text()}" if port.exists() and port.read_text() else "http://127.0.0.1:1"
        return answers(f"{url}/") and not answers(f"{url}/missing")

    spec = ProcessSpec("web", python(code), ready=ready)
    run_until(Supervisor([spec], tmp_path, tmp_path, on_ready=lambda: done.append(True)), lambda: done)


def test_what_processes_print_becomes_json_lines_without_secrets(tmp_path: Path) -> None:
    code = """
        import os, sys, time
        print('{"event": "fine", "n": 1}', flush=True)
        print("plain words for", os.environ["FOR_WHOM"], flush=True)
        print("postgresql://mes:hunter22@db/mes", file=sys.stderr, flush=True)
        time.sleep(600)
        """
    path = tmp_path / "logs" / "talker.jsonl"
    supervisor = Supervisor([ProcessSpec("talker", python(code), env={"FOR_WHOM": "you"})], tmp_path / "logs", tmp_path)
    run_until(supervisor, lambda: path.exists() and len(path.read_text().splitlines()) == 3)
    fine, plain, secret = (json.loads(line) for line in path.read_text().splitlines())
    assert fine | {"event": "fine", "n": 1, "process": "talker", "logger": "talker", "level": "info"} == fine
    assert plain["event"] == "plain words for you"
    assert plain["process"] == "talker"
    assert plain["timestamp"].endswith("Z")
    assert "hunter22" not in secret["event"]
    assert tail(path, lines=2).splitlines()[0] == "plain words for you"


def test_log_files_stay_bounded(tmp_path: Path) -> None:
    log = ProcessLog(tmp_path / "a.jsonl", "a", max_bytes=2_000)
    for number in range(500):
        log.write(f"line {number}")
    log.close()
    assert len(list(tmp_path.iterdir())) == 4
    assert sum(path.stat().st_size for path in tmp_path.iterdir()) < 4 * 2_100
    assert tail(tmp_path / "a.jsonl", lines=1) == "line 499"


def test_a_home_runs_one_system_and_says_which(tmp_path: Path) -> None:
    with run_state.claimed(tmp_path, "run-1"):
        state = run_state.running(tmp_path)
        assert state == run_state.RunState(os.getpid(), "run-1")
        with pytest.raises(run_state.AlreadyRunning, match=f"pid={os.getpid()}"), run_state.claimed(tmp_path, "run-2"):
            pass
    assert run_state.running(tmp_path) is None


def test_what_a_killed_run_left_is_ended_by_the_next(tmp_path: Path) -> None:
    left = subprocess.Popen(python(SLEEPER), env={**os.environ, **run_marker.marks("run-1", "worker")})
    eventually(lambda: run_marker.members("run-1"))
    run_state.write(tmp_path, run_state.RunState(pid=1, run_id="run-1"))  # no lock: whoever wrote it is dead
    assert run_state.running(tmp_path) is None
    with run_state.claimed(tmp_path, "run-2"):
        assert left.wait(timeout=5) == -signal.SIGKILL
