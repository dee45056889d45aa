"""People sign in to the console, stay signed in, and are out at once when they should be."""

from pathlib import Path

import httpx
import pytest
from playwright.sync_api import BrowserContext, Page, expect
from sqlalchemy import Engine, text
from websockets.exceptions import InvalidStatus
from websockets.sync.client import connect

from mes.lists import refresher
from mes.orders.life import Status
from mes.people import users
from mes.people.model import Role
from tests.e2e.conftest import COOKIE, MANAGER, OPERATOR, PASSWORD, fill_in, running_console, sign_in
from tests.e2e.screen import Screen
from tests.orders import add_order

pytestmark = pytest.mark.slow


def token_of(context: BrowserContext) -> str | None:
    return next((cookie["value"] for cookie in context.cookies() if cookie["name"] == COOKIE), None)


def test_a_link_to_an_order_survives_signing_in(guest: Page, console: str, marts_engine: Engine) -> None:
    with marts_engine.begin() as conn:
        order_id = add_order(conn, "LINKED-1", status=Status.MANUFACTURING_APPROVED)
        refresher.refresh_now(conn, [order_id])
    guest.goto(f"{console}/?order={order_id}")
    expect(guest).to_have_url(f"{console}/sign-in?next=%2F%3Forder%3D{order_id}")
    expect(guest.get_by_label("Name")).to_be_focused()
    fill_in(guest, OPERATOR, "not my password")
    expect(guest.get_by_role("alert")).to_contain_text("Name or password is wrong")
    expect(guest.get_by_label("Password")).to_be_focused()
    fill_in(guest, "vera", PASSWORD)
    guest.get_by_text("Order LINKED-1").first.wait_for()
    expect(guest).to_have_url(f"{console}/?order={order_id}")
    expect(guest.get_by_test_id("stApp")).to_contain_text(f"{OPERATOR} \N{MIDDLE DOT} operator")


def test_a_session_survives_a_reload_a_new_tab_and_a_restart(
    guest: Page, marts_database_url: str, tmp_path: Path
) -> None:
    signed_in = guest.get_by_role("button", name="Sign out")
    with running_console(marts_database_url, tmp_path) as url:
        sign_in(guest, url, MANAGER)
        guest.reload()
        signed_in.wait_for()
        tab = guest.context.new_page()
        tab.goto(f"{url}/throughput")
        tab.get_by_text(f"{MANAGER} \N{MIDDLE DOT} manager").wait_for()
        tab.close()
    with running_console(marts_database_url, tmp_path) as url:
        guest.goto(url)
        signed_in.wait_for()


def test_signing_out_ends_the_session_on_every_page(guest: Page, console: str) -> None:
    sign_in(guest, console, OPERATOR)
    token = token_of(guest.context)
    other = guest.context.new_page()
    other.goto(f"{console}/throughput")
    other.get_by_text("Now", exact=True).wait_for()
    guest.get_by_role("button", name="Sign out").click()
    guest.get_by_label("Password").wait_for()
    assert token_of(guest.context) is None
    other.get_by_text("52 weeks").click()
    other.get_by_text("You are signed out").wait_for()
    expect(other.get_by_text("Now", exact=True)).to_have_count(0)
    other.get_by_role("link", name="Sign in").click()
    expect(other).to_have_url(f"{console}/sign-in?next=%2Fthroughput")
    answer = httpx.get(console, cookies={COOKIE: token or ""})
    assert (answer.status_code, answer.headers["location"]) == (303, "/sign-in")


def test_an_open_page_of_a_deactivated_user_shows_nothing_more(screen: Screen, marts_engine: Engine) -> None:
    with marts_engine.begin() as conn:
        order_id = add_order(conn, "SECRET-1", status=Status.MANUFACTURING_APPROVED)
        refresher.refresh_now(conn, [order_id])
    screen.open()
    screen.button("Late only").or_(screen.page.get_by_text("Late only")).first.wait_for()
    with marts_engine.begin() as conn:
        users.deactivate(conn, OPERATOR)
    screen.sees("You are signed out")  # the list looks for changes by itself
    expect(screen.page.get_by_test_id("stDataFrame")).to_have_count(0)


def test_an_open_order_of_a_deactivated_user_goes_whole(screen: Screen, marts_engine: Engine) -> None:
    with marts_engine.begin() as conn:
        order_id = add_order(conn, "SECRET-2", status=Status.MANUFACTURING_APPROVED)
        refresher.refresh_now(conn, [order_id])
    screen.open_order(order_id)
    with marts_engine.begin() as conn:
        users.deactivate(conn, OPERATOR)
    screen.sees("You are signed out")  # the part that looks for changes notices it
    expect(screen.page.get_by_text("SECRET-2")).to_have_count(0)


def test_a_role_changes_at_the_next_run(screen: Screen, marts_engine: Engine) -> None:
    screen.open("throughput")
    screen.sees(f"{OPERATOR} \N{MIDDLE DOT} operator")
    with marts_engine.begin() as conn:
        users.set_role(conn, OPERATOR, Role.MANAGER)
    screen.page.get_by_text("52 weeks").click()
    screen.sees(f"{OPERATOR} \N{MIDDLE DOT} manager")


def test_the_first_user_is_explained(guest: Page, database_url: str, tmp_path: Path) -> None:
    with running_console(database_url, tmp_path, people=False) as url:
        guest.goto(url)
        guest.get_by_text("mes users create NAME --role manager").wait_for()


def test_the_server_guards_what_a_browser_would_not(console: str, marts_engine: Engine, tmp_path: Path) -> None:
    form = {"user_name": OPERATOR, "password": PASSWORD, "next": "//evil.example/"}
    with httpx.Client(base_url=console) as client:
        foreign = client.post("/sign-in", data=form, headers={"Origin": "http://evil.example"})
        assert foreign.status_code == 403
        assert client.post("/sign-in", data=form, headers={"Sec-Fetch-Site": "cross-site"}).status_code == 403
        assert client.post("/sign-in", content=b"x" * 20_000).status_code == 413
        welcome = client.post("/sign-in", data=form, headers={"Origin": console})
        assert (welcome.status_code, welcome.headers["location"]) == (303, "/")
        cookie = welcome.headers["set-cookie"]
        assert {"HttpOnly", "Path=/", "SameSite=lax", "Max-Age=43200"} <= set(cookie.split("; "))
        assert "Secure" not in cookie
        assert client.post("/sign-out", headers={"Sec-Fetch-Site": "cross-site"}).status_code == 403
        assert client.get("/").status_code == 200
    https = httpx.post(f"{console}/sign-in", data=form, headers={"X-Forwarded-Proto": "https"})
    assert "Secure" in https.headers["set-cookie"].split("; ")
    token = welcome.cookies[COOKIE]
    with marts_engine.connect() as conn:
        assert token not in str(conn.execute(text("select * from ops.user_sessions")).all())
    log = (tmp_path / "console.log").read_text()
    assert PASSWORD not in log
    assert token not in log


def test_without_a_session_only_what_machines_ask_is_answered(console: str) -> None:
    with httpx.Client(base_url=console) as client:
        assert client.get("/_stcore/health").status_code == 200
        assert client.get("/healthz").status_code == 200
        assert client.get("/sign-in").status_code == 200
        for path in ("/", "/throughput", "/index.html", "/anything"):
            assert client.get(path).status_code == 303
        for path in ("/media/x.png", "/_stcore/metrics", "/_stcore/upload_file/a/b", "/component/x/y"):
            assert client.get(path).status_code == 401
        assert client.put("/_stcore/upload_file/a/b", content=b"x").status_code == 401
    address = f"{console.replace('http', 'ws', 1)}/_stcore/stream"
    with pytest.raises(InvalidStatus, match="403"), connect(address):
        pass
