"""From landed rows to orders: models measured, exports and facts applied, items priced."""

from collections.abc import Iterator

import dagster as dg
import structlog

from assets.feeds import FEED_ASSETS
from assets.metadata import counts, table_metadata
from assets.resources import Database, Models
from assets.stewardship import DAILY, PRICING_TEAM, WORKSHOP_TEAM
from mes.clock import utc_now
from mes.config import load as load_settings
from mes.feeds import apply as apply_feeds
from mes.models import intake
from mes.orders import anomalies
from mes.pricing.quotes import order_quotes as quoting
from mes.pricing.rates import rate_cards, rate_store

log = structlog.get_logger(__name__)
_RAW_KEYS = [feed.key for feed in FEED_ASSETS]
_ORDERS = dg.AssetKey(["ops", "orders"])
_LIFE = {
    "customers": "Customers, per source.",
    "orders": "Orders with their status and version.",
    "order_items": "What each order consists of.",
    "order_events": "Every order's life, event by event.",
    "order_ends": "When each order was first shipped and first cancelled, as its events say; kept by a trigger.",
    "anomalies": "What sources say about an order that cannot be true together.",
}


@dg.asset(
    key=["ops", "geometries"],
    group_name="pricing",
    kinds={"python", "postgres"},
    owners=PRICING_TEAM,
    metadata=table_metadata("ops.geometries"),
    deps=_RAW_KEYS[:2],
    description="Every model that orders name, stored by its content and measured once, in a process that is confined.",
)
def geometries(database: Database, models: Models) -> dg.MaterializeResult[None]:
    """Take in the models of landed orders."""
    with database.begin() as conn:
        taken = intake.take_in(
            conn,
            intake.names_wanted(conn),
            store=models.store,
            root=load_settings().models_location,
            limits=models.limits,
            progress=lambda name, done, of: log.info("model measured", measured=name, done=done, of=of),
        )
    return dg.MaterializeResult(metadata={"named": taken.names, "new": taken.new, "unusable": taken.unusable})


@dg.asset(
    key=["ops", "rate_cards"],
    group_name="pricing",
    kinds={"yaml", "postgres"},
    owners=PRICING_TEAM,
    metadata=table_metadata("ops.rate_cards"),
    description="Prices and rates by validity. The shipped sample is loaded where there is none; see `mes rates load`.",
)
def cards(database: Database) -> dg.MaterializeResult[None]:
    """Have rates to price with."""
    with database.begin() as conn:
        new = rate_store.load(conn, rate_cards.load_sample()) if rate_store.is_empty(conn) else 0
    return dg.MaterializeResult(metadata={"new": new})


@dg.multi_asset(
    specs=[
        dg.AssetSpec(
            ["ops", name],
            group_name="orders",
            kinds={"postgres"},
            owners=WORKSHOP_TEAM,
            freshness_policy=DAILY,
            metadata=table_metadata(f"ops.{name}"),
            deps=[*_RAW_KEYS, geometries.key],
            description=description,
        )
        for name, description in _LIFE.items()
    ],
    name="apply_feeds",
    # an order of the same number may come by the API in the middle of it; the second time it is there
    retry_policy=dg.RetryPolicy(max_retries=2, delay=1),
)
def orders(database: Database) -> Iterator[dg.MaterializeResult[None]]:
    """Apply landed exports and facts to the orders, some thousand orders in each transaction."""
    report = apply_feeds.apply(database.connections, now=utc_now())
    with database.begin() as conn:
        kinds = anomalies.counts(conn)
    metadata: dict[str, dict[str, dg.MetadataValue | int]] = {
        "customers": {},
        "orders": {
            "new": report.applied.orders_new,
            "updated": report.applied.orders_updated,
            "quarantined": report.quarantined,
        },
        "order_items": {},
        "order_events": {"recorded": report.applied.events, "waiting_for_their_order": report.waiting},
        "order_ends": {},
        "anomalies": {"by_kind": counts("kind", kinds)},
    }
    for name in _LIFE:
        yield dg.MaterializeResult(asset_key=["ops", name], metadata=metadata[name])


@dg.asset(
    key=["ops", "quotes"],
    group_name="pricing",
    kinds={"polars", "postgres"},
    owners=PRICING_TEAM,
    freshness_policy=DAILY,
    metadata=table_metadata("ops.quotes"),
    deps=[["marts", "pricing_inputs"]],
    description="A price with its breakdown for every item, by the rate card valid when the order was placed.",
)
def quotes(database: Database) -> dg.MaterializeResult[None]:
    """Price what has no price yet; move or hold the open orders among it."""
    with database.begin() as conn:
        quoted = quoting.quote_items(conn)
    return dg.MaterializeResult(
        metadata={
            "quotes": quoted.quotes,
            "orders_priced": quoted.priced_orders,
            "orders_held": quoted.held_orders,
            "problems": counts("problem", quoted.problems),
        }
    )


ORDER_ASSETS = (geometries, cards, orders, quotes)
