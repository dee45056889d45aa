"""dbt's models as assets, each with its tests as checks."""

import os
from collections.abc import Iterator, Mapping
from functools import cached_property
from importlib import metadata
from typing import Any

import dagster as dg
from dagster_dbt import DagsterDbtTranslator, DagsterDbtTranslatorSettings, DbtCliResource, DbtProject, dbt_assets
from packaging.version import Version

from assets import dbt_project
from assets.resources import Database
from assets.stewardship import DAILY, DATA_TEAM, PRICING_TEAM, WORKSHOP_TEAM
from mes.runtime import database_locks

# what prices are computed from is built before them, all else after
BEFORE_PRICES = "+pricing_inputs +cost_inputs"
_OF_PRICES = {"pricing_inputs", "cost_inputs", "stg_mes__unit_costs"}
# once for each time; a failed run is not tried again before the next
FOLLOWS_DAILY = (
    dg.AutomationCondition.any_deps_updated()
    .allow(dg.AssetSelection.assets(["marts", "throughput_daily"]))
    .since_last_handled()
    & ~dg.AutomationCondition.any_deps_in_progress()
    & ~dg.AutomationCondition.in_progress()
).with_label("after the daily report")
_NOT_FILLED = {"view", "ephemeral", "seed"}


class Translator(DagsterDbtTranslator):
    """Names models by schema, as the database does, so that sources meet the assets that write them."""

    def get_asset_key(self, dbt_resource_props: Mapping[str, Any]) -> dg.AssetKey:
        """`marts.order_list` is `marts/order_list`."""
        return dg.AssetKey([dbt_resource_props["schema"], dbt_resource_props["name"]])

    def get_owners(self, dbt_resource_props: Mapping[str, Any]) -> list[str]:
        """Who asks for a model's numbers; what all stand on is the data team's."""
        if dbt_resource_props["name"] in _OF_PRICES:
            return PRICING_TEAM
        return WORKSHOP_TEAM if dbt_resource_props["schema"] == "marts" else DATA_TEAM

    def get_tags(self, dbt_resource_props: Mapping[str, Any]) -> Mapping[str, str]:
        """The tags that dbt gives, and the layer."""
        return {**super().get_tags(dbt_resource_props), "layer": dbt_resource_props["schema"]}

    def get_asset_spec(self, manifest: Mapping[str, Any], unique_id: str, project: DbtProject | None) -> dg.AssetSpec:
        """What dbt says of it; tables that are filled must stay fresh, views always are."""
        spec = super().get_asset_spec(manifest, unique_id, project)
        filled = manifest["nodes"].get(unique_id, {}).get("config", {}).get("materialized") not in {None, *_NOT_FILLED}
        return spec.replace_attributes(freshness_policy=DAILY) if filled else spec

    def get_automation_condition(self, dbt_resource_props: Mapping[str, Any]) -> dg.AutomationCondition[Any] | None:
        """The weekly report follows the daily one; all else is made by jobs alone, so that nothing is made twice."""
        return FOLLOWS_DAILY if dbt_resource_props["name"] == "throughput_weekly" else None

    def get_group_name(self, dbt_resource_props: Mapping[str, Any]) -> str:
        """Prices' inputs and costs beside prices; the rest are read models."""
        return "pricing" if dbt_resource_props["name"] in _OF_PRICES else "read_models"


class Dbt(DbtCliResource):
    """The command `dbt` beside this Python, whose version need not be asked of it: that takes 3 s in every run."""

    @cached_property
    def _cli_version(self) -> Version:
        return Version(metadata.version("dbt-core"))


os.environ.update(dbt_project.environment())
_MANIFEST = dbt_project.manifest()
TRANSLATOR = Translator(
    settings=DagsterDbtTranslatorSettings(enable_asset_checks=True, enable_source_tests_as_checks=True)
)


@dbt_assets(manifest=_MANIFEST, select=BEFORE_PRICES, name="pricing_inputs", dagster_dbt_translator=TRANSLATOR)
def pricing_inputs(context: dg.AssetExecutionContext, database: Database, dbt: DbtCliResource) -> Iterator[Any]:
    """Staging and the inputs of prices."""
    yield from _build(context, database, dbt)


@dbt_assets(manifest=_MANIFEST, exclude=BEFORE_PRICES, name="read_models", dagster_dbt_translator=TRANSLATOR)
def read_models(context: dg.AssetExecutionContext, database: Database, dbt: DbtCliResource) -> Iterator[Any]:
    """The order list and the reports."""
    yield from _build(context, database, dbt)


def _build(context: dg.AssetExecutionContext, database: Database, dbt: DbtCliResource) -> Iterator[Any]:
    """One build at a time per database: two would rename each other's new views and tables away."""
    with database_locks.held(
        database.url,
        database_locks.READ_MODELS,
        lambda: context.log.info("waiting for another build of the read models"),
    ):
        yield from dbt.cli(["build"], context=context).stream()


DBT_ASSETS = (pricing_inputs, read_models)
