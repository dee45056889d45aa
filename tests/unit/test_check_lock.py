"""Tests of the check that the lock file follows the project file."""

import importlib.util
from pathlib import Path
from types import ModuleType

import pytest

SCRIPT = Path(__file__).resolve().parents[2] / "scripts" / "check_lock.py"

PROJECT = """
[project]
dependencies = ["polars>=2.1", "psycopg[binary]>=3.3"]
[dependency-groups]
dev = ["types-PyYAML"]
"""
LOCK = """\
polars==2.1.0 \\
    --hash=sha256:00
    # via
    #   atelier-mes (pyproject.toml)
    #   dagster
polars-runtime==2.1.0 \\
    --hash=sha256:01
    # via polars
psycopg[binary]==3.3.1 \\
    --hash=sha256:02
    # via atelier-mes (pyproject.toml)
types-pyyaml==6.0 ; python_full_version < '3.12' \\
    --hash=sha256:03
    # via atelier-mes (pyproject.toml:dev)
"""


@pytest.fixture
def check_lock() -> ModuleType:
    spec = importlib.util.spec_from_file_location("check_lock", SCRIPT)
    assert spec
    assert spec.loader
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_a_lock_in_step_has_no_differences(check_lock: ModuleType) -> None:
    assert list(check_lock.differences(PROJECT, LOCK)) == []


def test_a_requirement_that_was_added_is_missing_from_the_lock(check_lock: ModuleType) -> None:
    project = PROJECT.replace('"polars>=2.1"', '"polars>=2.1", "duckdb>=2"')
    assert list(check_lock.differences(project, LOCK)) == ["duckdb>=2 is missing"]


def test_a_raised_bound_needs_a_new_lock(check_lock: ModuleType) -> None:
    project = PROJECT.replace("polars>=2.1", "polars>=2.2")
    assert list(check_lock.differences(project, LOCK)) == ["polars is locked at 2.1.0, but polars>=2.2 is asked for"]


def test_a_requirement_that_was_removed_is_no_longer_asked_for(check_lock: ModuleType) -> None:
    project = PROJECT.replace('"types-PyYAML"', "")
    assert list(check_lock.differences(project, LOCK)) == ["types-pyyaml is no longer asked for"]


def test_what_only_other_packages_need_is_left_alone(check_lock: ModuleType) -> None:
    assert check_lock.parse_lock(LOCK).direct == {"polars", "psycopg", "types-pyyaml"}
