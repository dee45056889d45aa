"""The four feeds, landed month by month as they came."""

from datetime import UTC, datetime

import dagster as dg

from assets.metadata import landed_metadata, table_metadata
from assets.partitions import MONTHS, months
from assets.resources import Database, Feeds, Models
from assets.stewardship import DAILY, DATA_TEAM
from mes.clock import utc_now
from mes.config import load as load_settings
from mes.feeds import land
from mes.feeds.catalogue import CRM_ORDER_EVENTS, CRM_ORDERS, LEGACY_STATUS_HISTORY, SHOP_ORDERS, Feed

_DESCRIPTIONS = {
    SHOP_ORDERS: "Orders that the shop exported: one row per order and distinct export.",
    CRM_ORDERS: "Orders that sales took in the CRM: one row per order and distinct export.",
    CRM_ORDER_EVENTS: "Approvals, closings and cancellations that the CRM reports, once each.",
    LEGACY_STATUS_HISTORY: "What happened to orders in the system before this one.",
}


def _landing(feed: Feed) -> dg.AssetsDefinition:
    @dg.asset(
        key=["raw", feed.name],
        group_name="feeds",
        kinds={"polars", "postgres"},
        owners=DATA_TEAM,
        tags={"source": feed.sender},
        description=_DESCRIPTIONS[feed],
        partitions_def=MONTHS,
        backfill_policy=dg.BackfillPolicy.single_run(),
        freshness_policy=DAILY,
        metadata={"files": f"{feed.stem}*.jsonl, .csv, .parquet", **table_metadata(feed.table)},
    )
    def landing(
        context: dg.AssetExecutionContext, database: Database, feeds: Feeds, models: Models
    ) -> dg.MaterializeResult[None]:
        since = datetime.combine(load_settings().feeds_since, datetime.min.time(), UTC)
        with database.begin() as conn:
            landed = land.load(
                conn,
                feed,
                feeds.folder,
                models.store,
                months(context.partition_keys),
                now=utc_now(),
                since=since,
            )
        context.log.info("%s: %d rows, %d new, %d refused", feed.name, landed.rows, landed.new, landed.quarantined)
        return dg.MaterializeResult(metadata=landed_metadata(landed))

    return landing


FEED_ASSETS = tuple(_landing(feed) for feed in _DESCRIPTIONS)
