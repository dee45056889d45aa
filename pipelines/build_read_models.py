"""Builds dbt's models when they are not the project's: `python -m pipelines.build_read_models [--full | --merge]`."""

import argparse
import sys

import structlog
from sqlalchemy import Engine, text

from assets import dbt_project
from mes import config
from mes.db import engine
from mes.errors import MesError
from mes.observability import telemetry
from mes.runtime import database_locks

log = structlog.get_logger(__name__)


def main() -> int:
    """Bring the read models to the project's state, while no other process does."""
    parser = argparse.ArgumentParser(prog="python -m pipelines.build_read_models", description=__doc__)
    how = parser.add_mutually_exclusive_group()
    how.add_argument("--full", action="store_true", help="rebuild every table from nothing")
    how.add_argument("--merge", action="store_true", help="build even if nothing changed but the orders")
    asked = parser.parse_args()
    settings = config.load()
    telemetry.start("build", settings)
    if settings.database_url is None:
        raise MesError("MES_DATABASE_URL is not set; `mes up` sets it for the processes that it starts.")
    database = engine.connect(settings.database_url, application="mes-build")
    with database_locks.held(settings.database_url, database_locks.READ_MODELS, _tell_of_waiting):
        build(database, full=asked.full, merge=asked.merge)
    database.dispose()
    return 0


def build(database: Engine, *, full: bool, merge: bool = False) -> None:
    """Compare what the database was built from with the project; build and note it where they differ, or if asked."""
    with database.begin() as conn:
        noted = conn.execute(
            text("select obj_description(oid, 'pg_namespace') as note from pg_namespace where nspname = 'marts'")
        ).one_or_none()
    wanted = dbt_project.fingerprint()
    if full or merge or noted is None or noted.note != wanted:
        # tests belong to the main job, which has data to test
        only = ["--resource-type", "model", "--resource-type", "seed"]
        dbt_project.run("build", "--quiet", *only, *(["--full-refresh"] if full else []))
        with database.begin() as conn:
            conn.execute(text(f"comment on schema marts is '{wanted}'"))


def _tell_of_waiting() -> None:
    log.info("waiting for another process that builds the read models")


if __name__ == "__main__":
    sys.exit(main())
