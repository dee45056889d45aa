"""A statement is read from another system's API or database, whatever that answers."""

import json
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from datetime import timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

import polars as pl
import psycopg
import pytest
from sqlalchemy import Engine, text

from mes.callers.model import Scope as KeyScope
from mes.clock import utc_now
from mes.orders import placing, service
from mes.orders.life import Status, System
from mes.orders.model import Actor
from mes.reconciliation import drift, runs, sources
from mes.reconciliation.api import Api as ApiSource
from mes.reconciliation.model import Scope, StatementTooSmall, StatementUnusable
from mes.reconciliation.sources import Source
from mes.runtime.embedded import EmbeddedPostgres
from mes.runtime.location import libpq_url
from tests.api_server import Api, on_database, serving, settings_on
from tests.callers import SHOP, add_model, new_order
from tests.conftest import _clone
from tests.statements import AT_ONCE

PRICER = Actor(System.MES, "pricing")
NOBODY = pl.DataFrame(schema={"source": pl.String, "external_id": pl.String})


@pytest.fixture
def shop(engine: Engine) -> Engine:
    with engine.begin() as conn:
        add_model(conn)
        for number in ("S-1", "S-2", "S-3"):
            placing.place(conn, SHOP, new_order(number))
    return engine


def move(engine: Engine, number: str) -> None:
    with engine.begin() as conn:
        order_id = conn.execute(
            text("select order_id from ops.orders where external_id = :number"), {"number": number}
        ).scalar_one()
        service.transition(conn, order_id, Status.PRICE_CALCULATED, PRICER)


def compare(engine: Engine, source: Source, scope: Scope = Scope.ALL) -> dict[str, str]:
    """The open differences, by order."""
    runs.run(engine, source, "shop", scope, rules=AT_ONCE)
    with engine.begin() as conn:
        return {each.external_id: each.kind.value for each in drift.listed(conn, system="shop")}


@pytest.fixture
def other(server: EmbeddedPostgres, template: str, tmp_path: Path) -> Iterator[Api]:
    """Another system that lists its orders as we do: our own API, on a database of its own."""
    with ExitStack() as stack:
        url = _clone(server, template, stack)
        settings = settings_on(url, tmp_path)
        with serving(settings) as address, on_database(url) as engine:
            with engine.begin() as conn:
                add_model(conn)
                for number in ("S-1", "S-2", "S-3"):
                    placing.place(conn, SHOP, new_order(number))
            yield Api(address, engine, settings, [])


def test_an_api_states_what_it_lists(shop: Engine, other: Api) -> None:
    token = other.key("mes", KeyScope.CRM)
    source = sources.at(other.url.replace("http://", f"http://:{token}@") + "/v1/orders")
    assert compare(shop, source) == {}
    move(shop, "S-1")
    move(other.engine, "S-2")
    # the last change that they know of lies long back: the order is asked for by its number
    other.change("update ops.orders set changed_at = now() - interval '3 days' where external_id = 'S-1'")
    assert compare(shop, source, Scope.RECENT) == {"S-1": "behind_there", "S-2": "ahead_there"}
    move(other.engine, "S-1")
    move(shop, "S-2")
    assert compare(shop, source, Scope.RECENT) == {}
    for number in range(4, 210):  # more than a page
        with shop.begin() as ours, other.engine.begin() as theirs:
            for conn in (ours, theirs):
                placing.place(conn, SHOP, new_order(f"S-{number}"))
    assert compare(shop, source) == {}
    stated = source.read("shop", None, NOBODY)
    assert (stated.orders.height, stated.complete) == (209, True)
    recent = source.read("shop", utc_now() - timedelta(days=1), NOBODY)
    assert (recent.orders.height, recent.complete) == (209, False)


def test_a_key_that_is_refused_fails_the_run(shop: Engine, other: Api) -> None:
    with pytest.raises(StatementUnusable, match="answered 401"):
        compare(shop, sources.at(f"{other.url}/v1/orders"))
    assert "mes_live_" not in str(sources.at("http://:mes_live_x@127.0.0.1:1/"))


@contextmanager
def answering(answer: Callable[[dict[str, list[str]]], bytes]) -> Iterator[str]:
    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            body = answer(parse_qs(urlsplit(self.path).query))
            self.send_response(200)
            self.send_header("content-length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}/orders"
    server.shutdown()
    server.server_close()


@pytest.mark.parametrize(
    "body",
    [b"", b"[]", b'{"orders": 7}', b"<html>", b"[" * 100_000, b'{"orders": [], "next_cursor": 7}', b"\xff\xfe"],
)
def test_an_answer_that_is_no_page_fails_the_run(shop: Engine, body: bytes) -> None:
    with answering(lambda _: body) as url, pytest.raises(StatementUnusable):
        compare(shop, sources.at(url))


def test_a_cursor_that_leads_back_ends(shop: Engine) -> None:
    with (
        answering(lambda _: b'{"orders": [], "next_cursor": "again"}') as url,
        pytest.raises(StatementUnusable, match="leads nowhere"),
    ):
        compare(shop, sources.at(url))


def test_rows_of_any_shape_are_told_and_change_nothing(shop: Engine) -> None:
    rows = [None, 7, "x", [], {}, {"external_id": None}, {"external_id": {"a": 1}}, {"external_id": "S\u0000"}]
    rows += [{"external_id": "S-1", "status": 5}, {"external_id": "S-1", "status": "SHIPPED", "version": True}]
    body = json.dumps({"orders": rows, "next_cursor": None}).encode()
    with answering(lambda _: body) as url:
        stated = sources.at(url).read("shop", None, NOBODY)
        assert (stated.orders.filter(pl.col("external_id") == "S-1").height, stated.bad_rows) == (0, 10)
        with pytest.raises(StatementTooSmall):
            compare(shop, sources.at(url))


def test_an_api_that_is_away_or_in_the_open_fails_the_run(shop: Engine) -> None:
    with pytest.raises(StatementUnusable, match="does not answer"):
        compare(shop, sources.at("http://127.0.0.1:1/v1/orders"))
    with pytest.raises(StatementUnusable, match="https"):
        ApiSource("http://shop.example/orders")


@pytest.fixture
def their_database(server: EmbeddedPostgres, template: str) -> Iterator[str]:
    """The shop's own database, with a table of its orders."""
    with ExitStack() as stack:
        url = libpq_url(_clone(server, template, stack))
        with psycopg.connect(url) as conn:
            conn.execute("create schema shop")
            conn.execute("""
                create table shop.stated (external_id text, status text, version integer, updated_at timestamptz)
            """)
            conn.execute("insert into shop.stated select 'S-' || n, 'SUBMITTED', 1, now() from generate_series(1, 3) n")
        yield url


def test_a_database_states_what_its_table_holds(shop: Engine, their_database: str) -> None:
    source = sources.at(f"{their_database}#shop.stated")
    assert compare(shop, source) == {}
    move(shop, "S-1")
    with psycopg.connect(their_database) as conn:
        conn.execute("update shop.stated set version = 4, status = 'PACKAGING' where external_id = 'S-2'")
        conn.execute("update shop.stated set updated_at = now() - interval '9 days' where external_id = 'S-1'")
        conn.execute("insert into shop.stated (external_id, status) values ('S-9', 'SUBMITTED'), ('S-10', 'SOLD')")
    assert compare(shop, source, Scope.RECENT) == {"S-1": "behind_there", "S-2": "ahead_there"}
    assert compare(shop, source) == {"S-1": "behind_there", "S-2": "ahead_there", "S-9": "missing_here"}


def test_a_database_that_is_being_filled_repairs_nothing(shop: Engine, their_database: str) -> None:
    with shop.begin() as conn:
        for number in range(4, 30):
            placing.place(conn, SHOP, new_order(f"S-{number}"))
    with psycopg.connect(their_database) as conn:
        conn.execute("insert into shop.stated select 'S-' || n, 'SUBMITTED', 1, now() from generate_series(4, 29) n")
    source = sources.at(f"{their_database}#shop.stated")
    assert compare(shop, source) == {}
    with psycopg.connect(their_database) as conn:
        conn.execute("delete from shop.stated where external_id <> 'S-1'")
    with pytest.raises(StatementTooSmall, match="does not know 28"):
        compare(shop, source, Scope.RECENT)
    with shop.begin() as conn:
        assert conn.execute(text("select count(*) from ops.outbox where telling > 0")).scalar_one() == 0


@pytest.mark.parametrize(
    "url",
    [
        "HTTPS://:s3cr3t/more@127.0.0.1:1/orders",
        "https://:s3cr3t@127.0.0.1:port/orders",
        "mysql://shop:s3cr3t@127.0.0.1/orders",
        "postgresql+asyncpg://shop:s3cr3t@127.0.0.1/orders",
        "POSTGRESQL://shop:s3cr3t@127.0.0.1:1/orders#stated",
        "s3://key:s3cr3t@bucket/exports",
        "HTTP://:s3cr3t@127.0.0.1:1/orders",
    ],
)
def test_the_secret_of_a_url_that_cannot_be_used_is_told_to_nobody(shop: Engine, url: str) -> None:
    with pytest.raises(StatementUnusable) as refused:
        compare(shop, sources.at(url))
    assert "s3cr3t" not in str(refused.value)
    with shop.begin() as conn:
        told = conn.execute(text("select coalesce(string_agg(error, ' '), '') from ops.reconciliation_runs"))
        assert "s3cr3t" not in told.scalar_one()


def test_a_table_that_is_missing_or_something_else_fails_the_run(shop: Engine, their_database: str) -> None:
    for table in ("shop.nothing", "shop.stated; drop table shop.stated", "a.b.c", ""):
        with pytest.raises(StatementUnusable):
            compare(shop, sources.at(f"{their_database}#{table}"))
    with psycopg.connect(their_database) as conn:
        conn.execute("create view shop.writing as select nextval('ops.outbox_outbox_id_seq')::text as external_id")
        conn.execute("create view shop.unnamed as select 1 as number")
    for table in ("shop.writing", "shop.unnamed"):
        with pytest.raises(StatementUnusable):
            compare(shop, sources.at(f"{their_database}#{table}"))
    with pytest.raises(StatementUnusable, match="cannot be read"):
        compare(shop, sources.at("postgresql://nobody:secret@127.0.0.1:1/none#orders"))
