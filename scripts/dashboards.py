"""Writes the dashboards of `deploy/grafana/pages.yml` as Grafana reads them; run it by `.venv/bin/python`."""

import argparse
import json
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import yaml
from grafana_foundation_sdk.builders import dashboard, prometheus, stat, timeseries
from grafana_foundation_sdk.builders.common import ReduceDataOptions, VizLegendOptions
from grafana_foundation_sdk.cog.encoder import JSONEncoder
from grafana_foundation_sdk.models.common import LegendDisplayMode, LegendPlacement
from grafana_foundation_sdk.models.dashboard import DashboardCursorSync, DataSourceRef

GRAFANA = Path(__file__).resolve().parents[1] / "deploy/grafana"
FOLDER = GRAFANA / "dashboards"
_SOURCE = DataSourceRef(type_val="prometheus", uid="prometheus")
_WIDE, _NARROW, _HIGH, _LOW = 12, 4, 8, 4  # of 24 columns; in rows of 30 pixels

Said = Mapping[str, Any]


def main(arguments: Sequence[str] | None = None) -> int:
    """Write all, or say which are not as they would be written."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--check", action="store_true", help="write nothing; exit with 1 when a file differs")
    asked = parser.parse_args(arguments)
    differing = []
    for page in yaml.safe_load((GRAFANA / "pages.yml").read_text()):
        file, written = FOLDER / f"{page['uid']}.json", rendered(page)
        if not file.exists() or file.read_text() != written:
            differing.append(file.name)
            if not asked.check:
                file.write_text(written)
    if asked.check and differing:
        sys.stderr.write(f"not as scripts/dashboards.py writes them: {', '.join(differing)}\n")
        return 1
    return 0


def rendered(page: Said) -> str:
    """The dashboard as JSON."""
    built = (
        dashboard.Dashboard(page["title"])
        .uid(page["uid"])
        .description(page["about"])
        .tags(["atelier-mes"])
        .refresh("30s")
        .time("now-6h", "now")
        .timezone("utc")
        .tooltip(DashboardCursorSync.CROSSHAIR)
        .editable()
    )
    for row in page["rows"]:
        built = built.with_row(dashboard.Row(row["title"]))
        for panel in row["panels"]:
            built = built.with_panel(_number(panel) if panel.get("now") else _graph(panel))
    return json.dumps(json.loads(JSONEncoder(sort_keys=True).encode(built.build())), indent=1, sort_keys=True) + "\n"


def _graph(panel: Said) -> timeseries.Panel:
    legend = VizLegendOptions().display_mode(LegendDisplayMode.LIST).placement(LegendPlacement.BOTTOM)
    built = timeseries.Panel().title(panel["title"]).description(panel.get("about", "")).unit(panel["unit"])
    built = built.datasource(_SOURCE).span(_WIDE).height(_HIGH).legend(legend.show_legend(show_legend=True))
    for nth, query in enumerate(panel["queries"]):
        asked = prometheus.Dataquery().expr(query["expr"]).legend_format(query.get("legend", ""))
        built = built.with_target(asked.ref_id(chr(ord("A") + nth)))
    return built


def _number(panel: Said) -> stat.Panel:
    (query,) = panel["queries"]
    built = stat.Panel().title(panel["title"]).description(panel.get("about", "")).unit(panel["unit"])
    built = built.datasource(_SOURCE).span(_NARROW).height(_LOW)
    built = built.reduce_options(ReduceDataOptions().calcs(["lastNotNull"]).values(values=False))
    return built.with_target(prometheus.Dataquery().expr(query["expr"]).instant().ref_id("A"))


if __name__ == "__main__":
    sys.exit(main())
