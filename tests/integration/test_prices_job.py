"""Prices follow rates by themselves, and a backlog of old measures is worked off, whatever one model does."""

import os
import struct
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import dagster as dg
import pytest
from sqlalchemy import Connection, Engine, text

from assets.prices import PRICE_CHECKS, cost_table, geometry_backlog, renewals
from assets.resources import Database, Models
from mes import config
from mes.models.store import ObjectStore
from mes.pricing.geometry import KERNEL_VERSION
from mes.pricing.rates import rate_cards, rate_store
from pipelines.sensors import rate_card_activated
from tests.callers import add_model
from tests.conftest import REPOSITORY

CARD = rate_cards.load_sample()[-1]
# Dagster asks resources that have no settings for their fields by pydantic's old name
pytestmark = pytest.mark.filterwarnings("ignore:The `__fields__` attribute is deprecated")


@pytest.fixture
def workshop(marts_engine: Engine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Engine]:
    """A database and an object store, configured as Dagster's processes find them."""
    monkeypatch.setenv("MES_DATABASE_URL", marts_engine.url.render_as_string(hide_password=False))
    monkeypatch.setenv("MES_HOME", str(tmp_path))
    config.load.cache_clear()
    yield marts_engine
    config.load.cache_clear()


def _numbers(result: dg.ExecuteInProcessResult, node: str) -> dict[str, object]:
    (event,) = result.asset_materializations_for_node(node)
    return {name: value.value for name, value in event.metadata.items()}


def test_the_job_refreshes_unit_costs_and_proves_them(workshop: Engine) -> None:
    with workshop.begin() as conn:
        add_model(conn)
    for new in (16, 0):
        result = dg.materialize([cost_table, renewals, *PRICE_CHECKS], resources={"database": Database()})
        assert _numbers(result, "ops__cost_table")["new"] == new
        assert _numbers(result, "ops__renewals")["orders"] == 0
        assert {check.check_name: check.passed for check in result.get_asset_check_evaluations()} == {
            "equals_single_quotes": True,
            "nothing_is_behind": True,
        }


def test_the_checks_tell_what_is_wrong(workshop: Engine) -> None:
    with workshop.begin() as conn:
        add_model(conn)
    dg.materialize([cost_table], resources={"database": Database()})
    with workshop.begin() as conn:
        conn.execute(text("update ops.cost_table set unit_price = 1 where finish = 'satin'"))
        conn.execute(text("delete from ops.cost_table where finish = 'plated'"))
    with dg.DagsterInstance.ephemeral() as instance:
        result = dg.materialize(
            [cost_table, *PRICE_CHECKS],
            selection=dg.AssetSelection.checks(*PRICE_CHECKS),
            resources={"database": Database()},
            instance=instance,
        )
    told = {check.check_name: check for check in result.get_asset_check_evaluations()}
    assert not told["equals_single_quotes"].passed
    assert told["equals_single_quotes"].metadata["rows"].value == 4
    assert not told["nothing_is_behind"].passed
    assert told["nothing_is_behind"].metadata["missing"].value == 4


def test_each_activation_of_a_card_starts_the_job_once(workshop: Engine) -> None:
    def tick(cursor: str | None) -> dg.SensorResult | dg.SkipReason:
        with dg.build_sensor_context(cursor=cursor, resources={"database": Database()}) as context:
            result = rate_card_activated(context)
        assert isinstance(result, dg.SensorResult | dg.SkipReason)
        return result

    assert isinstance(tick(None), dg.SkipReason)
    with workshop.begin() as conn:
        rate_store.load(conn, [CARD], draft=True)
    assert isinstance(tick(None), dg.SkipReason)
    with workshop.begin() as conn:
        rate_store.activate(conn, CARD.version)
    first = tick(None)
    assert isinstance(first, dg.SensorResult)
    assert [request.tags for request in first.run_requests or []] == [{"mes/rate_card": CARD.version}]
    assert isinstance(tick(first.cursor), dg.SkipReason)
    with workshop.begin() as conn:
        rate_store.load(conn, [CARD.model_copy(update={"name": "another"})])
    second = tick(first.cursor)
    assert isinstance(second, dg.SensorResult)
    assert second.cursor != first.cursor
    assert [request.run_key for request in second.run_requests or []] == [second.cursor]


def _tetrahedron(size: float) -> bytes:
    """A binary STL of the corner of a cube: volume size**3 / 6."""
    corners = [(0.0, 0.0, 0.0), (size, 0.0, 0.0), (0.0, size, 0.0), (0.0, 0.0, size)]
    faces = [(0, 2, 1), (0, 1, 3), (1, 2, 3), (0, 3, 2)]
    triangles = [struct.pack("<12fH", 0, 0, 0, *(x for corner in face for x in corners[corner]), 0) for face in faces]
    return bytes(80) + struct.pack("<I", len(triangles)) + b"".join(triangles)


def _stored(conn: Connection, folder: Path, content: bytes) -> str:
    """A model that kernel 1 has measured."""
    file = folder / "model.stl"
    file.write_bytes(content)
    model_id = ObjectStore(config.load().objects_location).put_model(file).sha256
    _known(conn, model_id)
    return model_id


def _known(conn: Connection, model_id: str) -> None:
    conn.execute(
        text("insert into ops.models (model_id, bytes, format, file_name) values (:id, 1, 'stl', 'old.stl')"),
        {"id": model_id},
    )
    conn.execute(
        text("""
            insert into ops.geometries (model_id, kernel_version, triangles, volume_mm3, area_mm2, extent_x_mm,
                extent_y_mm, extent_z_mm, bodies, closed, open_edges, facing)
            values (:id, 1, 4, 1, 1, 1, 1, 1, 1, true, 0, 'outward')
        """),
        {"id": model_id},
    )


def _measured(conn: Connection) -> dict[str, float]:
    rows = conn.execute(
        text("select model_id, volume_mm3 from ops.geometries where kernel_version = :kernel"),
        {"kernel": KERNEL_VERSION},
    )
    return {row.model_id: row.volume_mm3 for row in rows}


def _work_off(part: str) -> dict[str, object]:
    with dg.DagsterInstance.ephemeral() as instance:
        result = dg.materialize(
            [geometry_backlog],
            partition_key=part,
            resources={"database": Database(), "models": Models()},
            instance=instance,
        )
    return _numbers(result, "ops__geometry_backlog")


def test_one_bad_model_stops_no_other_and_the_rest_is_left_for_next_time(workshop: Engine, tmp_path: Path) -> None:
    with workshop.begin() as conn:
        good = {_stored(conn, tmp_path, _tetrahedron(size)): size**3 / 6 for size in range(10, 40)}
        refused = _stored(conn, tmp_path, b"no model at all")
        missing = refused[0] + 63 * "0"
        _known(conn, missing)
        elsewhere = [model_id for model_id in good if model_id[0] != refused[0]]
    numbers = _work_off(refused[0])
    here = {model_id: volume for model_id, volume in good.items() if model_id[0] == refused[0]}
    assert (numbers["waiting"], numbers["measured"], numbers["failed"]) == (len(here) + 2, len(here), 2)
    failures = numbers["failures"]
    assert isinstance(failures, dg.TableMetadataValue)
    assert {record.data["model"]: record.data["kind"] for record in failures.records} == {
        refused: "unknown_model_format",
        missing: "no_such_object",
    }
    with workshop.begin() as conn:
        assert _measured(conn) == pytest.approx(here)
    assert _work_off(refused[0])["measured"] == 0
    part = elsewhere[0][0]
    assert _work_off(part)["measured"] == sum(model_id[0] == part for model_id in good)


@pytest.mark.timeout(300)
def test_the_job_measures_in_processes_of_its_own(workshop: Engine, tmp_path: Path) -> None:
    with workshop.begin() as conn:
        model_id = _stored(conn, tmp_path, _tetrahedron(30))
    home = tmp_path / "dagster"
    home.mkdir()
    argv = [sys.executable, "-m", "dagster", "job", "execute", "-m", "pipelines.definitions", "-j", "measure_backlog"]
    tags = f'{{"dagster/partition": "{model_id[0]}"}}'
    done = subprocess.run(
        [*argv, "--tags", tags],
        cwd=REPOSITORY,
        env={**os.environ, "DAGSTER_HOME": str(home), "PYTHONWARNINGS": "ignore"},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=240,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-2000:]
    assert "Launching subprocess" in done.stderr
    with workshop.begin() as conn:
        assert _measured(conn) == pytest.approx({model_id: 4500})
