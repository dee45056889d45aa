"""Asset checks: what a person has to look at, said where the data engineer looks."""

from collections.abc import Sequence
from datetime import UTC, datetime

import dagster as dg
from sqlalchemy import Connection, text

from assets.expectations import validation
from assets.expectations.batches import Scope
from assets.expectations.suites import suite
from assets.feeds import FEED_ASSETS
from assets.metadata import failures, table
from assets.partitions import months_of_run
from assets.resources import Database
from mes.clock import utc_now
from mes.config import load as load_settings
from mes.feeds import quarantine
from mes.feeds.catalogue import feed as feed_called
from mes.lists import audit
from mes.orders import anomalies


def _load_is_sound(asset: dg.AssetsDefinition) -> dg.AssetChecksDefinition:
    expected = suite(feed_called(asset.key.path[-1]))

    @dg.asset_check(
        asset=asset,
        name="load_is_sound",
        blocking=True,
        description="The load as a whole looks as this feed's loads do; nothing is made of one that doesn't.",
        metadata={"expectations": table([{"expected": each.words} for each in expected.expectations])},
    )
    def load_is_sound(context: dg.AssetCheckExecutionContext, database: Database) -> dg.AssetCheckResult:
        scope = Scope(
            months=months_of_run(context.run.tags),
            since=datetime.combine(load_settings().feeds_since, datetime.min.time(), UTC),
            now=utc_now(),
        )
        verdict = validation.validate(database.url, expected, scope, reported=_reported(context, asset.key))
        return dg.AssetCheckResult(
            passed=not verdict.failures,
            severity=dg.AssetCheckSeverity.ERROR if verdict.blocks else dg.AssetCheckSeverity.WARN,
            description=_in_words(expected.feed.name, verdict),
            metadata={"rows": verdict.rows, "scope": scope.words(), "failures": failures(verdict.failures)},
        )

    return load_is_sound


def _in_words(feed: str, verdict: validation.Verdict) -> str | None:
    """The worst failure first; the table in the metadata has all that is known."""
    if not verdict.failures:
        return None
    told = [f"{failure.expectation.words} Found: {failure.found}." for failure in verdict.failures]
    return (
        f"The load of {feed} looks wrong. Expected: {' Expected: '.join(told)} {verdict.failures[0].expectation.advice}"
    )


def _reported(context: dg.AssetCheckExecutionContext, key: dg.AssetKey) -> int:
    """How many rows this run's load of the feed said that it read; 0 if this run loaded nothing."""
    event = context.instance.get_latest_materialization_event(key)
    if event is None or event.run_id != context.run.run_id or event.asset_materialization is None:
        return 0
    count = event.asset_materialization.metadata.get("dagster/row_count")
    return count.value if isinstance(count, dg.IntMetadataValue) and count.value else 0


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


@dg.asset_check(
    asset=dg.AssetKey(["marts", "order_list"]),
    name="order_list_is_true",
    description="The order list says what its definition says; what differs is refreshed, and told here.",
)
def order_list_is_true(database: Database) -> dg.AssetCheckResult:
    """Fail where they differ: the list mends itself, but something made it wrong."""
    with database.begin() as conn:
        found = audit.audit(conn, utc_now().date())
    return dg.AssetCheckResult(
        passed=not found.differing,
        severity=dg.AssetCheckSeverity.ERROR,
        description=f"{found.differing} orders differed; they are being refreshed." if found.differing else None,
        metadata={
            "compared": found.compared,
            "differing": table(
                [{"order": str(each.order_id), "columns": ", ".join(each.columns)} for each in found.first]
            ),
        },
    )


CHECKS = (
    *(_load_is_sound(asset) for asset in FEED_ASSETS),
    *(_no_bad_rows(asset) for asset in FEED_ASSETS),
    no_anomalies,
    every_item_is_priced,
    order_list_is_true,
)
