"""Dirty feeds: good rows land, bad rows wait with file, line and reason, and nothing is half loaded."""

import copy
import csv
import io
import json
from datetime import date
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from mes.feeds import archive, land
from mes.feeds.catalogue import CRM_ORDER_EVENTS, CRM_ORDERS, SHOP_ORDERS
from mes.feeds.files import FeedFolder, UnreadableFeed
from tests.feeds_dirt import make_dirty
from tests.workshop import SINCE, Workshop, write_lines

# an order as the shop exports it; its model is looked up only when it is applied
ORDER: dict[str, Any] = {
    "external_id": "good",
    "placed_at": "2018-01-01T00:00:00Z",
    "due_at": "2018-02-01T00:00:00Z",
    "updated_at": "2018-01-01T00:00:00Z",
    "customer": {"external_id": "c", "name": "Zoë \U0001f600", "tier": "vip"},
    "currency": "USD",
    "paid": "12.50",
    "rush": False,
    "status": "SUBMITTED",
    "items": [{"line": 1, "model": "ring.stl", "material": "silver925", "finish": "polished", "quantity": 1}],
}


@pytest.mark.parametrize("seed", [1, 2, 3])
def test_good_rows_land_and_each_bad_row_is_kept_with_its_place(
    workshop: Workshop, data_root: Path, tmp_path: Path, seed: int
) -> None:
    dirt = make_dirty(data_root / "feeds", tmp_path / "feeds", seed=seed, share=0.05, limit=1500)
    workshop.main(tmp_path / "feeds")
    kept = workshop.rows("select file, line, reason, advice from ops.quarantine where stage <> 'wait'")
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
        ("orders.csv", b"<!doctype html>\n<p>500</p>\n"),
        ("orders.jsonl", b"\x00\x01\x02 not a feed\n<html>\n"),
        ("orders.jsonl", '{"external_id": "1"}\n'.encode("utf-16")),
        ("orders.jsonl", b'[\n {\n  "external_id": "1"\n }\n]\n'),
        ("orders.parquet", b""),
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


def _order(external_id: str, *, item: dict[str, object] | None = None, **changes: object) -> dict[str, Any]:
    order = copy.deepcopy(ORDER) | {"external_id": external_id} | changes
    order["items"] = [each | (item or {}) for each in order["items"]] if "items" not in changes else changes["items"]
    return order


def _line(external_id: str, **changes: Any) -> str:
    return json.dumps(_order(external_id, **changes))


def _customer(**changes: object) -> dict[str, object]:
    return {**ORDER["customer"], **changes}


def _csv(*orders: dict[str, Any]) -> str:
    text = io.StringIO(newline="")
    table = csv.writer(text)
    table.writerow(ORDER)
    for order in orders:
        table.writerow([json.dumps(cell) if isinstance(cell, dict | list) else cell for cell in order.values()])
    return text.getvalue()


def _write(path: Path, content: bytes) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)


def _parquet(path: Path, frame: pl.DataFrame) -> None:
    buffer = io.BytesIO()
    frame.write_parquet(buffer)
    _write(path, buffer.getvalue())


def _landed(workshop: Workshop) -> list[object]:
    return [row[0] for row in workshop.rows("select external_id from raw.shop_orders order by file, line")]


def _refused(workshop: Workshop) -> list[tuple[object, ...]]:
    return workshop.rows("select line, kind from ops.quarantine where resolved_at is null order by file, line")


BAD_LINES = {
    "NUL in a name": (_line("x", customer=_customer(name="a\0b")), "wrong_type", "control characters"),
    "half a character": (_line("x", customer=_customer(name="a\ud800b")), "not_text", "ud800"),
    "long name": (_line("x", customer=_customer(name="n" * 501)), "wrong_type", "longer than 500"),
    "NUL in a status, which the reason quotes": (_line("x", status="CLO\0SED"), "unknown_status", "u0000"),
    "a status of 900 kB, which the reason quotes": (_line("x", status="x" * 900_000), "unknown_status", "`status`"),
    "long model": (_line("x", item={"model": "\U0001f600" * 251}), "wrong_type", "longer than 1,000 bytes"),
    "due in year 262000": (_line("x", due_at="+262000-01-01T00:00:00Z"), "time_too_late", "ten years"),
    "placed at the end of time": (_line("x", placed_at="+262142-12-31T00:00:00Z"), "time_in_future", "future"),
    "NaN": (_line("x", paid=float("nan")), "not_json", "NaN"),
    "infinite": (_line("x", paid=float("inf")), "not_json", "Infinity"),
    "deep": (_line("x")[:-1] + ', "note": ' + "[" * 5000 + "]" * 5000 + "}", "not_json", "too deeply"),
    "key twice": (
        _line("x").replace('"status":', '"status": "CLOSED", "status" :'),
        "not_json",
        '"status" stands twice',
    ),
    "item's key twice": (_line("x").replace('"line": 1', '"line": 1, "line": 2'), "not_json", '"line" stands twice'),
}


def test_what_postgres_or_polars_cannot_hold_is_the_fault_of_its_row(workshop: Workshop, tmp_path: Path) -> None:
    lines = [line for line, _, _ in BAD_LINES.values()]
    write_lines(tmp_path / "feeds/shop/orders.jsonl", [_line("first"), *lines, _line("last", note={"a": ':"": "'})])
    landed = workshop.load(tmp_path / "feeds", only=[SHOP_ORDERS])["shop_orders"]
    assert (landed.new, landed.quarantined) == (2, len(lines))
    assert _landed(workshop) == ["first", "last"]
    kept = workshop.rows("select kind, reason from ops.quarantine order by line")
    for (kind, reason), (name, (_, expected, words)) in zip(kept, BAD_LINES.items(), strict=True):
        assert (kind, words in str(reason)) == (expected, True), (name, reason)


def test_a_bad_csv_row_leaves_the_others_alone(workshop: Workshop, tmp_path: Path) -> None:
    rows = [
        _order("deep", items="[" * 2000),
        _order("surrogate", customer='{"external_id": "\\ud800"}'),
        _order("nan", items='[{"line": 1, "quantity": NaN}]'),
        _order("x" * 300_000),
        _order("y" * 1_200_000),
        _order("badbyte"),
        _order("nul\0"),
        _order("good-\ufffd"),
    ]
    content = _csv(_order("first"), *rows).encode().replace(b"badbyte", b"bad\xff")
    unbalanced = b'"x,1,2,3\r\n'
    short = b"a,b\r\n"
    last = _csv(_order("last")).encode().split(b"\r\n", 1)[1]
    cut = last.replace(b"last", b"cut")[:-60] + b"\r\n"
    _write(tmp_path / "feeds/shop/orders.csv", content + short + unbalanced + last + cut + short)
    workshop.load(tmp_path / "feeds", only=[SHOP_ORDERS])
    assert _landed(workshop) == ["first", "good-\ufffd", "last"]
    assert _refused(workshop) == [
        (3, "not_json"),
        (4, "not_text"),
        (5, "not_json"),
        (6, "wrong_type"),
        (7, "too_long"),
        (8, "not_text"),
        (9, "wrong_type"),
        (11, "wrong_cells"),
        (12, "wrong_cells"),
        (14, "not_json"),
        (15, "wrong_cells"),
    ]


def test_parquet_columns_of_any_type_are_read_or_refused_by_row(workshop: Workshop, tmp_path: Path) -> None:
    feeds = tmp_path / "feeds"
    frame = pl.DataFrame([_order("a"), _order("b")])
    as_days = frame.with_columns(pl.col("placed_at", "due_at").str.slice(0, 10).str.to_date())
    no_day = pl.Series([2**30, 17_600], dtype=pl.Int32).cast(pl.Date)
    cells = [json.dumps(ORDER["items"]), "[" * 3000]
    for name, variant in {
        "1-bytes": frame.with_columns(pl.col("external_id").cast(pl.Binary), extra=pl.lit(b"\xff")),
        "2-days": as_days,
        "3-bad-bytes": frame.with_columns(external_id=pl.Series([b"c", b"\xff"])),
        "4-bad-days": frame.with_columns(due_at=no_day, external_id=pl.lit("d")),
        "5-nan": frame.head(1).with_columns(paid=pl.lit(float("nan"))),
        "6-cells": frame.with_columns(items=pl.Series(cells), external_id=pl.lit("e")),
    }.items():
        _parquet(feeds / f"shop/orders-{name}.parquet", variant)
    workshop.load(feeds, only=[SHOP_ORDERS])
    assert sorted(map(str, _landed(workshop))) == ["a", "b", "c", "d", "e"]
    assert _refused(workshop) == [
        (2, "wrong_type"),
        (1, "wrong_type"),
        (1, "wrong_type"),
        (2, "not_json"),
    ]
    # a day is its midnight in UTC, so the row that says so in full is the same row
    write_lines(tmp_path / "again/shop/orders.jsonl", [_line("a"), _line("b")])
    assert workshop.load(tmp_path / "again", only=[SHOP_ORDERS])["shop_orders"].new == 0


@pytest.mark.parametrize(
    ("name", "content", "kept"),
    [
        ("orders.jsonl", _line("x")[:100].encode(), [(1, "not_json")]),
        ("orders.jsonl", b'{"external_id": "\xff"}\n', [(1, "not_text")]),
        ("orders.csv", _csv().encode() + b"x,2018-01-01T00:00:00Z", [(2, "wrong_cells")]),
        ("orders.csv", _csv(_order("x"))[:-60].encode(), [(2, "not_json")]),
        ("orders.jsonl", b"\xef\xbb\xbf\n", []),
        ("orders.csv", b"", []),
        ("orders.csv", _csv().encode(), []),
    ],
)
def test_a_feed_of_nothing_but_bad_rows_is_still_a_feed(
    workshop: Workshop, tmp_path: Path, name: str, content: bytes, kept: list[tuple[int, str]]
) -> None:
    _write(tmp_path / "feeds/shop" / name, content)
    workshop.load(tmp_path / "feeds", only=[SHOP_ORDERS])
    assert _refused(workshop) == kept


def test_a_table_without_the_columns_of_its_feed_is_named(workshop: Workshop, tmp_path: Path) -> None:
    _parquet(tmp_path / "feeds/shop/orders.parquet", pl.DataFrame([ORDER]).drop("items"))
    with pytest.raises(UnreadableFeed, match=r"orders\.parquet lacks the columns items"):
        workshop.load(tmp_path / "feeds", only=[SHOP_ORDERS])


def test_the_archive_loses_no_row_to_a_smaller_export(workshop: Workshop, tmp_path: Path) -> None:
    path, key = tmp_path / "feeds/shop/orders.jsonl", "raw/shop_orders/2018-01.parquet"
    write_lines(path, [_line("a", note="kept as it stood"), _line("b")])
    workshop.load(tmp_path / "feeds", only=[SHOP_ORDERS])
    write_lines(path, [_line("b", updated_at="2018-01-05T00:00:00Z")])
    for _ in range(2):
        workshop.load(tmp_path / "feeds", only=[SHOP_ORDERS])
        kept = pl.read_parquet(io.BytesIO(workshop.store.get(key)))
        assert kept["external_id"].to_list() == ["a", "b", "b"]
        assert json.loads(kept["raw"][0])["note"] == "kept as it stood"
    workshop.store.put(key, b"no Parquet")
    with pytest.raises(archive.DamagedArchive, match="2018-01"):
        workshop.load(tmp_path / "feeds", only=[SHOP_ORDERS])


def test_quarantine_of_a_file_that_is_gone_is_resolved(workshop: Workshop, tmp_path: Path) -> None:
    bad = _line("b", item={"material": "tin"})
    write_lines(tmp_path / "feeds/shop/orders-1.jsonl", [_line("a"), bad])
    workshop.load(tmp_path / "feeds", only=[SHOP_ORDERS])
    assert _refused(workshop) == [(2, "unknown_material")]
    # a place without any file of the feed says nothing about its rows
    (tmp_path / "elsewhere").mkdir()
    workshop.load(tmp_path / "elsewhere", only=[SHOP_ORDERS])
    assert _refused(workshop) == [(2, "unknown_material")]
    (tmp_path / "feeds/shop/orders-1.jsonl").unlink()
    write_lines(tmp_path / "feeds/shop/orders-2.jsonl", [_line("b")])
    workshop.load(tmp_path / "feeds", only=[SHOP_ORDERS])
    assert _refused(workshop) == []


def test_an_event_id_is_reused_whatever_month_is_loaded(workshop: Workshop, tmp_path: Path) -> None:
    event = {"event_id": "e", "order": {"source": "shop", "external_id": "a"}, "sequence": 1, "type": "CLOSED"}
    days = ["2018-01-05T00:00:00Z", "2018-02-05T00:00:00Z"]
    write_lines(tmp_path / "feeds/crm/order_events.jsonl", [json.dumps(event | {"occurred_at": day}) for day in days])
    for month in (date(2018, 2, 1), date(2018, 1, 1), date(2018, 3, 1)):
        workshop.load(tmp_path / "feeds", only=[CRM_ORDER_EVENTS], months={month})
        assert _refused(workshop) == [(2, "event_id_reused")]
    assert workshop.rows("select occurred_at::date::text from raw.crm_order_events") == [("2018-01-05",)]


def test_files_that_no_feed_reads_are_told(workshop: Workshop, tmp_path: Path) -> None:
    feeds = tmp_path / "feeds"
    for name in ("orders.json", "orders.jsonl.gz", "notes/readme.txt", ".hidden"):
        _write(feeds / "shop" / name, b"?")
    write_lines(feeds / "shop/ORDERS-1.JSONL", [_line("a")])
    write_lines(feeds / "crm/order_events.jsonl", [])
    landed = workshop.load(feeds, only=[SHOP_ORDERS, CRM_ORDERS])
    assert landed["shop_orders"].ignored_files == ["shop/notes/readme.txt", "shop/orders.json", "shop/orders.jsonl.gz"]
    assert landed["shop_orders"].new == 1
    assert landed["crm_orders"].ignored_files == []


def test_one_unreadable_feed_does_not_hide_the_months_of_the_others(workshop: Workshop, tmp_path: Path) -> None:
    write_lines(tmp_path / "feeds/shop/orders.jsonl", [b"\x00 no feed"])
    write_lines(tmp_path / "feeds/crm/orders.jsonl", [_line("a")])
    months, unreadable = land.readable_months(FeedFolder(str(tmp_path / "feeds")), now=workshop.now, since=SINCE)
    assert months == {date(2018, 1, 1)}
    assert list(unreadable) == ["shop_orders"]
    assert "shop/orders.jsonl" in unreadable["shop_orders"]
