"""A caller's order is written whole, once, with all that follows from it, or not at all."""

import threading
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from uuid import UUID, uuid4

import pytest
from pydantic import ValidationError
from sqlalchemy import Connection, Engine, text

from mes.callers.model import Caller
from mes.db import engine as engines
from mes.models.errors import NoSuchModel
from mes.orders import placing, repository
from mes.orders.life import Status
from mes.orders.placing import ExternalIdTaken, PlacedInFuture, UnusableQuote
from mes.pricing.quotes import caller_quotes
from mes.pricing.quotes.caller_quotes import NoSuchQuote, PendingQuote, Quote, QuoteRequest
from tests.callers import MODEL, PARTNER, SHOP, add_model, new_order

TABLES = ("ops.orders", "ops.order_items", "ops.order_events", "ops.outbox", "ops.dirty_orders", "procrastinate_jobs")


def _counts(conn: Connection) -> dict[str, int]:
    return {table: conn.execute(text(f"select count(*) from {table}")).scalar_one() for table in TABLES}


def _quote(conn: Connection, caller: Caller = SHOP, **changes: object) -> Quote:
    asked = {"model_id": MODEL, "material": "silver925", "finish": "polished", "quantity": 1} | changes
    quote = caller_quotes.request(conn, caller, QuoteRequest.model_validate(asked))
    assert isinstance(quote, Quote)
    return quote


def test_an_order_comes_with_its_items_event_outbox_row_dirty_marks_and_job(conn: Connection) -> None:
    add_model(conn)
    placed = placing.place(conn, SHOP, new_order())
    assert placed.created
    assert _counts(conn) == {
        "ops.orders": 1,
        "ops.order_items": 1,
        "ops.order_events": 1,
        "ops.outbox": 1,
        "ops.dirty_orders": 2,  # the order's and its items'
        "procrastinate_jobs": 1,
    }
    order = repository.get(conn, placed.order_id)
    assert (order.status, order.version, order.source, order.external_id) == (Status.SUBMITTED, 1, "shop", "S-1")
    told = conn.execute(text("select event from ops.outbox")).scalar_one()
    assert (told["type"], told["subject"], told["sequence"]) == ("mes.order.submitted.v1", str(placed.order_id), "1")
    job = conn.execute(text("select queue_name, task_name, args, status::text from procrastinate_jobs")).one()
    assert tuple(job) == ("pricing", "price_order", {"order_id": str(placed.order_id)}, "todo")


def test_a_transaction_that_is_rolled_back_leaves_nothing(engine: Engine) -> None:
    with engine.begin() as conn:
        add_model(conn)
    with engine.connect() as conn:
        placing.place(conn, SHOP, new_order())
        conn.rollback()
        assert set(_counts(conn).values()) == {0}


def test_the_same_content_again_is_the_same_order(conn: Connection) -> None:
    add_model(conn)
    first = placing.place(conn, SHOP, new_order(due_at="2027-01-01T10:00:00+01:00"))
    before = _counts(conn)
    again = placing.place(conn, SHOP, new_order(due_at="2027-01-01T09:00:00Z", rush=False))
    assert (again.order_id, again.created) == (first.order_id, False)
    assert _counts(conn) == before


@pytest.mark.parametrize(
    "change",
    [{"rush": True}, {"item": {"quantity": 2}}, {"due_at": "2027-01-01T00:00:00Z"}, {"customer": {"external_id": "x"}}],
)
def test_other_content_under_the_same_number_is_refused(conn: Connection, change: dict[str, object]) -> None:
    add_model(conn)
    placing.place(conn, SHOP, new_order())
    before = _counts(conn)
    with pytest.raises(ExternalIdTaken):
        placing.place(conn, SHOP, new_order(**change))
    assert _counts(conn) == before


def test_an_order_that_came_by_a_feed_is_known_by_what_it_says(conn: Connection) -> None:
    add_model(conn)
    first = placing.place(conn, SHOP, new_order(placed_at="2026-11-01T10:00:00Z", due_at="2026-12-01T00:00:00Z"))
    conn.execute(text("update ops.orders set content_hash = null"))  # as an import writes it
    for same in ({}, {"placed_at": "2026-11-01T10:00:00Z"}, {"customer": {"external_id": "c-1", "tier": "retail"}}):
        again = placing.place(conn, SHOP, new_order(due_at="2026-12-01T00:00:00Z", **same))
        assert again == placing.Placed(first.order_id, created=False)
    for other in ({"rush": True}, {"due_at": None}, {"item": {"quantity": 2}}, {"placed_at": "2026-11-01T11:00:00Z"}):
        with pytest.raises(ExternalIdTaken):
            placing.place(conn, SHOP, new_order(**({"due_at": "2026-12-01T00:00:00Z"} | other)))


def test_two_callers_may_use_the_same_numbers(conn: Connection) -> None:
    for caller in (SHOP, PARTNER):
        add_model(conn, caller)
        assert placing.place(conn, caller, new_order()).created
    tiers = conn.execute(text("select source, tier from ops.customers order by source"))
    assert [tuple(row) for row in tiers] == [("acme", "b2b"), ("shop", "retail")]


def test_a_model_that_the_caller_never_uploaded_is_unknown_to_him(conn: Connection) -> None:
    add_model(conn, PARTNER)
    with pytest.raises(NoSuchModel):
        placing.place(conn, SHOP, new_order())
    with pytest.raises(NoSuchModel):
        _quote(conn, SHOP)
    assert _counts(conn)["ops.orders"] == 0


def test_a_name_once_given_is_kept_when_a_later_order_gives_none(conn: Connection) -> None:
    add_model(conn)
    placing.place(conn, SHOP, new_order("1", customer={"external_id": "c", "name": "Ida", "tier": "vip"}))
    placing.place(conn, SHOP, new_order("2", customer={"external_id": "c"}))
    placing.place(conn, SHOP, new_order("3", customer={"external_id": "c", "tier": "b2b"}))
    assert tuple(conn.execute(text("select name, tier from ops.customers")).one()) == ("Ida", "b2b")


def test_an_order_of_tomorrow_is_refused(conn: Connection) -> None:
    add_model(conn)
    with pytest.raises(PlacedInFuture):
        placing.place(conn, SHOP, new_order(placed_at=(datetime.now(UTC) + timedelta(hours=1)).isoformat()))


@pytest.mark.parametrize(
    "change",
    [
        {"item": {"quantity": 0}},
        {"item": {"material": "lead"}},
        {"item": {"model_id": "../etc/passwd"}},
        {"item": {"longest_side_mm": 0.00001}},
        {"items": []},
        {"external_id": " "},
        {"external_id": "a\x00b"},
        {"external_id": "\ud800"},
        {"placed_at": "2026-01-01T00:00:00"},
        {"placed_at": 5},
        {"placed_at": "5"},
        {"placed_at": "2026-01-01"},
        {"placed_at": "2026-01-02T00:00:00Z", "due_at": "2026-01-01T00:00:00Z"},
        {"due_at": "0001-01-01T00:00:00+14:00"},
        {"due_at": "0001-01-02T00:00:00Z"},
        {"due_at": "9999-12-31T23:59:59-14:00"},
        {"placed_at": "1901-01-01T00:00:00Z"},
        {"unknown": 1},
    ],
)
def test_what_makes_no_sense_is_refused_before_it_is_written(change: dict[str, object]) -> None:
    with pytest.raises(ValidationError):
        new_order(**change)


def test_lines_come_once_each() -> None:
    item = {"line": 1, "model_id": MODEL, "material": "silver925", "finish": "polished", "quantity": 1}
    with pytest.raises(ValidationError, match="come more often: 1"):
        new_order(items=[item, item])


def test_an_item_with_a_quote_costs_what_the_quote_says(conn: Connection) -> None:
    add_model(conn)
    quote = _quote(conn, tier="vip", longest_side_mm=18.12345)
    placed = placing.place(conn, SHOP, new_order(item={"quote_id": str(quote.quote_id), "longest_side_mm": 18.12345}))
    kept = conn.execute(text("select quote_id from ops.order_items where order_id = :id"), {"id": placed.order_id})
    assert kept.scalar_one() == quote.quote_id


@pytest.mark.parametrize(
    "change",
    [
        {"quantity": 2},
        {"material": "gold585"},
        {"finish": "satin"},
        {"longest_side_mm": 12.0},
        {"engraving": {"text": "Ida", "side": "inside"}},
        {"stones": [{"cut": "round", "size_mm": 1.5, "count": 1, "setting": "pave", "supplied_by": "workshop"}]},
    ],
)
def test_a_quote_for_something_else_is_refused(conn: Connection, change: dict[str, object]) -> None:
    add_model(conn)
    quote = _quote(conn)
    with pytest.raises(UnusableQuote, match="for another model"):
        placing.place(conn, SHOP, new_order(item={"quote_id": str(quote.quote_id), **change}))
    with pytest.raises(UnusableQuote, match="for another model"):
        placing.place(conn, SHOP, new_order(rush=True, item={"quote_id": str(quote.quote_id)}))


def test_a_quote_of_another_caller_or_of_nobody_is_unknown(conn: Connection) -> None:
    add_model(conn)
    add_model(conn, PARTNER)
    quote = _quote(conn, PARTNER)
    for quote_id in (quote.quote_id, uuid4()):
        with pytest.raises(UnusableQuote, match="no quote with this id"):
            placing.place(conn, SHOP, new_order(item={"quote_id": str(quote_id)}))
    with pytest.raises(NoSuchQuote):
        caller_quotes.get(conn, SHOP, quote.quote_id)
    assert caller_quotes.get(conn, PARTNER, quote.quote_id) == quote


def test_an_expired_quote_is_refused(conn: Connection) -> None:
    add_model(conn)
    quote = _quote(conn)
    with pytest.raises(UnusableQuote, match="no longer valid"):
        placing.place(
            conn,
            SHOP,
            new_order(item={"quote_id": str(quote.quote_id)}),
            clock=lambda: quote.valid_until + timedelta(seconds=1),
        )


def test_a_model_measured_by_an_older_kernel_is_priced_later(conn: Connection) -> None:
    add_model(conn)
    conn.execute(text("update ops.geometries set kernel_version = 0"))
    asked = QuoteRequest(model_id=MODEL, material="silver925", finish="satin", quantity=3)  # type: ignore[arg-type]
    pending = caller_quotes.request(conn, SHOP, asked)
    assert isinstance(pending, PendingQuote)
    assert caller_quotes.get(conn, SHOP, pending.quote_id) == pending
    with pytest.raises(NoSuchQuote):
        caller_quotes.get(conn, PARTNER, pending.quote_id)
    assert conn.execute(text("select args from procrastinate_jobs")).scalar_one() == {"quote_id": str(pending.quote_id)}
    add_model(conn)  # what the job does first: the model, measured by today's kernel
    caller_quotes.complete(conn, pending.quote_id)
    done = caller_quotes.get(conn, SHOP, pending.quote_id)
    assert isinstance(done, Quote)
    assert (done.quote_id, done.quantity, done.finish) == (pending.quote_id, 3, "satin")
    caller_quotes.complete(conn, pending.quote_id)  # a job that runs again
    assert caller_quotes.get(conn, SHOP, pending.quote_id) == done


@pytest.mark.parametrize("same_number", [True, False])
def test_twenty_at_once_make_each_order_once(database_url: str, same_number: bool) -> None:
    """The same order twenty times, or twenty orders of one new customer: never two of one, never none."""
    engine = engines.connect(database_url, pool_size=20)
    with engine.begin() as conn:
        add_model(conn)
    start = threading.Barrier(20)
    made: list[placing.Placed] = []

    def place(number: int) -> None:
        start.wait()
        with engine.begin() as conn:
            made.append(placing.place(conn, SHOP, new_order("S-1" if same_number else f"S-{number}")))

    threads = [threading.Thread(target=place, args=(number,)) for number in range(20)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    expected = 1 if same_number else 20
    assert [placed.created for placed in made].count(True) == expected
    assert len(_distinct(made)) == expected
    with engine.begin() as conn:
        counts = _counts(conn)
    engine.dispose()
    assert counts["ops.orders"] == counts["ops.order_events"] == counts["procrastinate_jobs"] == expected


def _distinct(made: Sequence[placing.Placed]) -> set[UUID]:
    return {placed.order_id for placed in made}
