"""The main job: everything from the feeds to the order list, for a range of months in one run."""

import dagster as dg

MAIN_JOB = "feeds_to_order_list"

main_job = dg.define_asset_job(
    MAIN_JOB,
    selection=dg.AssetSelection.all(),
    description="The main job: feeds to orders, prices, order list and reports, for a range of months in one run.",
)
