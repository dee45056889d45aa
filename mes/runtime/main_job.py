"""Runs the main job in a process of its own and tells its progress in words."""

import json
import sys
from collections.abc import Callable

from mes.config import Settings
from mes.errors import MesError
from mes.runtime import database_locks, up
from mes.runtime.location import Database

# what Dagster's steps are called, for people
_STEPS = {
    "raw__shop_orders": "the shop's orders landed",
    "raw__crm_orders": "the CRM's orders landed",
    "raw__crm_order_events": "the CRM's events landed",
    "raw__legacy_status_history": "the old system's history landed",
    "raw__shop_orders_load_is_sound": "the shop's orders look sound",
    "raw__crm_orders_load_is_sound": "the CRM's orders look sound",
    "raw__crm_order_events_load_is_sound": "the CRM's events look sound",
    "raw__legacy_status_history_load_is_sound": "the old system's history looks sound",
    "ops__geometries": "models measured",
    "ops__rate_cards": "rate cards ready",
    "apply_feeds": "orders and their lives applied",
    "pricing_inputs": "pricing inputs built by dbt",
    "ops__quotes": "items priced",
    "read_models": "order list and reports built by dbt",
}


class MainJobFailed(MesError):
    """The main job failed; run it again when the reason is mended: it goes on from what was kept."""

    code = "main_job_failed"


def run(settings: Settings, database: Database, tell: Callable[[str], None]) -> None:
    """Run it to its end, one run at a time per database; `tell` gets a line for each step and each model measured.

    Raises:
        MainJobFailed: why, and where the log is.
    """
    reasons: list[str] = []

    def follow(line: str) -> None:
        record = json.loads(line)
        if "measured" in record:
            tell(f"measured {record['measured']} ({record['done']} of {record['of']})")
        elif record.get("step") in _STEPS and record.get("state") == "done":
            tell(_STEPS[record["step"]])
        elif record.get("state") == "failed" or "code" in record:
            reasons.append(str(record.get("why") or record.get("error")))

    def on_wait() -> None:
        tell("waiting for another run of the main job to end")

    try:
        with database_locks.held(database.libpq_url, database_locks.MAIN_JOB, on_wait):
            up.run_step("main-job", [sys.executable, "-m", "pipelines.main_job"], settings, database, follow)
    except up.StepFailed as failure:
        log = settings.home / "logs" / "main-job.jsonl"
        if not reasons:
            raise
        raise MainJobFailed(f"The main job failed. {' '.join(dict.fromkeys(reasons))} Its log: {log}") from failure
