"""Where dbt's project lies, how it reaches the database, and its manifest, parsed when the project has changed."""

import hashlib
import os
from pathlib import Path

from mes import config
from mes.errors import MesError
from mes.runtime.file_locks import FileLock
from mes.runtime.location import parameters

PROJECT = Path(__file__).resolve().parents[1] / "dbt_project"
PARSE_LIMIT_S = 120.0
_SOURCES = (".sql", ".yml", ".csv")


class DbtFailed(MesError):
    """dbt could not do its work; the log above says why."""

    code = "dbt_failed"


def fingerprint() -> str:
    """Hash of everything that the read models are made from: the project's files and the settings they use."""
    digest = hashlib.sha256()
    for path in sorted(path for path in PROJECT.rglob("*") if path.suffix in _SOURCES and "target" not in path.parts):
        digest.update(f"{path.relative_to(PROJECT)}\0".encode() + path.read_bytes())
    settings = config.load()
    digest.update(f"{settings.vip_hours} {settings.b2b_hours} {settings.rush_hours}".encode())
    return digest.hexdigest()[:16]


def environment() -> dict[str, str]:
    """The variables that `profiles.yml` and `dbt_project.yml` read."""
    settings = config.load()
    database = parameters(settings.database_url or "postgresql://localhost/mes")
    return {
        "MES_PG_HOST": database["host"],
        "MES_PG_PORT": database["port"],
        "MES_PG_USER": database["user"],
        "DBT_ENV_SECRET_MES_PG_PASSWORD": database["password"],
        "MES_PG_DATABASE": database["dbname"],
        "MES_VIP_HOURS": str(settings.vip_hours),
        "MES_B2B_HOURS": str(settings.b2b_hours),
        "MES_RUSH_HOURS": str(settings.rush_hours),
        "DBT_PROFILES_DIR": str(PROJECT),
        "DBT_PROJECT_DIR": str(PROJECT),
        "DBT_TARGET_PATH": str(target()),
        "DBT_LOG_PATH": str(config.load().home / "logs" / "dbt"),
        "DBT_SEND_ANONYMOUS_USAGE_STATS": "false",
    }


def target() -> Path:
    """Folder for what dbt makes of this version of the project."""
    return config.load().home / "dbt" / fingerprint()


def run(*arguments: str) -> None:
    """Run dbt in this process (a command of its own would take 3.5 s more).

    Raises:
        DbtFailed: dbt says that it did not succeed.
    """
    from dbt.cli.main import dbtRunner  # noqa: PLC0415 - takes 1.5 s, which a start with nothing to build is spared

    os.environ.update(environment())
    result = dbtRunner().invoke(list(arguments))
    if not result.success:
        raise DbtFailed(command=" ".join(arguments), error=result.exception or "see the log")


def manifest() -> Path:
    """The project's manifest, parsed if this version of the project was not parsed here before.

    Raises:
        DbtFailed: the project has mistakes.
    """
    parsed = target() / "manifest.json"
    parsed.parent.mkdir(parents=True, exist_ok=True)
    lock = FileLock(parsed.parent / "parse.lock")
    if not lock.acquire(exclusive=True, wait_s=PARSE_LIMIT_S):
        raise DbtFailed(
            "Another process has been parsing the dbt project for too long; is it stuck?", lock=str(target())
        )
    try:
        if not parsed.exists():
            run("parse", "--quiet")
    finally:
        lock.release()
    return parsed
