"""dbt's models as assets, each with its tests as checks."""

import os
from collections.abc import Iterator, Mapping
from typing import Any

import dagster as dg
from dagster_dbt import DagsterDbtTranslator, DagsterDbtTranslatorSettings, DbtCliResource, dbt_assets

from assets import dbt_project

# what prices are computed from is built before them, all else after
BEFORE_PRICES = "+pricing_inputs"


class Translator(DagsterDbtTranslator):
    """Names models by schema, as the database does, so that sources meet the assets that write them."""

    def get_asset_key(self, dbt_resource_props: Mapping[str, Any]) -> dg.AssetKey:
        """`marts.order_list` is `marts/order_list`."""
        return dg.AssetKey([dbt_resource_props["schema"], dbt_resource_props["name"]])

    def get_group_name(self, dbt_resource_props: Mapping[str, Any]) -> str:
        """Prices' inputs beside prices; the rest are read models."""
        return "pricing" if dbt_resource_props["name"] == "pricing_inputs" else "read_models"


os.environ.update(dbt_project.environment())
_MANIFEST = dbt_project.manifest()
TRANSLATOR = Translator(
    settings=DagsterDbtTranslatorSettings(enable_asset_checks=True, enable_source_tests_as_checks=True)
)


@dbt_assets(manifest=_MANIFEST, select=BEFORE_PRICES, name="pricing_inputs", dagster_dbt_translator=TRANSLATOR)
def pricing_inputs(context: dg.AssetExecutionContext, dbt: DbtCliResource) -> Iterator[Any]:
    """Staging and the inputs of prices."""
    yield from dbt.cli(["build"], context=context).stream()


@dbt_assets(manifest=_MANIFEST, exclude=BEFORE_PRICES, name="read_models", dagster_dbt_translator=TRANSLATOR)
def read_models(context: dg.AssetExecutionContext, dbt: DbtCliResource) -> Iterator[Any]:
    """The order list and the reports."""
    yield from dbt.cli(["build"], context=context).stream()


DBT_ASSETS = (pricing_inputs, read_models)
