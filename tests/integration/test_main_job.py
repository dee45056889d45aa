"""The main job, as a user runs it: one command, a summary, and nothing changes the second time."""

import json
import os
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import psycopg
import pytest
from sqlalchemy import Engine, text

from mes.runtime.embedded import EmbeddedPostgres
from mes.runtime.location import libpq_url
from tests.conftest import REPOSITORY
from tests.workshop import write_lines

MES = Path(sys.executable).with_name("mes")


def _mes(home: Path, *arguments: str, cwd: Path | None = None, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [MES, *arguments],
        cwd=cwd or REPOSITORY,
        env={**os.environ, "MES_HOME": str(home), **environment},
        capture_output=True,
        text=True,
        stdin=subprocess.DEVNULL,
        timeout=280,
        check=False,
    )


def _summary(home: Path, *arguments: str, **environment: str) -> dict[str, Any]:
    done = _mes(home, *arguments, "--json", **environment)
    assert done.returncode == 0, done.stderr
    summary: dict[str, Any] = json.loads(done.stdout)
    return summary


@pytest.mark.timeout(600)
def test_real_orders_flow_from_the_exports_to_the_list(data_root: Path, tmp_path: Path) -> None:
    sources = ("--feeds", str(data_root / "feeds"), "--models", str(data_root))
    first = _summary(tmp_path, "demo", "--no-serve", *sources)
    assert first["orders"] == 9999
    assert first["by_status"] == {
        "CLOSED": 9718,
        "CANCELLED": 113,
        "SHIPPED": 106,
        "MANUFACTURING_APPROVED": 60,
        "PRICE_CALCULATED": 2,
    }
    assert (first["models"], first["quotes"], first["quarantined"]) == (16, 9999, 0)
    assert sum(first["anomalies"].values()) == 146 + 2 + 18 + 9 + 3
    assert first["digest"]
    with EmbeddedPostgres(tmp_path) as server, psycopg.connect(server.url()) as conn:
        assert conn.execute("select count(*) from marts.order_list").fetchone() == (9999,)
        (differing,) = conn.execute("""
            select count(*) from (table marts.order_list except table marts.order_list_live) as differing
        """).fetchone() or (None,)
        assert differing == 0
        assert conn.execute("select count(*) from marts.order_list where total is null").fetchone() == (0,)
        # the two that the exports left submitted were priced here, and told
        assert conn.execute("select count(*) from ops.outbox").fetchone() == (2,)


def test_a_file_that_is_no_feed_fails_the_job_by_its_name_and_touches_nothing(
    marts_engine: Engine, tmp_path: Path
) -> None:
    feeds = tmp_path / "feeds"
    write_lines(feeds / "shop/orders.jsonl", [b"\x00\x01 no feed"])
    database = libpq_url(marts_engine.url.render_as_string(hide_password=False))
    failed = _mes(
        tmp_path / "home", "ingest", "--feeds", str(feeds), "--models", str(tmp_path), MES_DATABASE_URL=database
    )
    assert failed.returncode == 2
    assert "shop/orders.jsonl" in failed.stderr
    assert "Traceback" not in failed.stderr
    with marts_engine.begin() as conn:
        left = conn.execute(
            text("""
                select (select count(*) from raw.shop_orders) + (select count(*) from ops.orders)
                    + (select count(*) from ops.quarantine)
            """)
        )
        assert left.scalar_one() == 0


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["demo", "--feeds", "/nowhere", "--no-serve"], "--models"),
        (["ingest", "--models", "/nowhere"], "--feeds"),
        (["ingest", "--feeds", "feeds", "--models", "/nowhere"], "/nowhere"),
    ],
)
def test_wrong_sources_are_explained(tmp_path: Path, arguments: Sequence[str], message: str) -> None:
    failed = _mes(tmp_path, *arguments)
    assert failed.returncode == 2
    assert message in failed.stderr
    assert "Traceback" not in failed.stderr


@pytest.mark.parametrize(
    ("model", "expected"),
    [
        ("meshes/jewelry/mit_ringshowcase_ring.stl", {"volume_mm3": 1182.30, "bodies": 1, "closed": True}),
        ("meshes/jewelry/mit_franout_bracelet.stl", {"volume_mm3": 3473.81, "bodies": 11, "closed": True}),
        ("meshes/trimesh/featuretype.3MF", {"extents_mm": [127, 63.5, 34.925], "closed": False, "unit": "inch"}),
    ],
)
def test_a_quote_from_a_file(data_root: Path, tmp_path: Path, model: str, expected: dict[str, Any]) -> None:
    done = _mes(tmp_path, "quote", str(data_root / model), "--material", "gold585", "--json")
    assert done.returncode == 0, done.stderr
    quote = json.loads(done.stdout)
    for name, value in expected.items():
        assert quote[name] == (pytest.approx(value, rel=1e-5) if isinstance(value, float | list) else value)
    assert quote["price"]["currency"] == "USD"
    total = sum(round(float(line["amount"]) * 100) for line in quote["breakdown"])
    assert total == round(float(quote["price"]["amount"]) * 100)


def test_a_quote_in_words(data_root: Path, tmp_path: Path) -> None:
    done = _mes(
        tmp_path, "quote", str(data_root / "meshes/jewelry/mit_ringshowcase_ring.stl"), "--material", "platinum950"
    )
    assert done.returncode == 0, done.stderr
    assert "1,182.30 mm3" in done.stdout
    assert "Total" in done.stdout


@pytest.mark.parametrize(
    ("arguments", "message"),
    [(["--material", "tin"], "silver925"), (["--material", "gold585", "--finish", "shiny"], "polished")],
)
def test_a_quote_that_cannot_be_is_explained(
    data_root: Path, tmp_path: Path, arguments: Sequence[str], message: str
) -> None:
    failed = _mes(tmp_path, "quote", str(data_root / "meshes/jewelry/mit_ringshowcase_ring.stl"), *arguments)
    assert failed.returncode == 2
    assert message in failed.stderr


def test_a_file_that_is_no_model_is_refused(tmp_path: Path) -> None:
    file = tmp_path / "letter.stl"
    file.write_text("Dear workshop, please make me a ring.")
    failed = _mes(tmp_path, "quote", str(file), "--material", "gold585")
    assert failed.returncode == 2
    assert failed.stderr.startswith("error: ")
    assert "Traceback" not in failed.stderr
