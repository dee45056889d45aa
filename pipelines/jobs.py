"""The jobs: from the feeds to the order list, prices by the rates, models measured again, reports refreshed."""

import dagster as dg

MAIN_JOB = "feeds_to_order_list"
PRICES = "prices"
MEASURE_BACKLOG = "measure_backlog"
REFRESH_READ_MODELS = "refresh_read_models"
RECONCILE = "reconcile"

_RENEWALS = dg.AssetSelection.assets(["ops", "renewals"])
_BACKLOG = dg.AssetSelection.assets(["ops", "geometry_backlog"])
_DRIFT = dg.AssetSelection.assets(["ops", "drift"])

main_job = dg.define_asset_job(
    MAIN_JOB,
    # loading the same feeds again must change nothing, so what depends on today's date is not part of it
    selection=dg.AssetSelection.all() - _RENEWALS - _BACKLOG - _DRIFT,
    description="The main job: feeds to orders, prices, order list and reports, for a range of months in one run.",
)
prices = dg.define_asset_job(
    PRICES,
    selection=dg.AssetSelection.assets(["ops", "cost_table"]) | _RENEWALS,
    description="Unit costs by the rates in force, and new quotes for open orders whose quotes have run out.",
)
measure_backlog = dg.define_asset_job(
    MEASURE_BACKLOG,
    selection=_BACKLOG,
    # a process for each step, as other machines would have (a Kubernetes executor takes its place there)
    executor_def=dg.multiprocess_executor.configured({"max_concurrent": 2}),
    description="Measures again what only an older kernel has measured; by hand, after the kernel has changed.",
)
refresh_read_models = dg.define_asset_job(
    REFRESH_READ_MODELS,
    # without their tests, which compare with all orders: those belong to the main job
    selection=dg.AssetSelection.assets(["marts", "throughput_daily"], ["marts", "order_list"]).without_checks(),
    description="Takes what changed into the daily report and the order list; the sensor `read_models_behind` asks.",
)
reconcile = dg.define_asset_job(
    RECONCILE,
    selection=_DRIFT,
    description="Compares with what shop or CRM state of their orders (a partition each), and mends what can be.",
)
