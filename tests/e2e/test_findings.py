"""Operators see what is doubtful about a piece, and where on it."""

from dataclasses import replace
from pathlib import Path
from uuid import UUID

import pytest
from playwright.sync_api import expect
from sqlalchemy import Connection, Engine, text

from mes.lists import refresher
from mes.models import intake, sandbox
from mes.models.sandbox import Analysis
from mes.models.store import ObjectStore
from mes.orders.life import Status
from mes.pricing.geometry import KERNEL_VERSION, Fault, ThinPlace, Walls
from tests.e2e.screen import Screen, eventually
from tests.orders import add_order
from tests.workshop import LIMITS

pytestmark = pytest.mark.slow

# a cube of 10 mm without its lid
BOX = "".join(f"v {x} {y} {z}\n" for x in (0, 10) for y in (0, 10) for z in (0, 10)) + "".join(
    f"f {a} {b} {c} {d}\n" for a, b, c, d in ((1, 2, 4, 3), (5, 7, 8, 6), (1, 5, 6, 2), (3, 4, 8, 7), (1, 3, 7, 5))
)
RIM = ((0.0, 5.0, 10.0), (5.0, 0.0, 10.0), (5.0, 10.0, 10.0))
SHARES = ((0.3, 0.1), (2.0, 0.6), (10.0, 1.0))
WALLS = Walls(SHARES, (ThinPlace(0.3, (10.0, 2.0, 8.0)), ThinPlace(0.4, (0.0, 9.0, 3.0))), 1000)
LEVERS = """[{"code": "thinner_shank", "label": "0.2 mm thinner shank", "mass_change_g": -1.1,
    "price_change": {"amount": "-58.00", "currency": "USD"}}]"""


@pytest.fixture
def store(tmp_path: Path) -> ObjectStore:
    """Where the console looks for pictures."""
    return ObjectStore(str(tmp_path / "objects"))


def measured(folder: Path) -> Analysis:
    """The open box, its faults and walls being known whatever the kernel finds."""
    file = folder / "box.obj"
    file.write_text(BOX)
    analysis = sandbox.analyse(file, LIMITS)
    faults = (Fault("open_edges", 4, RIM),)
    return replace(
        analysis, geometry=replace(analysis.geometry, closed=False, open_edges=4, faults=faults, walls=WALLS)
    )


def keep(conn: Connection, store: ObjectStore, analysis: Analysis, folder: Path) -> None:
    intake.put_objects(store, folder / "box.obj", analysis)
    intake.record(conn, analysis, "box.obj")


def order(conn: Connection, analysis: Analysis) -> UUID:
    order_id = add_order(conn, "DOUBTFUL-1", status=Status.MANUFACTURING_APPROVED)
    conn.execute(
        text("""
            insert into ops.order_items (order_id, line, model_id, material, finish, quantity)
            values (:order_id, 1, :model, 'silver925', 'polished', 1)
        """),
        {"order_id": order_id, "model": analysis.sha256},
    )
    refresher.refresh_now(conn, [order_id])
    return order_id


def price(conn: Connection, order_id: UUID, model_id: str) -> None:
    """A frozen quote with a lever."""
    conn.execute(
        text("""
            with card as (
                insert into ops.rate_cards (rate_card_id, name, valid_from, card)
                values ('card', 'Test rates', '2020-01-01', '{}') returning rate_card_id
            ), quote as (
                insert into ops.quotes (order_id, line, model_id, kernel_version, rate_card_id, material, finish,
                    quantity, rush, tier, total, currency, breakdown, levers, valid_until)
                select :order_id, 1, :model, :kernel, rate_card_id, 'silver925', 'polished', 1, false, 'retail', 12.00,
                    'USD', '[]', cast(:levers as jsonb), now() + interval '1 day'
                from card returning quote_id
            )
            update ops.order_items set quote_id = (select quote_id from quote) where order_id = :order_id
        """),
        {"order_id": order_id, "model": model_id, "kernel": KERNEL_VERSION, "levers": LEVERS},
    )


def test_findings_are_told_worst_first_and_marked_on_the_picture(
    screen: Screen, marts_engine: Engine, store: ObjectStore, tmp_path: Path
) -> None:
    analysis = measured(tmp_path)
    with marts_engine.begin() as conn:
        keep(conn, store, analysis, tmp_path)
        order_id = order(conn, analysis)
        price(conn, order_id, analysis.sha256)
    screen.open_order(order_id)
    radios = screen.page.get_by_test_id("stRadio").get_by_role("radio")
    expect(radios).to_have_count(2)
    screen.sees("4 edges are open")
    screen.sees("Close the holes at these places")
    picture = screen.page.get_by_test_id("stImage").locator("img").first
    expect(picture).to_have_attribute("alt", "Model of item 1, marked: 4 edges are open, so the volume and the price "
                                             "are a guess.")  # fmt: skip
    screen.sees("1 (0, 5, 10)")
    marked = picture.screenshot()
    screen.page.get_by_text("of the surface has a wall under 0.8 mm").click()
    screen.sees("(10, 2, 8)")
    eventually(lambda: (picture.get_attribute("alt") or "").startswith("Model of item 1, marked: 24.7%"), True)
    eventually(lambda: picture.screenshot() != marked, True)  # the words change before the picture has come
    screen.sees("Thinnest wall")
    screen.sees("0.30 mm")
    eventually(lambda: screen.rows(2), [["0.2 mm thinner shank", "-1.10 g", "-58.00"]])


def test_a_sound_piece_says_so(screen: Screen, marts_engine: Engine, store: ObjectStore, tmp_path: Path) -> None:
    analysis = measured(tmp_path)
    sound = replace(analysis.geometry, closed=True, open_edges=0, faults=(), walls=None, box_mm=(10.0, 10.0, 10.0))
    with marts_engine.begin() as conn:
        keep(conn, store, replace(analysis, geometry=sound), tmp_path)
        order_id = order(conn, analysis)
    screen.open_order(order_id)
    screen.sees("Nothing is doubtful about this piece.")
    expect(screen.page.get_by_test_id("stImage").locator("img").first).to_have_attribute("alt", "Model of item 1")
    expect(screen.page.get_by_test_id("stRadio").get_by_role("radio")).to_have_count(0)


def test_a_picture_of_before_is_shown_without_marks(
    screen: Screen, marts_engine: Engine, store: ObjectStore, tmp_path: Path
) -> None:
    analysis = measured(tmp_path)
    plain = Path(__file__).resolve().parents[2] / "app/images/icon.png"
    with marts_engine.begin() as conn:
        keep(conn, store, replace(analysis, picture_png=plain.read_bytes()), tmp_path)
        order_id = order(conn, analysis)
    screen.open_order(order_id)
    screen.sees("drawn before places could be marked")
    screen.sees("1 (0, 5, 10)")
