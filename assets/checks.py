"""Asset checks: what a person has to look at, said where the data engineer looks."""

from collections.abc import Sequence

import dagster as dg
from sqlalchemy import Connection, text

from assets.feeds import FEED_ASSETS
from assets.resources import Database
from mes.feeds import quarantine
from mes.feeds.catalogue import feed as feed_called
from mes.orders import anomalies


def _no_bad_rows(asset: dg.AssetsDefinition) -> dg.AssetChecksDefinition:
    feed = feed_called(asset.key.path[-1])

    @dg.asset_check(asset=asset, name="no_bad_rows", description="No row of the feed waits in quarantine.")
    def no_bad_rows(database: Database) -> dg.AssetCheckResult:
        with database.begin() as conn:
            open_rows = quarantine.open_by_kind(conn, feed)
        return dg.AssetCheckResult(
            passed=not open_rows,
            severity=dg.AssetCheckSeverity.WARN,
            description="See the console's page Quarantine for file, line and what to do." if open_rows else None,
            metadata=open_rows,
        )

    return no_bad_rows


@dg.asset_check(
    asset=dg.AssetKey(["ops", "anomalies"]),
    name="no_anomalies",
    description="No order on which the sources contradict each other.",
)
def no_anomalies(database: Database) -> dg.AssetCheckResult:
    """Warn, with the number of orders by kind."""
    with database.begin() as conn:
        found = anomalies.counts(conn)
    return dg.AssetCheckResult(passed=not found, severity=dg.AssetCheckSeverity.WARN, metadata=found)


@dg.asset_check(
    asset=dg.AssetKey(["ops", "quotes"]),
    name="every_item_is_priced",
    description="Every item has a quote.",
)
def every_item_is_priced(database: Database) -> dg.AssetCheckResult:
    """Warn when items are without a price: their rate card is missing, or their model cannot be priced."""
    with database.begin() as conn:
        unpriced = _unpriced(conn)
    return dg.AssetCheckResult(
        passed=not unpriced, severity=dg.AssetCheckSeverity.WARN, metadata={"orders": list(unpriced)}
    )


def _unpriced(conn: Connection) -> Sequence[str]:
    rows = conn.execute(
        text("""
            select distinct orders.source || '/' || orders.external_id as number
            from ops.order_items join ops.orders using (order_id) where quote_id is null limit 100
        """)
    )
    return [row.number for row in rows]


CHECKS = (*(_no_bad_rows(asset) for asset in FEED_ASSETS), no_anomalies, every_item_is_priced)
