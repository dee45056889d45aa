"""A hostile model costs one process and one clear refusal, and leaves nothing behind."""

import hashlib
import io
import os
import signal
import time
from pathlib import Path

import numpy as np
import psutil
import pytest
from PIL import Image

from mes.config import Settings
from mes.models import sandbox
from mes.models.errors import ModelCrashed, ModelTooLarge, ModelTooMuchMemory, ModelTooSlow, NotAMesh, UnreadableModel
from mes.models.mesh import build
from mes.models.picture import render
from mes.models.sandbox import Analysis, Limits, analyse, analyse_many

ROOMY = Limits(max_bytes=200 << 20, time_limit_s=60, memory_limit_mb=4096)
TETRAHEDRON = b"v 0 0 0\nv 1 0 0\nv 0 1 0\nv 0 0 1\nf 1 3 2\nf 1 2 4\nf 1 4 3\nf 2 3 4\n"


@pytest.fixture
def model(tmp_path) -> Path:
    path = tmp_path / "tetrahedron.obj"
    path.write_bytes(TETRAHEDRON)
    return path


@pytest.fixture
def heavy(tmp_path) -> Path:
    """800,000 triangles, which take seconds and hundreds of MiB."""
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


@pytest.fixture(autouse=True)
def no_child_left():
    yield
    children = psutil.Process().children(recursive=True)
    assert [child for child in children if "analyse_process" in " ".join(child.cmdline())] == []


def stand_in(monkeypatch, program: str) -> None:
    """Run another child in place of the analysis: what matters is how its end is told."""
    monkeypatch.setattr(sandbox, "_command", lambda *_: [sandbox.sys.executable, "-c", program, "analyse_process"])


def test_a_model_is_named_measured_and_drawn(model):
    found = analyse(model, ROOMY)
    assert found.sha256 == hashlib.sha256(TETRAHEDRON).hexdigest()
    assert (found.bytes, found.format) == (len(TETRAHEDRON), "obj")
    assert found.geometry.volume_mm3 == pytest.approx(1 / 6)
    picture = Image.open(io.BytesIO(found.picture_png))
    assert (picture.format, picture.size, picture.mode) == ("PNG", (640, 640), "RGBA")


def test_the_childs_reason_reaches_the_caller(tmp_path):
    path = tmp_path / "points.obj"
    path.write_bytes(b"v 1 2 3\n")
    with pytest.raises(NotAMesh) as refused:
        analyse(path, ROOMY)
    assert refused.value.facts == {"format": "obj", "points": 1}


def test_a_missing_or_empty_file_needs_no_process(tmp_path, monkeypatch):
    stand_in(monkeypatch, "raise SystemExit('must not run')")
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
    started = time.monotonic()
    with pytest.raises(ModelTooSlow):
        analyse(heavy, Limits(200 << 20, 0.4, 4096))
    assert time.monotonic() - started < 3


def test_a_model_that_needs_too_much_memory_is_stopped(heavy):
    with pytest.raises(ModelTooMuchMemory):
        analyse(heavy, Limits(200 << 20, 60, 400))


def test_what_the_child_started_is_killed_with_it(model, monkeypatch, tmp_path):
    pid = tmp_path / "pid"
    stand_in(
        monkeypatch,
        "import pathlib, subprocess, time; grandchild = subprocess.Popen(['sleep', '600']);"
        f"pathlib.Path({str(pid)!r}).write_text(str(grandchild.pid)); time.sleep(600)",
    )
    with pytest.raises(ModelTooSlow):
        analyse(model, Limits(200 << 20, 2, 4096))
    grandchild = int(pid.read_text())
    deadline = time.monotonic() + 5
    while psutil.pid_exists(grandchild) and time.monotonic() < deadline:
        if psutil.Process(grandchild).status() == psutil.STATUS_ZOMBIE:
            break
        time.sleep(0.05)
    assert not psutil.pid_exists(grandchild) or psutil.Process(grandchild).status() == psutil.STATUS_ZOMBIE


@pytest.mark.parametrize(
    ("end", "expected"),
    [
        (f"import os; os.kill(os.getpid(), {int(signal.SIGSEGV)})", ModelCrashed),
        (f"import os; os.kill(os.getpid(), {int(signal.SIGKILL)})", ModelTooMuchMemory),
        (f"import os; os.kill(os.getpid(), {int(signal.SIGXCPU)})", ModelTooSlow),
        ("raise MemoryError", ModelTooMuchMemory),
        ("raise ValueError('odd')", ModelCrashed),
    ],
)
def test_each_way_to_die_has_its_name(model, monkeypatch, end, expected):
    stand_in(monkeypatch, end)
    with pytest.raises(expected) as refused:
        analyse(model, ROOMY)
    assert isinstance(refused.value, UnreadableModel)


def test_the_child_sees_none_of_our_secrets(monkeypatch):
    monkeypatch.setenv("MES_DATABASE_URL", "postgresql://user:secret@host/db")
    assert "secret" not in str(sandbox._environment())


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


def test_a_picture_shows_the_model_on_a_transparent_ground():
    points = np.array([line.split()[1:] for line in TETRAHEDRON.decode().splitlines()[:4]], float)
    faces = np.array([(0, 2, 1), (0, 1, 3), (0, 3, 2), (1, 2, 3)])
    drawn = np.asarray(Image.open(io.BytesIO(render(build(points * 1e-3 + 1e6, faces, "obj"), 128))))
    assert drawn.shape == (128, 128, 4)
    assert (drawn[[0, 0, -1, -1], [0, -1, 0, -1], 3] == 0).all()
    solid = drawn[drawn[:, :, 3] == 255]
    assert 2000 < len(solid) < 12000
    red, green, blue = solid[:, :3].mean(axis=0)
    assert red > green > blue


def test_a_picture_of_a_sliver_seen_edge_on_is_empty_rather_than_an_error():
    points = np.array([(0, 0, 0), (0, 0, 1), (np.sin(0.1), 0, 0)], float)
    turned = points @ np.array([[-np.sin(np.radians(35)), np.cos(np.radians(35)), 0], [0, 0, 0], [0, 0, 1]])
    assert render(build(turned, np.array([(0, 1, 2)]), "obj"), 64).startswith(b"\x89PNG")


def test_the_confined_process_may_not_write_files(tmp_path):
    program = (
        "import mes.models.analyse_process as child, pathlib; child._confine(1 << 32, 60);"
        f"pathlib.Path({str(tmp_path / 'out')!r}).write_text('x' * 100)"
    )
    done = sandbox.subprocess.run(
        [sandbox.sys.executable, "-c", program], env=os.environ, capture_output=True, check=False, text=True
    )
    assert done.returncode != 0
    assert "File too large" in done.stderr
