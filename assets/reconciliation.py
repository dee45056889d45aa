"""Orders on which shop or CRM say otherwise than we do: compared, mended, and watched."""

import dagster as dg

from assets.metadata import counts, table, table_metadata
from assets.resources import Database
from assets.stewardship import DATA_TEAM
from mes.clock import utc_now
from mes.config import load as load_settings
from mes.reconciliation import drift, runs, sources
from mes.reconciliation.model import SYSTEMS, Scope

SYSTEM_PARTITIONS = dg.StaticPartitionsDefinition(list(SYSTEMS))


class Comparison(dg.Config):
    """Which orders are compared."""

    everything: bool = True


@dg.asset(
    key=["ops", "drift"],
    group_name="reconciliation",
    kinds={"duckdb", "postgres"},
    owners=DATA_TEAM,
    partitions_def=SYSTEM_PARTITIONS,
    metadata=table_metadata("ops.drift"),
    deps=[["ops", "orders"]],
    description="Orders on which shop or CRM say otherwise than we do: named, explained, mended or handed to a person.",
)
def reconciliation(
    context: dg.AssetExecutionContext, config: Comparison, database: Database
) -> dg.MaterializeResult[None]:
    """Compare with one system."""
    settings, system = load_settings(), context.partition_key
    outcome = runs.run(
        database.connections,
        sources.configured(system, settings),
        system,
        Scope.ALL if config.everything else Scope.RECENT,
        rules=sources.rules(settings),
    )
    with database.begin() as conn:
        buckets = runs.differing_buckets(conn, outcome.run_id)
    return dg.MaterializeResult(
        metadata={
            "scope": outcome.scope.value,
            "stated": outcome.stated,
            "unreadable_rows": outcome.bad_rows,
            "first_unreadable": "; ".join(outcome.first_faults) or "none",
            "compared": outcome.ours,
            "buckets": outcome.buckets,
            "differing_buckets": outcome.differing_buckets,
            "digests": table([{name: str(value) for name, value in bucket.items()} for bucket in buckets]),
            "found": counts("kind", outcome.found),
            "repairs_begun": outcome.repaired,
            "gone": outcome.closed,
        }
    )


@dg.asset_check(
    asset=dg.AssetKey(["ops", "drift"]),
    name="no_old_drift",
    description="No difference with shop or CRM has been open for longer than MES_DRIFT_AGE_HOURS.",
)
def no_old_drift(database: Database) -> dg.AssetCheckResult:
    """Fail, with the number by system and kind."""
    hours = load_settings().drift_age_hours
    with database.begin() as conn:
        found = drift.counts(conn)
    now = utc_now()
    old = [each for each in found if (now - each.oldest).total_seconds() > hours * 3600]
    return dg.AssetCheckResult(
        passed=not old,
        severity=dg.AssetCheckSeverity.ERROR,
        description="See the console's page Drift, or `mes drift list`, for each order and what to do."
        if old
        else None,
        metadata={f"{each.system}_{each.kind}": each.differences for each in found},
    )


RECONCILIATION_ASSETS = (reconciliation,)
RECONCILIATION_CHECKS = (no_old_drift,)
