"""What Dagster loads: `dagster ... -m pipelines.definitions`."""

import sys
from pathlib import Path

import dagster as dg
from dagster_dbt import DbtCliResource

from assets.checks import CHECKS
from assets.dbt_project import PROJECT
from assets.feeds import FEED_ASSETS
from assets.orders import ORDER_ASSETS
from assets.partitions import MONTHS
from assets.read_models import DBT_ASSETS
from assets.resources import Database, Feeds, Models
from mes import config
from mes.observability import logs

MAIN_JOB = "feeds_to_order_list"

logs.configure("dagster", config.load().log_level)

main_job = dg.define_asset_job(
    MAIN_JOB,
    selection=dg.AssetSelection.all(),
    partitions_def=MONTHS,
    description="The main job: feeds to orders, prices, order list and reports, for a range of months in one run.",
)

defs = dg.Definitions(
    assets=[*FEED_ASSETS, *ORDER_ASSETS, *DBT_ASSETS],
    asset_checks=CHECKS,
    jobs=[main_job],
    # the steps take seconds; a process for each would spend eight more on imports
    loggers={"console": dg.json_console_logger},
    executor=dg.in_process_executor,
    resources={
        "database": Database(),
        "feeds": Feeds(),
        "models": Models(),
        "dbt": DbtCliResource(
            project_dir=str(PROJECT),
            profiles_dir=str(PROJECT),
            dbt_executable=str(Path(sys.executable).parent / "dbt"),  # the one beside this Python, whatever PATH says
        ),
    },
)
