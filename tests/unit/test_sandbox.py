"""A hostile model costs one process and one clear refusal, and leaves nothing behind."""

import hashlib
import io
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import psutil
import pytest
from PIL import Image

from mes.config import Settings
from mes.models import sandbox, warm_process
from mes.models.errors import ModelCrashed, ModelTooLarge, ModelTooMuchMemory, ModelTooSlow, NotAMesh, UnreadableModel
from mes.models.sandbox import Analysis, Limits, analyse, analyse_many
from mes.models.warm_process import Ended, SandboxUnavailable, WarmProcess

REPOSITORY = Path(__file__).resolve().parents[2]
ROOMY = Limits(max_bytes=200 << 20, time_limit_s=60, memory_limit_mb=4096)
TETRAHEDRON = b"v 0 0 0\nv 1 0 0\nv 0 1 0\nv 0 0 1\nf 1 3 2\nf 1 2 4\nf 1 4 3\nf 2 3 4\n"


@pytest.fixture
def model(tmp_path) -> Path:
    path = tmp_path / "tetrahedron.obj"
    path.write_bytes(TETRAHEDRON)
    return path


@pytest.fixture
def heavy(tmp_path) -> Path:
    """800,000 triangles, which take hundreds of milliseconds and of MiB."""
    x, y = np.meshgrid(np.arange(633), np.arange(633))
    points = np.column_stack((x.ravel(), y.ravel(), np.sin(x * y).ravel())).astype("<f4")
    corner = (y[:-1, :-1] * 633 + x[:-1, :-1]).ravel()
    faces = np.concatenate(
        (np.stack((corner, corner + 1, corner + 634), 1), np.stack((corner, corner + 634, corner + 633), 1))
    )
    records = np.zeros(len(faces), np.dtype([("normal", "<f4", 3), ("corners", "<f4", (3, 3)), ("attribute", "<u2")]))
    records["corners"] = points[faces]
    path = tmp_path / "heavy.stl"
    path.write_bytes(bytes(80) + len(faces).to_bytes(4, "little") + records.tobytes())
    return path


@pytest.fixture(scope="module")
def hostile() -> Iterator[WarmProcess]:
    """A warm process whose children do what the file says."""
    warm = WarmProcess("tests.hostile_zygote")
    yield warm
    warm.close()


@pytest.fixture
def taken_over(hostile, monkeypatch, tmp_path):
    """What becomes of a model that does this, once it is being read."""
    monkeypatch.setattr(sandbox, "_warm", hostile)

    def analysed(program: str, limits: Limits = ROOMY) -> Analysis:
        path = tmp_path / "hostile.stl"
        path.write_text(program)
        return analyse(path, limits)

    return analysed


@pytest.fixture
def done(hostile, tmp_path):
    """How a child ended that did this."""

    def ended(program: str, time_limit_s: float = 60.0) -> Ended:
        path = tmp_path / "hostile.stl"
        path.write_text(program)
        return hostile.run(sandbox._task(path, ROOMY), time_limit_s)

    return ended


@pytest.fixture(autouse=True)
def no_child_left():
    yield
    zygotes = [child for child in psutil.Process().children() if "zygote" in " ".join(child.cmdline())]
    assert [child for zygote in zygotes for child in zygote.children()] == []


def until(holds, limit_s: float = 10.0) -> bool:
    end = time.monotonic() + limit_s
    while not holds() and time.monotonic() < end:
        time.sleep(0.02)
    return holds()


def gone(pid: int) -> bool:
    return not psutil.pid_exists(pid) or psutil.Process(pid).status() == psutil.STATUS_ZOMBIE


def test_a_model_is_named_measured_and_drawn(model):
    found = analyse(model, ROOMY)
    assert found.sha256 == hashlib.sha256(TETRAHEDRON).hexdigest()
    assert (found.bytes, found.format) == (len(TETRAHEDRON), "obj")
    assert found.geometry.volume_mm3 == pytest.approx(1 / 6)
    picture = Image.open(io.BytesIO(found.picture_png))
    assert (picture.format, picture.size, picture.mode) == ("PNG", (640, 640), "RGBA")


def test_the_number_of_threads_changes_nothing(heavy):
    one, two = (analyse(heavy, Limits(200 << 20, 60, 4096, threads)) for threads in (1, 2))
    assert one == two


def test_the_childs_reason_reaches_the_caller(tmp_path):
    path = tmp_path / "points.obj"
    path.write_bytes(b"v 1 2 3\n")
    with pytest.raises(NotAMesh) as refused:
        analyse(path, ROOMY)
    assert refused.value.facts == {"format": "obj", "points": 1}


def test_a_missing_or_empty_file_needs_no_process(tmp_path, monkeypatch):
    monkeypatch.setattr(sandbox, "_warm", None)
    empty = tmp_path / "empty.stl"
    empty.touch()
    for path in (empty, tmp_path / "missing.stl", tmp_path):
        with pytest.raises(UnreadableModel):
            analyse(path, ROOMY)


def test_a_model_over_the_size_limit_is_refused(model):
    with pytest.raises(ModelTooLarge) as refused:
        analyse(model, Limits(10, 60, 4096))
    assert refused.value.http_status == 413


def test_a_slow_model_is_killed_at_the_time_limit(heavy):
    sandbox.warm_up()
    started = time.monotonic()
    with pytest.raises(ModelTooSlow):
        analyse(heavy, Limits(200 << 20, 0.05, 4096))
    assert time.monotonic() - started < 3


def test_a_model_that_needs_too_much_memory_is_stopped(heavy):
    with pytest.raises(ModelTooMuchMemory):
        analyse(heavy, Limits(200 << 20, 60, 60))


@pytest.mark.parametrize(
    ("end", "expected"),
    [
        (f"import os; os.kill(os.getpid(), {int(signal.SIGSEGV)})", ModelCrashed),
        (f"import os; os.kill(os.getpid(), {int(signal.SIGKILL)})", ModelTooMuchMemory),
        (f"import os; os.kill(os.getpid(), {int(signal.SIGXCPU)})", ModelTooSlow),
        ("import ctypes; ctypes.string_at(0)", ModelCrashed),
        ("raise MemoryError", ModelTooMuchMemory),
        ("bytes(5 << 30)", ModelTooMuchMemory),
        ("raise ValueError('odd')", ModelCrashed),
        ("pass", ModelCrashed),
    ],
)
def test_each_way_to_die_has_its_name(taken_over, end, expected):
    with pytest.raises(expected) as refused:
        taken_over(end)
    assert isinstance(refused.value, UnreadableModel)


@pytest.mark.parametrize(
    "answer",
    [
        b"garbage",
        b"[]\n",
        b'{"code": "no_such_code", "message": "", "facts": {}}\n',
        b'{"sha256": "0", "bytes": 1, "format": "stl", "geometry": {}, "picture_bytes": 0}\n',
        b'{"sha256": "0", "bytes": 1, "format": "stl", "geometry": {}, "picture_bytes": 9}\nhalf',
    ],
)
def test_an_answer_that_makes_no_sense_is_a_crash(taken_over, answer):
    with pytest.raises(ModelCrashed):
        taken_over(f"import os; os.write(1, {answer!r})")


def test_a_child_that_never_stops_talking_is_stopped(taken_over):
    with pytest.raises(ModelCrashed):
        taken_over("import os\nwhile True: os.write(1, bytes(1 << 20))")


def test_a_loop_that_no_signal_of_pythons_interrupts_is_killed(taken_over, hostile):
    hostile.start()
    started = time.monotonic()
    with pytest.raises(ModelTooSlow):
        taken_over("sum(range(1 << 60))", Limits(200 << 20, 0.3, 4096))
    assert time.monotonic() - started < 5


def test_too_much_computing_is_stopped_even_if_the_clock_is_not(done):
    ended = done("import resource; resource.setrlimit(resource.RLIMIT_CPU, (1, 2))\nwhile True: pass")
    assert ended.returncode == -signal.SIGXCPU


@pytest.mark.parametrize("slips", ["pass", "os.setsid()", "os.setsid(); os.fork() and os._exit(0)"])
def test_what_the_child_started_is_killed_with_it(done, slips):
    ended = done(
        "import os, time\n"
        "if os.fork() == 0:\n"
        f"    {slips}\n"
        "    os.write(1, b'%d ' % os.getpid()); time.sleep(600)\n"
        "time.sleep(0.3)"
    )
    assert ended.returncode == 0
    assert ended.answer
    assert all(until(lambda pid=pid: gone(int(pid))) for pid in ended.answer.split())


def test_the_child_sees_none_of_our_secrets_and_descriptors(done, monkeypatch):
    monkeypatch.setenv("MES_DATABASE_URL", "postgresql://user:secret@host/db")
    fresh = WarmProcess("tests.hostile_zygote")
    pid = fresh.start()
    assert b"secret" not in Path(f"/proc/{pid}/environ").read_bytes()
    fresh.close()
    ended = done(
        "import os\n"
        "def is_open(number):\n"
        "    try: return bool(os.fstat(number))\n"
        "    except OSError: return False\n"
        "os.write(1, repr([n for n in range(4096) if is_open(n)]).encode())"
    )
    assert ended.answer == b"[0, 1, 2]"


def test_the_child_may_not_write_files(done, tmp_path):
    ended = done(f"open({str(tmp_path / 'out')!r}, 'w').write('x' * 100)")
    assert ended.returncode == 1
    assert not (tmp_path / "out").exists() or not (tmp_path / "out").stat().st_size


@pytest.mark.parametrize(
    "trespass",
    [
        "open('/etc/passwd')",
        "open('/proc/{parent}/environ')",
        "__import__('os').kill({program}, 0)",
        "__import__('os').mkdir('{folder}/made')",
        "__import__('os').remove('{folder}/kept')",
        "__import__('socket').create_connection(('127.0.0.1', {port}), timeout=5)",
    ],
)
def test_the_child_reaches_nothing_but_its_file(done, tmp_path, trespass):
    if done("open('/etc/hostname')").returncode == 0:
        pytest.skip("this kernel has no Landlock, which is what keeps a child from reading other files")
    (tmp_path / "kept").touch()
    with socket.create_server(("127.0.0.1", 0)) as server:
        facts = {"program": os.getpid(), "parent": os.getppid(), "folder": tmp_path, "port": server.getsockname()[1]}
        ended = done(trespass.format(**facts))
    assert ended.returncode == 1
    assert any(word in ended.last_words for word in (b"PermissionError", b"unreachable", b"Unreachable"))
    assert (tmp_path / "kept").exists()


def test_the_child_lets_others_go_first(done):
    assert int(done("import os; os.write(1, b'%d' % os.nice(0))").answer) > os.nice(0)


def test_a_killed_warm_process_is_replaced_even_in_the_middle_of_a_model(model, hostile, tmp_path):
    sandbox.warm_up()
    os.kill(sandbox._warm.start(), signal.SIGKILL)
    assert analyse(model, ROOMY).bytes == len(TETRAHEDRON)
    path = tmp_path / "slow.stl"
    path.write_text("import time; time.sleep(1)")
    first = hostile.start()
    with ThreadPoolExecutor(1) as pool:
        running = pool.submit(hostile.run, sandbox._task(path, ROOMY), 60)
        assert until(lambda: psutil.Process(first).children())
        (child,) = psutil.Process(first).children()
        os.kill(first, signal.SIGKILL)
        assert running.result().returncode == 0
    assert hostile.start() != first
    assert until(lambda: gone(child.pid))


def test_a_warm_process_that_stands_still_is_replaced(model, monkeypatch):
    monkeypatch.setattr(warm_process, "_KILL_LIMIT_S", 0.2)
    sandbox.warm_up()
    os.kill(sandbox._warm.start(), signal.SIGSTOP)
    with pytest.raises(ModelTooSlow):
        analyse(model, Limits(200 << 20, 0.2, 4096))
    assert analyse(model, ROOMY).bytes == len(TETRAHEDRON)


def test_a_warm_process_that_does_not_start_says_nothing_about_the_model(model, monkeypatch):
    monkeypatch.setattr(sandbox, "_warm", WarmProcess("tests.no_such_module"))
    with pytest.raises(SandboxUnavailable) as refused:
        analyse(model, ROOMY)
    assert refused.value.http_status == 503
    assert not isinstance(refused.value, UnreadableModel)


def test_the_warm_process_outlives_the_thread_that_started_it(model):
    warm = WarmProcess()
    thread = threading.Thread(target=warm.start)
    thread.start()
    thread.join()
    pid = warm.start()
    assert warm.run(sandbox._task(model, ROOMY), 60).returncode == 0
    assert warm.start() == pid
    warm.close()
    assert gone(pid)


def test_many_threads_share_one_warm_process(model):
    sandbox.warm_up()
    with ThreadPoolExecutor(8) as pool:
        found = set(pool.map(lambda _: analyse(model, ROOMY).sha256, range(40)))
    assert found == {hashlib.sha256(TETRAHEDRON).hexdigest()}


def test_nothing_outlives_a_program_that_is_killed(tmp_path):
    program = (
        "import sys, threading, time\n"
        "from pathlib import Path\n"
        "from mes.models import sandbox, warm_process\n"
        "warm = warm_process.WarmProcess('tests.hostile_zygote')\n"
        "print(warm.start(), flush=True)\n"
        "limits = sandbox.Limits(1 << 20, 600, 4096)\n"
        "warm.run(sandbox._task(Path(sys.argv[1]), limits), 600)\n"
    )
    path = tmp_path / "slow.stl"
    path.write_text("import time; time.sleep(600)")
    with subprocess.Popen(
        [sys.executable, "-c", program, str(path)], cwd=REPOSITORY, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE
    ) as running:
        zygote = psutil.Process(int(running.stdout.readline()))
        assert until(zygote.children)
        (child,) = zygote.children()
        running.kill()
    assert until(lambda: gone(zygote.pid) and gone(child.pid))


def test_a_fork_of_the_program_has_a_warm_process_of_its_own(model):
    program = (
        "import multiprocessing, sys\n"
        "from pathlib import Path\n"
        "from mes.models import sandbox\n"
        "limits = sandbox.Limits(1 << 20, 60, 4096)\n"
        "def one(path):\n"
        "    return sandbox._warm.start(), sandbox.analyse(Path(path), limits).bytes\n"
        "ours = one(sys.argv[1])\n"
        "with multiprocessing.get_context('fork').Pool(1) as pool: theirs = pool.apply(one, (sys.argv[1],))\n"
        "assert ours[0] != theirs[0] and ours[1] == theirs[1], (ours, theirs)\n"
        "assert one(sys.argv[1]) == ours\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", program, str(model)],
        cwd=REPOSITORY, stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr


def test_many_models_come_back_as_they_finish(model, tmp_path):
    bad = tmp_path / "bad.stl"
    bad.write_bytes(b"nonsense")
    copies = [tmp_path / f"{i}.obj" for i in range(3)]
    for copy in copies:
        copy.write_bytes(TETRAHEDRON)
    found = dict(analyse_many(iter([bad, *copies]), ROOMY, workers=2))
    assert set(found) == {bad, *copies}
    assert isinstance(found[bad], UnreadableModel)
    assert all(isinstance(found[copy], Analysis) for copy in copies)


def test_leaving_early_leaves_no_child(model):
    results = analyse_many([model] * 50, ROOMY, workers=2)
    next(results)
    results.close()


def test_the_limits_are_the_configured_ones(monkeypatch):
    monkeypatch.setenv("MES_MODEL_TIME_LIMIT_S", "7")
    assert Limits.of(Settings()) == Limits(200 << 20, 7.0, 4096)
    monkeypatch.setenv("MES_MODEL_THREADS", "3")
    assert Limits.of(Settings()) == Limits(200 << 20, 7.0, 4096, 3)
