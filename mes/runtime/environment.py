"""Tells child processes what they must know: the settings, the database that was resolved, and Dagster's home."""

import os
import shutil
from pathlib import Path

from mes import config
from mes.config import Settings
from mes.runtime.location import Database

DAGSTER_STORAGE_URL = "MES_DAGSTER_STORAGE_URL"  # read by dagster.yaml


def environment(settings: Settings, database: Database, bus_url: str | None = None) -> dict[str, str]:
    """What child processes need beside ours: all settings, and the database and the bus that we resolved."""
    return {
        **config.environment(settings),
        **({config.variable("nats_url"): bus_url} if bus_url is not None else {}),
        "MES_DATABASE_URL": database.libpq_url,
        "MES_DAGSTER_DATABASE_URL": database.dagster_libpq_url,
        DAGSTER_STORAGE_URL: database.dagster_url,
        "DAGSTER_HOME": str(dagster_home(settings.home)),
        "DBT_SEND_ANONYMOUS_USAGE_STATS": "false",
        "PYTHONUNBUFFERED": "1",
    }


def dagster_home(home: Path) -> Path:
    """The folder of Dagster's instance."""
    return home / "dagster"


def prepare_dagster_home(home: Path, root: Path) -> None:
    """Put the repository's `dagster.yaml` where Dagster looks for it."""
    folder = dagster_home(home)
    folder.mkdir(parents=True, exist_ok=True)
    new = folder / f"dagster.yaml.{os.getpid()}"
    shutil.copyfile(root / "dagster.yaml", new)
    new.replace(folder / "dagster.yaml")  # whole at any moment, for a process that reads it meanwhile
