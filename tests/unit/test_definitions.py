"""What Dagster shows: every asset says what it is and whose, feeds are guarded, and the main job starts by itself."""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from mes.feeds.catalogue import FEEDS
from tests.conftest import REPOSITORY

# a process of its own, as Dagster loads it: settings are read once per process, and its libraries warn at import
TELL = """
import json
import dagster as dg
from dagster_dbt import DbtCliResource
from pipelines.definitions import defs

dg.Definitions.validate_loadable(defs)
graph = defs.resolve_asset_graph()
nodes = [graph.get(key) for key in graph.get_all_asset_keys()]
checks = {key: graph.get_check_spec(key) for key in graph.asset_check_keys}
job = defs.resolve_job_def("feeds_to_order_list")
print(json.dumps({
    "assets": {
        node.key.to_user_string(): {
            "made_here": node.is_materializable,
            "group": node.group_name,
            "kinds": sorted(node.kinds),
            "owners": list(node.owners),
            "description": node.description,
            "fresh": node.freshness_policy is not None,
            "columns": "dagster/column_schema" in node.metadata,
            "code": "dagster/code_references" in node.metadata,
        }
        for node in nodes
    },
    "blocking": sorted(
        [key.asset_key.to_user_string(), key.name]
        for key, spec in checks.items()
        if spec.blocking and key.asset_key.path[0] == "raw"
    ),
    "undescribed": [
        key.name for key, spec in checks.items() if key.asset_key.path[0] == "raw" and not spec.description
    ],
    "dbt_knows_its_version": "_cli_version" in vars(DbtCliResource),
    "job": sorted(key.to_user_string() for key in job.asset_layer.executable_asset_keys),
    "jobs": {
        name: sorted(key.to_user_string() for key in defs.resolve_job_def(name).asset_layer.executable_asset_keys)
        for name in ("prices", "measure_backlog", "refresh_read_models", "reconcile")
    },
    "automated": sorted(
        node.key.to_user_string() for node in nodes if node.automation_condition is not None
    ),
    "executors": {
        name: defs.resolve_job_def(name).executor_def.name for name in ("feeds_to_order_list", "measure_backlog")
    },
    "sensors": {
        each.name: [each.job_name if each.has_jobs else None, each.default_status.name, each.description]
        for each in defs.sensors
    },
    "schedules": {
        each.name: [each.job_name, each.default_status.name, each.cron_schedule, each.execution_timezone]
        for each in defs.schedules
    },
}))
"""


@pytest.fixture(scope="module")
def story(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """What the definitions tell."""
    environment = {"MES_HOME": str(tmp_path_factory.mktemp("home")), "PYTHONWARNINGS": "ignore"}
    done = subprocess.run(
        [sys.executable, "-c", TELL],
        cwd=REPOSITORY,
        env=os.environ | environment,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=200,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    told: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return told


@pytest.mark.parametrize("fact", ["group", "kinds", "owners", "description", "columns", "code"])
def test_every_asset_says(story: dict[str, Any], fact: str) -> None:
    assert [name for name, asset in story["assets"].items() if not asset[fact]] == []


# what depends on today's date, or is made by hand: loading the same feeds again must change nothing
ASIDE = {"ops/renewals", "ops/geometry_backlog", "ops/drift"}


def test_every_asset_is_made_here_by_the_main_job_or_one_aside(story: dict[str, Any]) -> None:
    assert [name for name, asset in story["assets"].items() if not asset["made_here"]] == []
    assert story["job"] == sorted(set(story["assets"]) - ASIDE)
    assert {"raw/shop_orders", "ops/orders", "ops/quotes", "ops/cost_table", "marts/order_list"} < set(story["job"])
    assert story["jobs"] == {
        "prices": ["ops/cost_table", "ops/renewals"],
        "measure_backlog": ["ops/geometry_backlog"],
        "refresh_read_models": ["marts/order_list", "marts/throughput_daily"],
        "reconcile": ["ops/drift"],
    }


def test_the_backlog_is_measured_in_processes_of_its_own(story: dict[str, Any]) -> None:
    assert story["executors"] == {"feeds_to_order_list": "in_process", "measure_backlog": "multiprocess"}


def test_each_feed_has_a_suite_that_blocks(story: dict[str, Any]) -> None:
    assert story["blocking"] == sorted([f"raw/{feed.name}", "load_is_sound"] for feed in FEEDS)
    assert story["undescribed"] == []


def test_what_people_wait_for_may_not_get_old(story: dict[str, Any]) -> None:
    watched = {f"raw/{feed.name}" for feed in FEEDS} | {
        "ops/orders",
        "ops/quotes",
        "ops/cost_table",
        "marts/order_list",
        "marts/throughput_daily",
        "marts/throughput_weekly",
    }
    assert {name for name in watched if not story["assets"][name]["fresh"]} == set()


def test_what_starts_by_itself(story: dict[str, Any]) -> None:
    assert {name: sensor[:2] for name, sensor in story["sensors"].items()} == {
        "new_feed_files": ["feeds_to_order_list", "RUNNING"],
        "rate_card_activated": ["prices", "RUNNING"],
        "read_models_behind": ["refresh_read_models", "RUNNING"],
        "read_models_follow": [None, "RUNNING"],
    }
    assert all(description for *_, description in story["sensors"].values())
    assert story["schedules"] == {
        "nightly": ["feeds_to_order_list", "RUNNING", "0 2 * * *", "UTC"],
        "prices_daily": ["prices", "RUNNING", "10 0 * * *", "UTC"],
        "reconcile_continuously": ["reconcile", "RUNNING", "*/5 * * * *", "UTC"],
        "reconcile_nightly": ["reconcile", "RUNNING", "32 3 * * *", "UTC"],
    }


def test_what_follows_by_itself_is_asked_for_by_nothing_else(story: dict[str, Any]) -> None:
    assert story["automated"] == ["marts/throughput_weekly"]
    assert not set(story["automated"]) & set(story["jobs"]["refresh_read_models"])


def test_no_run_waits_for_dbt_to_tell_its_version(story: dict[str, Any]) -> None:
    """Our resource answers in its place; were it asked by another name, runs would be 3 s longer unnoticed."""
    assert story["dbt_knows_its_version"]


def test_what_there_is_to_know_stands_in_the_data_engineers_page(story: dict[str, Any]) -> None:
    page = (Path(REPOSITORY) / "docs/data-engineer.md").read_text()
    names = [*story["sensors"], *story["schedules"], *story["jobs"], *(check for _, check in story["blocking"])]
    assert [name for name in names if f"`{name}`" not in page] == []
