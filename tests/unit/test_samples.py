"""The generated shop is what it says: closed bodies of known volume, and orders that live as orders do."""

import json
import re
import struct
import zipfile
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from hashlib import sha256
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest

from mes.samples import mesh_files, meshes
from mes.samples.catalogue import SampleModel, sample_models
from mes.samples.shop import BadSampleRequest, SampleFolderTaken, SampleShop, generate
from tests import feeds_dirt

Row = dict[str, Any]

NOW = datetime(2026, 11, 22, 15, 30, tzinfo=UTC)
MODELS = sample_models(7)
OPEN_STATUSES = {
    "SUBMITTED",
    "PRICE_CALCULATED",
    "MANUFACTURING_APPROVED",
    "MANUFACTURING_STARTED",
    "MANUFACTURING_COMPLETED",
    "PACKAGING",
}
# the contract's columns, in its sequence
ORDER_KEYS = ["external_id", "placed_at", "due_at", "updated_at", "customer", "currency", "paid", "rush", "items"]
ORDER_KEYS += ["status"]
ITEM_KEYS = ["line", "model", "longest_side_mm", "material", "finish", "quantity"]
WHOLE_SECOND_UTC = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ")


@pytest.fixture(scope="module")
def shop(tmp_path_factory: pytest.TempPathFactory) -> SampleShop:
    return generate(tmp_path_factory.mktemp("samples") / "shop", now=NOW)


def rows(shop: SampleShop, name: str) -> list[Row]:
    """The rows of a feed, without a half line at its end."""
    lines = (shop.feeds / name).read_text(encoding="utf-8").split("\n")
    return [json.loads(line) for line in lines[:-1]]


def orders(shop: SampleShop) -> list[Row]:
    return [row | {"source": source} for source in ("shop", "crm") for row in rows(shop, f"{source}/orders.jsonl")]


def facts(shop: SampleShop) -> dict[tuple[str, str], dict[str, str]]:
    """Per order, the time of each of its facts."""
    found: dict[tuple[str, str], dict[str, str]] = {}
    for name in ("crm/order_events.jsonl", "legacy_mes/status_history.jsonl"):
        for row in rows(shop, name):
            key = (row["order"]["source"], row["order"]["external_id"])
            found.setdefault(key, {})[row["type"]] = row["occurred_at"]
    return found


def unpaired_edges(faces: np.ndarray) -> int:
    """Number of directed edges that do not have exactly one twin in the other direction."""
    start, end = faces.ravel().astype(np.int64), np.roll(faces, -1, axis=1).ravel().astype(np.int64)
    edges, count = np.unique(np.stack([start, end], axis=1), axis=0, return_counts=True)
    directed = {(a, b): n for (a, b), n in zip(edges.tolist(), count.tolist(), strict=True)}
    return sum(n != 1 or directed.get((b, a)) != 1 for (a, b), n in directed.items())


@pytest.mark.parametrize("model", MODELS, ids=lambda model: model.path)
def test_every_body_is_closed_and_faces_outward_but_the_open_locket(model: SampleModel) -> None:
    open_edges = sum(unpaired_edges(body.faces) for body in model.bodies)
    assert (open_edges > 0) == (model.path == "pendants/locket_open.stl")
    assert all(body.volume_mm3 > 0 for body in model.bodies)
    assert 1_000 <= model.triangles <= 60_000


def test_every_format_and_both_units_occur() -> None:
    assert 12 <= len(MODELS) <= 16
    assert {model.form for model in MODELS} == {"stl", "stl_text", "obj", "ply", "3mf"}
    assert [model.path for model in MODELS if model.unit == "inch"] == ["rings/comfort_band_inches.3mf"]


def test_no_triangle_is_degenerate_in_single_precision() -> None:
    for body in (body for model in MODELS for body in model.bodies):
        corners = body.vertices_mm.astype(np.float32)[body.faces]
        doubled = np.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0])
        assert np.linalg.norm(doubled, axis=1).min() > 0


def test_a_torus_has_the_volume_of_the_formula() -> None:
    fine = meshes.torus(10.0, 2.0, segments=512, points=256)
    assert fine.volume_mm3 == pytest.approx(2 * np.pi**2 * 10.0 * 2.0**2, rel=1e-3)


def test_a_sphere_has_the_volume_of_the_formula() -> None:
    assert meshes.sphere(3.0, segments=256, rings=256).volume_mm3 == pytest.approx(4 / 3 * np.pi * 27.0, rel=1e-3)


def test_a_band_has_the_volume_that_pappus_gives_its_profile() -> None:
    side, arc = 2.0 * meshes.D_SIDE, 2.0 * (1 - meshes.D_SIDE)
    # a rectangle of `side` x 5 and half an ellipse with half axes `arc` and 2.5, each on its centroid's way round
    rectangle = side * 5.0 * 2 * np.pi * (9.0 + side / 2)
    half_ellipse = np.pi / 2 * arc * 2.5 * 2 * np.pi * (9.0 + side + 4 * arc / (3 * np.pi))
    band = meshes.band(18.0, 5.0, 2.0, segments=512, points=600)
    assert band.volume_mm3 == pytest.approx(rectangle + half_ellipse, rel=1e-3)
    assert meshes.longest_side_mm([band]) == pytest.approx(22.0, abs=1e-3)


def test_a_straight_plate_has_area_times_height() -> None:
    square = meshes.circle(4) * 5.0
    prism = meshes.lofted(square, np.array([[0.0, 0.0], [1.0, 0.0], [1.0, 3.0], [0.0, 3.0]]))
    assert prism.volume_mm3 == pytest.approx(50.0 * 3.0)


@pytest.mark.parametrize("outline", [meshes.heart(16.0), meshes.star(9.0), meshes.cushion()])
def test_outlines_are_star_shaped_so_that_their_plates_do_not_fold(outline: np.ndarray) -> None:
    following = np.roll(outline, -1, axis=0)
    turns = outline[:, 0] * following[:, 1] - outline[:, 1] * following[:, 0]
    assert (turns > 0).all() or (turns < 0).all()


def test_turning_and_moving_keeps_the_volume() -> None:
    torus = meshes.torus(5.0, 1.0)
    turned = torus.rotated(0, 0.7).rotated(1, 1.1).rotated(2, 2.3).moved(4.0, -3.0, 9.0)
    assert turned.volume_mm3 == pytest.approx(torus.volume_mm3)
    assert torus.scaled(x=1.5).volume_mm3 == pytest.approx(1.5 * torus.volume_mm3)


def soup_stl(path: Path) -> np.ndarray:
    content = path.read_bytes()
    (count,) = struct.unpack_from("<I", content, 80)
    assert len(content) == 84 + 50 * count
    return np.array([struct.unpack_from("<9f", content, 84 + 50 * n + 12) for n in range(count)]).reshape(-1, 3, 3)


def soup_stl_text(path: Path) -> np.ndarray:
    numbers = re.findall(r"vertex (\S+) (\S+) (\S+)", path.read_text(encoding="ascii"))
    return np.array(numbers, dtype=float).reshape(-1, 3, 3)


def soup_obj(path: Path) -> np.ndarray:
    lines = [line.split() for line in path.read_text(encoding="ascii").splitlines()]
    vertices = np.array([line[1:] for line in lines if line[0] == "v"], dtype=float)
    soup: np.ndarray = vertices[np.array([line[1:] for line in lines if line[0] == "f"], dtype=int) - 1]
    return soup


def soup_ply(path: Path) -> np.ndarray:
    header, _, body = path.read_bytes().partition(b"end_header\n")
    vertex_count, face_count = (int(number) for number in re.findall(rb"element \w+ (\d+)", header))
    vertices = np.frombuffer(body, "<f4", vertex_count * 3).reshape(-1, 3)
    faces = [struct.unpack_from("<B3i", body, vertex_count * 12 + 13 * n) for n in range(face_count)]
    assert len(body) == vertex_count * 12 + face_count * 13
    assert {face[0] for face in faces} == {3}
    return vertices[np.array(faces)[:, 1:]].astype(float)


def soup_3mf(path: Path) -> np.ndarray:
    with zipfile.ZipFile(path) as package:
        text = package.read("3D/3dmodel.model").decode()
    scale = {"millimeter": 1.0, "inch": 25.4}[re.findall(r'<model unit="(\w+)"', text)[0]]
    triangles = []
    for mesh in text.split("<object ")[1:]:
        vertices = np.array(re.findall(r'x="(\S+)" y="(\S+)" z="(\S+)"', mesh), dtype=float)
        triangles.append(vertices[np.array(re.findall(r'v1="(\d+)" v2="(\d+)" v3="(\d+)"', mesh), dtype=int)])
    soup: np.ndarray = np.concatenate(triangles) * scale
    return soup


SOUPS = {"stl": soup_stl, "stl_text": soup_stl_text, "obj": soup_obj, "ply": soup_ply, "3mf": soup_3mf}


@pytest.mark.parametrize("form", SOUPS)
def test_a_written_file_holds_the_same_solid(form: mesh_files.Format, tmp_path: Path) -> None:
    bodies = [meshes.torus(9.0, 1.0), meshes.sphere(2.0).moved(x=9.0)]
    mesh_files.write(tmp_path / "piece", bodies, form, "inch")
    corners = SOUPS[form](tmp_path / "piece")
    volume = np.einsum("ij,ij->", corners[:, 0], np.cross(corners[:, 1], corners[:, 2])) / 6
    assert len(corners) == sum(len(body.faces) for body in bodies)
    assert volume == pytest.approx(sum(body.volume_mm3 for body in bodies), rel=1e-5)
    # by position, as a reader of a soup has to see it
    points = np.unique(corners.reshape(-1, 3).astype(np.float32), axis=0, return_inverse=True)[1]
    assert unpaired_edges(points.reshape(-1, 3)) == 0


def test_the_same_seed_gives_the_same_bytes_and_another_seed_others(tmp_path: Path) -> None:
    def digest(folder: str, seed: int) -> dict[str, str]:
        root = generate(tmp_path / folder, seed=seed, orders=150, now=NOW).folder
        files = [path for path in sorted(root.rglob("*")) if path.is_file()]
        return {str(path.relative_to(root)): sha256(path.read_bytes()).hexdigest() for path in files}

    first = digest("first", 3)
    assert digest("second", 3) == first
    assert digest("third", 4) != first
    assert len(first) == len(MODELS) + 4 + 1


def test_generating_twice_changes_nothing(tmp_path: Path) -> None:
    first = generate(tmp_path / "shop", orders=20, now=NOW)
    before = {path: path.stat().st_mtime_ns for path in first.folder.rglob("*")}
    again = generate(tmp_path / "shop", seed=99, orders=50, now=NOW + timedelta(days=3))
    assert again == first
    assert {path: path.stat().st_mtime_ns for path in first.folder.rglob("*")} == before
    assert [path.name for path in tmp_path.iterdir()] == ["shop"]


def test_a_failure_on_the_way_leaves_nothing_behind(tmp_path: Path) -> None:
    def fail(_done: str, step: int, _steps: int) -> None:
        if step == 5:
            raise RuntimeError("the disk is full")

    with pytest.raises(RuntimeError, match="disk is full"):
        generate(tmp_path / "shop", orders=20, now=NOW, progress=fail)
    assert list(tmp_path.iterdir()) == []


def test_two_processes_that_generate_at_once_end_with_one_shop(tmp_path: Path) -> None:
    with ThreadPoolExecutor(2) as both:
        found = list(both.map(lambda seed: generate(tmp_path / "shop", seed=seed, orders=20, now=NOW), (1, 2)))
    assert found[0] == found[1]
    assert [path.name for path in tmp_path.iterdir()] == ["shop"]


def test_a_folder_with_something_else_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "mine.txt").write_text("keep")
    with pytest.raises(SampleFolderTaken, match="another folder"):
        generate(tmp_path, orders=20, now=NOW)
    assert [path.name for path in tmp_path.iterdir()] == ["mine.txt"]


def test_an_empty_folder_is_filled_and_the_progress_told(tmp_path: Path) -> None:
    told: list[tuple[int, int]] = []
    (tmp_path / "shop").mkdir()
    generate(tmp_path / "shop", orders=1, now=NOW, progress=lambda _done, step, steps: told.append((step, steps)))
    assert told == [(step, len(told)) for step in range(1, len(told) + 1)]


@pytest.mark.parametrize(
    ("count", "now"), [(0, NOW), (10, NOW.replace(tzinfo=None)), (10, datetime(2011, 1, 1, tzinfo=UTC))]
)
def test_an_impossible_shop_is_refused(count: int, now: datetime, tmp_path: Path) -> None:
    with pytest.raises(BadSampleRequest):
        generate(tmp_path / "shop", orders=count, now=now)


def test_the_manifest_names_what_the_shop_was_made_from(shop: SampleShop) -> None:
    manifest = json.loads((shop.folder / "manifest.json").read_text())
    assert (manifest["seed"], manifest["orders"], manifest["now"]) == (7, 3000, "2026-11-22T15:30:00+00:00")


def test_orders_have_the_columns_of_the_contract(shop: SampleShop) -> None:
    for source in ("shop", "crm"):
        exported = rows(shop, f"{source}/orders.jsonl")
        assert all(list(row) == ORDER_KEYS for row in exported)
        assert all(list(item) == ITEM_KEYS for row in exported for item in row["items"])
        assert all(WHOLE_SECOND_UTC.fullmatch(row[key]) for row in exported for key in row if key.endswith("_at"))
        assert [row["placed_at"] for row in exported] == sorted(row["placed_at"] for row in exported)
        assert all(re.fullmatch(r"\d+\.\d\d", row["paid"]) for row in exported)


def test_ids_are_unique_and_numbers_of_items_run_from_one(shop: SampleShop) -> None:
    exported = orders(shop)
    assert len({(row["source"], row["external_id"]) for row in exported}) == len(exported) == 3000
    assert all([item["line"] for item in row["items"]] == [*range(1, len(row["items"]) + 1)] for row in exported)
    assert {len(row["items"]) for row in exported} == {1, 2, 3}


@pytest.mark.parametrize(
    "now", [NOW, datetime(2026, 7, 29, 4, 0, tzinfo=UTC), datetime(2027, 1, 6, 9, 0, tzinfo=UTC)], ids=str
)
def test_enough_orders_are_open_in_every_status_and_due_around_today(now: datetime, tmp_path: Path) -> None:
    exported = orders(generate(tmp_path / "shop", now=now))
    count = Counter(row["status"] for row in exported)
    standing = [row for row in exported if row["status"] in OPEN_STATUSES]
    assert all(count[status] >= 5 for status in OPEN_STATUSES)
    assert 350 <= len(standing) <= 600
    assert 0.02 <= count["CANCELLED"] / len(exported) <= 0.045
    assert count["CLOSED"] > 0.7 * len(exported)
    days = [(datetime.fromisoformat(row["due_at"]) - now) / timedelta(days=1) for row in standing]
    assert sum(day < 0 for day in days) >= 15
    assert sum(0 <= day < 14 for day in days) >= 80
    assert max(days) < 90


def test_few_customers_order_much(shop: SampleShop) -> None:
    bought = Counter(row["customer"]["external_id"] for row in orders(shop))
    assert sum(count for _, count in bought.most_common(len(bought) // 10)) > 0.3 * 3000
    assert {row["customer"]["tier"] for row in orders(shop)} == {"retail", "vip", "b2b"}
    tiers = {(row["customer"]["external_id"], row["customer"]["tier"]) for row in orders(shop)}
    assert len(tiers) == len(bought)


def test_the_weeks_before_christmas_are_busy(tmp_path: Path) -> None:
    exported = orders(generate(tmp_path / "shop", orders=20_000, now=datetime(2026, 6, 30, tzinfo=UTC)))
    months = Counter(row["placed_at"][:7] for row in exported)
    assert months["2025-12"] > 1.5 * months["2025-10"]
    assert months["2026-05"] > 1.5 * months["2025-05"]


def test_nothing_happens_in_the_future_or_before_2010(shop: SampleShop) -> None:
    now = NOW.isoformat().replace("+00:00", "Z")
    times = [row[key] for row in orders(shop) for key in ("placed_at", "updated_at")]
    times += [at for told in facts(shop).values() for at in told.values()]
    assert min(times) >= "2010"
    assert max(times) <= now


def test_the_declared_status_is_where_the_facts_end(shop: SampleShop) -> None:
    told, contradicted = facts(shop), 0
    for row in orders(shop):
        known = told.get((row["source"], row["external_id"]), {})
        last = max(known, key=lambda name: known[name], default="SUBMITTED")
        assert row["updated_at"] == max([row["placed_at"], *known.values()])
        contradicted += row["status"] != last
    assert contradicted == 2  # the cancellations that came after shipping


def test_facts_follow_the_life_of_an_order_but_for_the_late_approvals(shop: SampleShop) -> None:
    life = ["PRICE_CALCULATED", "MANUFACTURING_APPROVED", "MANUFACTURING_STARTED", "MANUFACTURING_COMPLETED"]
    life += ["PACKAGING", "SHIPPED", "CLOSED"]
    late_approvals = 0
    for known in facts(shop).values():
        times = [known[name] for name in life if name in known]
        if times != sorted(times):
            assert known["SHIPPED"] < known["MANUFACTURING_APPROVED"] < known["CLOSED"]
            late_approvals += 1
    assert late_approvals == 8


def test_cancelled_orders_were_not_shipped_but_for_two(shop: SampleShop) -> None:
    cancelled = [known for known in facts(shop).values() if "CANCELLED" in known]
    too_late = [known for known in cancelled if "SHIPPED" in known]
    assert len(too_late) == 2
    assert all(known["CANCELLED"] > known["SHIPPED"] for known in too_late)
    assert all(known["CANCELLED"] == max(known.values()) for known in cancelled)


def test_the_crm_numbers_its_events_per_order_from_one(shop: SampleShop) -> None:
    told: Counter[tuple[str, str]] = Counter()
    events = rows(shop, "crm/order_events.jsonl")
    for event in events:
        key = (event["order"]["source"], event["order"]["external_id"])
        told[key] += 1
        assert event["sequence"] == told[key]
        assert list(event) == ["event_id", "order", "sequence", "type", "occurred_at"]
    assert [event["occurred_at"] for event in events] == sorted(event["occurred_at"] for event in events)
    assert len({event["event_id"] for event in events}) == len(events)
    assert {event["type"] for event in events} == {"MANUFACTURING_APPROVED", "CLOSED", "CANCELLED"}


def test_the_old_mes_wrote_production_in_sequence_and_broke_off(shop: SampleShop) -> None:
    history = rows(shop, "legacy_mes/status_history.jsonl")
    assert all(list(row) == ["order", "type", "occurred_at"] for row in history)
    assert [row["occurred_at"] for row in history] == sorted(row["occurred_at"] for row in history)
    expected = {"PRICE_CALCULATED", "MANUFACTURING_STARTED", "MANUFACTURING_COMPLETED", "PACKAGING", "SHIPPED"}
    assert {row["type"] for row in history} == expected
    tail = (shop.feeds / "legacy_mes/status_history.jsonl").read_text().split("\n")[-1]
    with pytest.raises(json.JSONDecodeError):
        json.loads(tail)


def test_five_rows_are_wrong_each_in_its_own_way(shop: SampleShop) -> None:
    known = {model.path for model in MODELS}
    wrong: Counter[str] = Counter()
    for row in orders(shop):
        wrong["due"] += row["due_at"] <= row["placed_at"]
        for item in row["items"]:
            wrong["outside"] += item["model"].startswith("..")
            wrong["missing"] += item["model"] not in known and not item["model"].startswith("..")
            wrong["material"] += item["material"] not in {"silver925", "gold585", "gold750", "platinum950"}
            wrong["finish"] += item["finish"] not in {"polished", "satin", "sandblasted", "plated"}
            wrong["quantity"] += not isinstance(item["quantity"], int) or item["quantity"] < 1
    assert +wrong == Counter(due=1, outside=1, missing=1, material=1, quantity=1)
    assert shop.bad_rows == 5
    assert all((shop.models / path).is_file() for path in known)


@pytest.fixture(scope="module")
def clean(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Feeds without dirt: the generated ones less their bad rows and the half line."""
    shop = generate(tmp_path_factory.mktemp("clean") / "shop", orders=600, now=NOW)
    known = {model.path for model in MODELS}
    bad = {
        row["external_id"]
        for row in orders(shop)
        if row["due_at"] < row["placed_at"]
        or any(
            item["model"] not in known or item["material"] == "brass" or item["quantity"] == "two"
            for item in row["items"]
        )
    }
    assert len(bad) == shop.bad_rows
    for name in feeds_dirt.FEED_FILES:
        kept = [row for row in rows(shop, name) if row.get("external_id") not in bad]
        text = "".join(json.dumps(row, separators=(",", ":")) + "\n" for row in kept)
        (shop.feeds / name).write_text(text, encoding="utf-8")
    return shop.feeds


def test_the_dirt_report_points_at_the_dirty_lines(clean: Path, tmp_path: Path) -> None:
    report = feeds_dirt.make_dirty(clean, tmp_path, seed=5, share=0.1)
    touched = {(touch.file, touch.line): touch for touch in report.touches}
    assert len(touched) == len(report.touches)
    for name in feeds_dirt.FEED_FILES:
        good = set((clean / name).read_bytes().split(b"\n"))
        for number, line in enumerate((tmp_path / name).read_bytes().split(b"\n"), start=1):
            touch = touched.get((name, number))
            if touch is None:
                assert line in good
            elif touch.kind not in {"duplicate_row", "empty_line"}:
                assert line not in good
            if touch and touch.kind == "later_update":
                assert json.loads(line)["due_at"] == touch.due_at == report.due_at[touch.source, touch.external_id]


def test_every_kind_of_dirt_occurs_in_every_file_it_can(clean: Path, tmp_path: Path) -> None:
    report = feeds_dirt.make_dirty(clean, tmp_path, seed=5)
    for files, kinds in (
        (feeds_dirt.ORDER_FILES, feeds_dirt.ORDER_KINDS),
        (feeds_dirt.EVENT_FILES, feeds_dirt.EVENT_KINDS),
    ):
        for name in files:
            assert {kind.name for kind in kinds} <= {touch.kind for touch in report.touches if touch.file == name}
    assert {"bom", "half_a_line_at_the_end"} <= set(report.by_kind)
    assert all(touch.line == 1 for touch in report.by_kind["bom"])
    assert len({name for name, _ in report.quarantined}) == 4


def test_orders_that_land_are_those_with_a_good_row(clean: Path, tmp_path: Path) -> None:
    report = feeds_dirt.make_dirty(clean, tmp_path, seed=6, share=0.2)
    found = set()
    for name in feeds_dirt.ORDER_FILES:
        for number, line in enumerate((tmp_path / name).read_bytes().split(b"\n"), start=1):
            if (name, number) not in report.quarantined and line.strip():
                row = json.loads(line.removeprefix(feeds_dirt.UTF8_BOM))
                found.add((name.split("/")[0], row["external_id"]))
    assert report.landing == found


def test_the_same_seed_makes_the_same_dirt(clean: Path, tmp_path: Path) -> None:
    reports = [feeds_dirt.make_dirty(clean, tmp_path / name, seed=9) for name in ("a", "b")]
    assert reports[0] == reports[1]
    for name in feeds_dirt.FEED_FILES:
        assert (tmp_path / "a" / name).read_bytes() == (tmp_path / "b" / name).read_bytes()
    assert feeds_dirt.make_dirty(clean, tmp_path / "c", seed=10) != reports[0]


def test_a_limit_keeps_the_first_orders_and_their_events(clean: Path, tmp_path: Path) -> None:
    report = feeds_dirt.make_dirty(clean, tmp_path, seed=1, limit=200)
    every = [
        (row["placed_at"], name.split("/")[0], row["external_id"])
        for name in feeds_dirt.ORDER_FILES
        for row in map(json.loads, (clean / name).read_bytes().splitlines())
    ]
    kept = {tuple(key) for _, *key in sorted(every)[:200]}
    assert report.landing < kept
    assert {(touch.source, touch.external_id) for touch in report.touches} <= kept


def test_csv_and_parquet_hold_the_same_rows(clean: Path, tmp_path: Path) -> None:
    feeds_dirt.to_csv(clean, tmp_path)
    feeds_dirt.to_parquet(clean, tmp_path)
    for name in feeds_dirt.FEED_FILES:
        expected = [json.loads(line) for line in (clean / name).read_bytes().splitlines()]
        assert pl.read_parquet((tmp_path / name).with_suffix(".parquet")).to_dicts() == expected
        table = pl.read_csv((tmp_path / name).with_suffix(".csv"), infer_schema=False)
        assert table.columns == list(expected[0])
        for cells, row in zip(table.to_dicts(), expected, strict=True):
            assert all(
                str(row[key]) in {cells[key], cells[key].capitalize()} or json.loads(cells[key]) == row[key]
                for key in row
            )


def test_parquet_may_hold_real_timestamps(clean: Path, tmp_path: Path) -> None:
    feeds_dirt.to_parquet(clean, tmp_path, native_times=True)
    schema = pl.read_parquet_schema(tmp_path / "shop/orders.parquet")
    assert schema["placed_at"] == pl.Datetime("us", "UTC")
