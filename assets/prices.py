"""Prices that follow what they are made of: unit costs, quotes that have run out, measures of an older kernel."""

import dagster as dg

from assets.metadata import counts, table, table_metadata
from assets.resources import Database, Models
from assets.stewardship import DAILY, PRICING_TEAM
from mes.errors import MesError
from mes.models import backlog
from mes.pricing.costs import cost_audit
from mes.pricing.costs import cost_table as costing
from mes.pricing.costs.cost_table import Refreshed
from mes.pricing.quotes import renewal
from mes.pricing.quotes.renewal import Renewed

BACKLOG_PARTS = dg.StaticPartitionsDefinition(backlog.PARTS)
_FAILURES_SHOWN = 200
_DIFFERENCES_SHOWN = 10


@dg.asset(
    key=["ops", "cost_table"],
    group_name="pricing",
    kinds={"polars", "postgres"},
    owners=PRICING_TEAM,
    freshness_policy=DAILY,
    metadata=table_metadata("ops.cost_table"),
    deps=[["marts", "cost_inputs"], ["ops", "rate_cards"]],
    description=(
        "What one piece of every model costs in every metal and finish, by the card in force; only rows are computed "
        "whose model was measured or whose rates moved."
    ),
)
def cost_table(context: dg.AssetExecutionContext, database: Database) -> dg.MaterializeResult[None]:
    """Refresh, each step in a transaction of its own, so that a run that is stopped goes on where it was."""
    done = Refreshed(None, finished=False)
    while not done.finished:
        with database.begin() as conn:
            done += costing.refresh(conn)
        context.log.info("%d rows new, %d measured, %d moved", done.rows_new, done.rows_measured, done.rows_moved)
    return dg.MaterializeResult(
        metadata={
            "rate_card": done.rate_card or "none in force",
            "new": done.rows_new,
            "measured_anew": done.rows_measured,
            "moved": done.rows_moved,
        }
    )


@dg.asset(
    key=["ops", "renewals"],
    group_name="pricing",
    kinds={"polars", "postgres"},
    owners=PRICING_TEAM,
    freshness_policy=DAILY,
    metadata=table_metadata("ops.quotes"),
    deps=[["ops", "quotes"], ["ops", "rate_cards"]],
    description=(
        "New quotes, by the card in force, for open orders whose quotes have run out before anybody approved or paid "
        "them; what changes an order's total is its event `repriced`."
    ),
)
def renewals(database: Database) -> dg.MaterializeResult[None]:
    """Renew in steps, so that nobody waits long for an order."""
    done = Renewed()
    while True:
        with database.begin() as conn:
            step = renewal.renew_expired(conn, after=done.last)
        done += step
        if step.last is None:
            break
    return dg.MaterializeResult(
        metadata={
            "orders": done.orders,
            "quotes": done.quotes,
            "repriced": done.repriced,
            "held": done.held,
            "problems": counts("problem", done.problems),
        }
    )


@dg.asset(
    key=["ops", "geometry_backlog"],
    group_name="pricing",
    kinds={"python", "postgres"},
    owners=PRICING_TEAM,
    metadata=table_metadata("ops.geometries"),
    partitions_def=BACKLOG_PARTS,
    description=(
        "Models that only an older kernel has measured, measured again from the object store, cut by the first digit "
        "of their ids. What is done stays done: a run that was stopped leaves the rest to the next."
    ),
)
def geometry_backlog(
    context: dg.AssetExecutionContext, database: Database, models: Models
) -> dg.MaterializeResult[None]:
    """Measure, keeping each model as soon as it is measured."""
    with database.begin() as conn:
        waiting = backlog.waiting(conn, context.partition_key)
    failed: list[dict[str, str]] = []
    for model_id, found in backlog.measure(waiting, store=models.store, limits=models.limits):
        if isinstance(found, MesError):
            failed.append({"model": model_id, "kind": found.code, "reason": found.message})
            context.log.warning("model %s cannot be measured: %s", model_id, found.message)
            continue
        with database.begin() as conn:
            backlog.keep(conn, models.store, found)
    return dg.MaterializeResult(
        metadata={
            "waiting": len(waiting),
            "measured": len(waiting) - len(failed),
            "failed": len(failed),
            "failures": table(failed[:_FAILURES_SHOWN]),
        }
    )


@dg.asset_check(
    asset=cost_table,
    name="equals_single_quotes",
    description="Rows of some models, chosen anew each time, are what a single quote says.",
)
def equals_single_quotes(database: Database) -> dg.AssetCheckResult:
    """Fail, with the rows that differ."""
    with database.begin() as conn:
        differing = cost_audit.differing(conn)
    return dg.AssetCheckResult(
        passed=not differing,
        severity=dg.AssetCheckSeverity.ERROR,
        metadata={"rows": len(differing), "for_example": differing[:_DIFFERENCES_SHOWN]},
    )


@dg.asset_check(
    asset=cost_table,
    name="nothing_is_behind",
    description="Every measured model has its rows, by its newest measures and the rates in force.",
)
def nothing_is_behind(database: Database) -> dg.AssetCheckResult:
    """Warn: models may have come, or a card begun, since."""
    with database.begin() as conn:
        behind = cost_audit.behind(conn)
    return dg.AssetCheckResult(
        passed=not (behind.stale or behind.missing),
        severity=dg.AssetCheckSeverity.WARN,
        metadata={"stale": behind.stale, "missing": behind.missing},
    )


PRICE_ASSETS = (cost_table, renewals, geometry_backlog)
PRICE_CHECKS = (equals_single_quotes, nothing_is_behind)
