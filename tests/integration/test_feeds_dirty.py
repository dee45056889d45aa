"""Dirty feeds: good rows land, bad rows wait with file, line and reason, and nothing is half loaded."""

import json
from pathlib import Path

import pytest

from mes.feeds.catalogue import SHOP_ORDERS
from mes.feeds.files import UnreadableFeed
from tests.feeds_dirt import make_dirty
from tests.workshop import Workshop, write_lines


@pytest.mark.parametrize("seed", [1, 2, 3])
def test_good_rows_land_and_each_bad_row_is_kept_with_its_place(
    workshop: Workshop, data_root: Path, tmp_path: Path, seed: int
) -> None:
    dirt = make_dirty(data_root / "feeds", tmp_path / "feeds", seed=seed, share=0.05, limit=1500)
    workshop.main(tmp_path / "feeds")
    kept = workshop.rows("select file, line, reason, advice from ops.quarantine where resolved_at is null")
    assert {(file, line) for file, line, _, _ in kept} == dirt.quarantined
    assert all(reason and advice for _, _, reason, advice in kept)
    landed = set(workshop.rows("select source, external_id from ops.orders"))
    assert landed == dirt.landing


def test_loading_dirty_feeds_again_changes_nothing(workshop: Workshop, data_root: Path, tmp_path: Path) -> None:
    make_dirty(data_root / "feeds", tmp_path / "feeds", seed=4, share=0.05, limit=500)
    workshop.main(tmp_path / "feeds")
    before = workshop.content()
    workshop.main(tmp_path / "feeds")
    assert workshop.content() == before


def test_a_mended_row_leaves_quarantine_and_lands(workshop: Workshop, data_root: Path, tmp_path: Path) -> None:
    good = (data_root / "feeds/shop/orders.jsonl").read_text().splitlines()[0]
    path = tmp_path / "feeds/shop/orders.jsonl"
    write_lines(path, [good.replace('"silver925"', '"tin"')])
    workshop.main(tmp_path / "feeds")
    assert workshop.rows("select kind, line from ops.quarantine where resolved_at is null") == [("unknown_material", 1)]
    write_lines(path, [good])
    workshop.main(tmp_path / "feeds")
    assert workshop.rows("select count(*) from ops.quarantine where resolved_at is null") == [(0,)]
    assert workshop.rows("select count(*) from ops.orders") == [(1,)]


def test_an_order_whose_model_is_missing_waits_for_it(workshop: Workshop, data_root: Path, tmp_path: Path) -> None:
    order = json.loads((data_root / "feeds/shop/orders.jsonl").read_text().splitlines()[0])
    order["items"][0]["model"] = "ring.stl"
    write_lines(tmp_path / "feeds/shop/orders.jsonl", [json.dumps(order)])
    workshop.models = tmp_path / "models"
    workshop.models.mkdir()
    report = workshop.main(tmp_path / "feeds")
    assert (report.applied.orders_new, report.quarantined) == (0, 1)
    assert workshop.rows("select kind, stage from ops.quarantine") == [("missing_model", "apply")]
    (workshop.models / "ring.stl").write_bytes((data_root / "meshes/jewelry/mit_ringshowcase_ring.stl").read_bytes())
    report = workshop.main(tmp_path / "feeds")
    assert (report.applied.orders_new, report.quarantined) == (1, 0)
    assert workshop.rows("select count(*) from ops.quarantine where resolved_at is null") == [(0,)]


@pytest.mark.parametrize(
    ("model", "kind"),
    [
        ("../../etc/passwd", "outside_model_root"),
        ("/etc/passwd", "outside_model_root"),
        ("link.stl", "outside_model_root"),
        ("broken.stl", "unreadable_model"),
        ("0" * 64, "missing_model"),
    ],
)
def test_a_model_that_cannot_be_used_keeps_its_order_out(
    workshop: Workshop, data_root: Path, tmp_path: Path, model: str, kind: str
) -> None:
    workshop.models = tmp_path / "models"
    workshop.models.mkdir()
    (workshop.models / "link.stl").symlink_to("/etc/passwd")
    (workshop.models / "broken.stl").write_bytes(b"solid nothing\nendsolid nothing\n")
    order = json.loads((data_root / "feeds/shop/orders.jsonl").read_text().splitlines()[0])
    order["items"][0]["model"] = model
    write_lines(tmp_path / "feeds/shop/orders.jsonl", [json.dumps(order)])
    workshop.main(tmp_path / "feeds")
    assert workshop.rows("select kind, file, line from ops.quarantine") == [(kind, "shop/orders.jsonl", 1)]
    assert workshop.rows("select count(*) from ops.orders") == [(0,)]


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("orders.parquet", b"PAR1 this is no parquet file PAR1"),
        ("orders.csv", b"a,b\n1,2\n"),
        ("orders.csv", b"\xff\xfe\x00"),
        ("orders.jsonl", b"\x00\x01\x02 not a feed\n<html>\n"),
    ],
)
def test_a_file_that_is_no_feed_fails_the_load_and_touches_nothing(
    workshop: Workshop, tmp_path: Path, name: str, content: bytes
) -> None:
    path = tmp_path / "feeds/shop" / name
    path.parent.mkdir(parents=True)
    path.write_bytes(content)
    with pytest.raises(UnreadableFeed, match=name):
        workshop.load(tmp_path / "feeds", only=[SHOP_ORDERS])
    for table in ("raw.shop_orders", "ops.quarantine"):
        assert workshop.rows(f"select count(*) from {table}") == [(0,)]


def test_a_folder_that_is_not_there_is_named(workshop: Workshop, tmp_path: Path) -> None:
    with pytest.raises(UnreadableFeed, match="MES_FEEDS_URL"):
        workshop.load(tmp_path / "nowhere", only=[SHOP_ORDERS])


def test_an_empty_folder_loads_nothing(workshop: Workshop, tmp_path: Path) -> None:
    (tmp_path / "feeds").mkdir()
    report = workshop.main(tmp_path / "feeds")
    assert (report.applied.orders_new, report.quarantined) == (0, 0)
