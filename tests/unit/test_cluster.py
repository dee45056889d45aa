"""What the embedded Postgres is told of the machine."""

from pathlib import Path

import pytest

from mes.runtime import cluster


def _settings(tmp_path: Path) -> dict[str, str]:
    command = cluster.server_command(tmp_path, tmp_path)
    return dict(part.split("=", 1) for part in command if "=" in part)


@pytest.mark.parametrize(
    ("limit", "shared"), [("1073741824\n", "128MB"), ("8589934592\n", "1024MB"), ("524288000\n", "128MB")]
)
def test_its_buffers_are_an_eighth_of_the_containers_memory(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, limit: str, shared: str
) -> None:
    (tmp_path / "memory.max").write_text(limit)
    monkeypatch.setattr(cluster, "_MEMORY_LIMIT", tmp_path / "memory.max")
    monkeypatch.setattr(cluster.psutil, "virtual_memory", lambda: type("Memory", (), {"total": 64 * 2**30}))
    assert _settings(tmp_path)["shared_buffers"] == shared


@pytest.mark.parametrize("limit", ["max\n", None])
def test_without_a_limit_they_follow_the_machine_up_to_a_bound(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, limit: str | None
) -> None:
    if limit is not None:
        (tmp_path / "memory.max").write_text(limit)
    monkeypatch.setattr(cluster, "_MEMORY_LIMIT", tmp_path / "memory.max")
    monkeypatch.setattr(cluster.psutil, "virtual_memory", lambda: type("Memory", (), {"total": 24 * 2**30}))
    assert _settings(tmp_path) | {"shared_buffers": "3072MB", "effective_cache_size": "12288MB"} == _settings(tmp_path)
    monkeypatch.setattr(cluster.psutil, "virtual_memory", lambda: type("Memory", (), {"total": 512 * 2**30}))
    assert _settings(tmp_path)["shared_buffers"] == "4096MB"
