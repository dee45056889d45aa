"""One order's way through the whole house: posted with curl, made by one operator, shipped, and told step by step."""

import json
import subprocess
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from uuid import UUID

import pytest
from playwright.sync_api import Browser, Page, expect
from sqlalchemy import Engine, text

from mes.callers import keys
from mes.callers.model import Scope
from mes.dispatch import desk
from mes.lists import refresher
from mes.orders import repository
from mes.orders.life import Status
from mes.pricing.rates import rate_cards, rate_store
from tests.e2e.conftest import COLLEAGUE, MANAGER, OPERATOR, running_console, sign_in
from tests.e2e.screen import Screen, eventually
from tests.orders import add_order
from tests.processes import running_api, running_worker

pytestmark = pytest.mark.slow

# on the operator's open page, after the answer to the post; the best of some, since CI machines have two busy cores
SEEN_WITHIN_S, ATTEMPTS = 2.0, 5
# a tetrahedron of 20 mm along each axis
PENDANT = "v 0 0 0\nv 20 0 0\nv 0 20 0\nv 0 0 20\nf 1 3 2\nf 1 2 4\nf 1 4 3\nf 2 3 4\n"
WHOLE_LIFE = [
    "Placed",
    "Price set",
    f"Assigned to {OPERATOR}",
    "Approved for production",
    f"Claimed by {OPERATOR}",
    "Production started",
    "Production done",
    "Packing started",
    "Shipped",
]


@dataclass(frozen=True)
class House:
    """Two API processes, two workers and a console on one database, with a key for each system."""

    apis: Sequence[str]
    console: str
    shop_key: str
    crm_key: str
    folder: Path

    def curl(self, key: str, path: str, *options: str, api: int = 0) -> dict[str, object]:
        """What the API answers to curl."""
        argv = ["curl", "--silent", "--show-error", "--fail-with-body", "--max-time", "30", *options]
        argv += ["--header", f"Authorization: Bearer {key}", f"{self.apis[api]}{path}"]
        done = subprocess.run(argv, capture_output=True, text=True, check=False, timeout=40, stdin=subprocess.DEVNULL)
        assert done.returncode == 0, done.stdout + done.stderr
        answer: dict[str, object] = json.loads(done.stdout)
        return answer

    def post(self, key: str, path: str, body: object, *options: str, api: int = 0) -> dict[str, object]:
        """What the API answers to a posted JSON body."""
        said = ["--json", json.dumps(body)]
        return self.curl(key, path, *said, *options, api=api)


@pytest.fixture
def house(marts_engine: Engine, tmp_path: Path) -> Iterator[House]:
    """Everything that serves, as `mes up` would start it, and two of what there may be several of."""
    url = marts_engine.url.render_as_string(hide_password=False)
    with marts_engine.begin() as conn:
        rate_store.load(conn, rate_cards.load_sample())
        shop = keys.create(conn, "acme", Scope.PARTNER)
        crm = keys.create(conn, "sales", Scope.CRM)
    with ExitStack() as stack:
        home = tmp_path / "home"
        home.mkdir()
        console = stack.enter_context(running_console(url, home))
        apis = [stack.enter_context(running_api(url, home)).url for _ in range(2)]
        for _ in range(2):
            stack.enter_context(running_worker(url, home))
        yield House(apis, console, shop.key, crm.key, tmp_path)


@contextmanager
def window_of(browser: Browser, house: House, user_name: str) -> Iterator[Screen]:
    """The console in a window of its own, in which somebody is signed in."""
    context = browser.new_context(viewport={"width": 1480, "height": 1100})
    page: Page = context.new_page()
    sign_in(page, house.console, user_name)
    yield Screen(page, house.console)
    context.close()


def place(house: House, model_id: object, number: str) -> str:
    """An order of one gold pendant, by the second API process."""
    item = {"line": 1, "model_id": model_id, "material": "gold585", "finish": "polished", "quantity": 1}
    order = {"external_id": number, "due_at": "2099-01-01T00:00:00Z", "customer": {"external_id": "c-1"}}
    key = ["--header", f"Idempotency-Key: {number}"]
    placed = house.post(house.shop_key, "/v1/orders", order | {"items": [item]}, *key, api=1)
    again = house.post(house.shop_key, "/v1/orders", order | {"items": [item]}, *key, api=0)
    assert again == placed
    assert (placed["status"], placed["version"]) == ("SUBMITTED", 1)
    return str(placed["order_id"])


def seconds_until_listed(screen: Screen, number: str) -> float:
    """How long it takes until the order is on the open page, with its price."""
    began = time.monotonic()

    def priced() -> bool:
        return any(row[0] == number and any("." in cell for cell in row[-4:]) for row in screen.rows() if row)

    eventually(priced, expected=True)
    return time.monotonic() - began


def test_an_order_goes_from_curl_to_the_parcel(house: House, browser: Browser, marts_engine: Engine) -> None:
    with marts_engine.begin() as conn:  # Jonas has work for days, so what comes next is for Vera
        for number in range(5):
            busy = add_order(conn, f"BUSY-{number}", status=Status.MANUFACTURING_APPROVED)
            desk.assign(conn, MANAGER, busy, COLLEAGUE)
            refresher.refresh_now(conn, [busy])
    file = house.folder / "pendant.obj"
    file.write_text(PENDANT)
    upload = ["--header", "Content-Type: model/obj", "--data-binary", f"@{file}"]
    model_id = house.curl(house.shop_key, "/v1/models", *upload)["model_id"]
    with window_of(browser, house, OPERATOR) as vera, window_of(browser, house, COLLEAGUE) as jonas:
        vera.open()
        jonas.open()
        vera.sees("My queue 0")
        taken = []
        for attempt in range(ATTEMPTS):
            order_id = place(house, model_id, f"A-{attempt}")
            taken.append(seconds_until_listed(vera, f"A-{attempt}"))
            if taken[-1] <= SEEN_WITHIN_S:
                break
        assert min(taken) <= SEEN_WITHIN_S, taken
        number = f"A-{len(taken) - 1}"
        assert number not in jonas.numbers()

        vera.press("Next job")
        vera.sees("approval")
        house.post(house.crm_key, f"/v1/orders/{order_id}/transitions", {"to": "MANUFACTURING_APPROVED"})
        eventually(lambda: "Approved" in str(vera.rows()), expected=True)
        vera.press("Next job")
        vera.sees(f"Order {number}")
        vera.sees("This order is yours now.")
        jonas.open(f"?order={order_id}")
        jonas.sees("has claimed this order")
        for step in ("Start production", "Production done", "Start packing", "Ship"):
            expect(jonas.button(step)).to_have_count(0)
            vera.press(step)
        vera.press("Yes, it is shipped")
        vera.sees("Done: shipped.")
        eventually(lambda: [row[2] for row in reversed(vera.rows(table=-1))], WHOLE_LIFE)
    events = house.curl(house.shop_key, f"/v1/orders/{order_id}/events")["events"]
    assert isinstance(events, list)
    assert [event["sequence"] for event in events] == list(range(1, len(WHOLE_LIFE) + 1))
    with marts_engine.connect() as conn:
        told = conn.execute(text("select count(*) from ops.outbox where order_id = :id"), {"id": order_id}).scalar_one()
        order = repository.get(conn, UUID(order_id))
    assert (order.status, order.version, told) == (Status.SHIPPED, len(WHOLE_LIFE), len(WHOLE_LIFE))
    assert order.claimed_by is None
