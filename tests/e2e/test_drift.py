"""People see where shop and CRM say otherwise, why, and mend it or let it be."""

from pathlib import Path

import pytest
from playwright.sync_api import Page
from sqlalchemy import Engine, text

from mes.orders import placing, service
from mes.orders.life import Status, System
from mes.orders.model import Actor
from tests.callers import SHOP, add_model, new_order
from tests.e2e.conftest import MANAGER, sign_in
from tests.e2e.screen import Screen, eventually
from tests.statements import known_there, reconcile, states

pytestmark = pytest.mark.slow


def test_before_anything_is_compared_the_page_says_how_to(screen: Screen) -> None:
    screen.open("drift")
    screen.sees("Nothing is compared yet")


def test_a_manager_repairs_and_accepts_what_differs(
    guest: Page, screen: Screen, marts_engine: Engine, tmp_path: Path
) -> None:
    with marts_engine.begin() as conn:
        add_model(conn)
        first, _ = (placing.place(conn, SHOP, new_order(number)).order_id for number in ("S-1", "S-2"))
        heard = known_there(conn)
        service.transition(conn, first, Status.PRICE_CALCULATED, Actor(System.MES, "pricing"))
    states(tmp_path, heard[0], heard[1] | {"status": "PACKAGING"})
    reconcile(marts_engine, tmp_path)
    screen.open("drift")
    screen.sees("Shop about order S-1")
    screen.sees("has applied our event 1; the last one is 2.")
    screen.sees("They are behind")
    assert screen.button("Repair now").count() == 0  # that is for managers
    sign_in(guest, screen.url, MANAGER)
    manager = Screen(guest, screen.url)
    manager.open("drift")
    manager.sees("Shop about order S-2")
    manager.sees("at the same version 1.")
    manager.press("Repair now")
    manager.sees("It is begun.")

    def told() -> int:
        with marts_engine.begin() as conn:
            return int(conn.execute(text("select count(*) from ops.outbox where telling > 0")).scalar_one())

    eventually(told, 2)  # by the run, and by the manager
    manager.page.get_by_text("Let it be").first.click()  # those for a person come first
    manager.page.get_by_label("Why it may stay as it is").first.fill("agreed by telephone")
    manager.press("Accept it")
    manager.sees("Accepted.")
    with marts_engine.begin() as conn:
        rows = conn.execute(text("select external_id, accepted_by, accepted_reason from ops.drift")).all()
    assert [tuple(row) for row in rows if row.accepted_by] == [("S-2", MANAGER, "agreed by telephone")]
    reconcile(marts_engine, states(tmp_path, *_whole(marts_engine, "S-2")))
    manager.open("drift")
    manager.sees("shop and CRM have every order as we do")


def _whole(engine: Engine, accepted: str) -> list[dict[str, object]]:
    with engine.begin() as conn:
        return [
            order | ({"status": "PACKAGING"} if order["external_id"] == accepted else {}) for order in known_there(conn)
        ]
