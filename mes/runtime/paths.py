"""Finds the repository that this installation runs from, since the console, dbt and Dagster start from its folders."""

import sys
from pathlib import Path

from mes.errors import MesError

ROOT = Path(__file__).resolve().parents[2]

_NEEDED = ("app", "ingest", "pipelines", "dagster.yaml")


class RepositoryMissing(MesError):
    """The program's folders are not beside the installed package."""

    code = "repository_missing"


def require_repository() -> Path:
    """The repository's root.

    Raises:
        RepositoryMissing: the package was installed without its repository (not editable).
    """
    missing = [name for name in _NEEDED if not (ROOT / name).exists()]
    if missing:
        raise RepositoryMissing(
            f"{', '.join(missing)} not found in {ROOT}. Run `mes` from a checkout that is installed in editable mode: "
            "`make setup` in the repository does that."
        )
    return ROOT


def script(name: str) -> Path:
    """A program of this environment, whether or not that is activated."""
    return Path(sys.executable).with_name(name)
