"""What Dagster loads: `dagster ... -m pipelines.definitions`."""

import sys
import warnings
from collections.abc import Sequence
from pathlib import Path

import dagster as dg
from dagster import BetaWarning

from assets.checks import CHECKS
from assets.dbt_project import PROJECT
from assets.feeds import FEED_ASSETS
from assets.orders import ORDER_ASSETS
from assets.prices import PRICE_ASSETS, PRICE_CHECKS
from assets.read_models import DBT_ASSETS, Dbt
from assets.reconciliation import RECONCILIATION_ASSETS, RECONCILIATION_CHECKS
from assets.resources import Database, Feeds, Models
from mes import config
from mes.observability import telemetry
from pipelines.jobs import main_job, measure_backlog, prices, reconcile, refresh_read_models
from pipelines.read_model_sensors import read_models_behind, read_models_follow
from pipelines.schedules import nightly, prices_daily, reconcile_continuously, reconcile_nightly
from pipelines.sensors import new_feed_files, rate_card_activated

telemetry.start("dagster", config.load())


def _linked_to_code(assets: Sequence[dg.AssetsDefinition]) -> Sequence[dg.AssetsDefinition]:
    """Each asset with file and line; the function is beta, and the lock pins the version that we tested."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", BetaWarning)
        return [asset for asset in dg.with_source_code_references(assets) if isinstance(asset, dg.AssetsDefinition)]


defs = dg.Definitions(
    assets=_linked_to_code([*FEED_ASSETS, *ORDER_ASSETS, *PRICE_ASSETS, *RECONCILIATION_ASSETS, *DBT_ASSETS]),
    asset_checks=[*CHECKS, *PRICE_CHECKS, *RECONCILIATION_CHECKS],
    jobs=[main_job, prices, measure_backlog, refresh_read_models, reconcile],
    schedules=[nightly, prices_daily, reconcile_continuously, reconcile_nightly],
    sensors=[new_feed_files, rate_card_activated, read_models_behind, read_models_follow],
    # the steps take seconds; a process for each would spend eight more on imports
    loggers={"console": dg.json_console_logger},
    executor=dg.in_process_executor,
    resources={
        "database": Database(),
        "feeds": Feeds(),
        "models": Models(),
        "dbt": Dbt(
            project_dir=str(PROJECT),
            profiles_dir=str(PROJECT),
            dbt_executable=str(Path(sys.executable).parent / "dbt"),  # the one beside this Python, whatever PATH says
        ),
    },
)
