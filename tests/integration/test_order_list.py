"""The console's lists read by key: whole, in order, both ways, and on an index."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from uuid import uuid4

import pytest
from sqlalchemy import Connection, Engine, text

from mes.lists import counts, open_search, order_details, order_list, quarantine, refresher
from mes.lists.order_list import Filter, ListedOrder, Page, Scope
from mes.orders.life import Status
from mes.orders.model import NoSuchOrder
from tests.orders import add_order

DAY = datetime(2026, 11, 2, tzinfo=UTC)
STATUSES = (Status.SUBMITTED, Status.PACKAGING, Status.CLOSED, Status.SHIPPED)
FILTERS = (
    Filter(),
    Filter(Status.PACKAGING),
    Filter(Status.CLOSED),
    Filter(Scope.ALL),
    Filter(late=True),
    Filter(held=True),
    Filter(Scope.ALL, words=("s-1",)),
    Filter(words=("s-1",)),
    Filter(words=("customer", "s-")),
    Filter(Status.PACKAGING, words=("s-",)),
)


@pytest.fixture
def orders(marts_engine: Engine) -> Engine:
    """120 orders in four statuses; many share a due date, so that keys tie."""
    with marts_engine.begin() as conn:
        ids = [
            add_order(conn, f"S-{number}", status=STATUSES[number % 4], placed_at=DAY, due_in=timedelta(number % 5))
            for number in range(120)
        ]
        conn.execute(text("update ops.orders set overdue = true where external_id like '%7'"))
        conn.execute(
            text("""
                update ops.orders set hold_reason = 'thin', held_since = now()
                where external_id like '%4' and status = 'SUBMITTED'
            """)
        )
        refresher.refresh_now(conn, ids)
    return marts_engine


def _all_pages(conn: Connection, chosen: Filter, rows: int = 4) -> list[Page]:
    pages = [order_list.page(conn, chosen, rows=rows)]
    while pages[-1].has_next:
        last = order_list.key_of(pages[-1].rows[-1], chosen)
        pages.append(order_list.page(conn, chosen, after=last, rows=rows))
    return pages


@pytest.mark.parametrize("chosen", FILTERS, ids=str)
def test_pages_hold_every_row_once_both_ways(orders: Engine, chosen: Filter, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(open_search, "LOOKED_AT", 7)
    with orders.connect() as conn:
        whole = order_list.page(conn, chosen, rows=1_000)
        forward = _all_pages(conn, chosen)
        assert [row for page in forward for row in page.rows] == list(whole.rows)
        assert len(forward) > 1
        backward, page = [forward[-1].rows], forward[-1]
        while page.has_previous:
            page = order_list.page(conn, chosen, before=order_list.key_of(page.rows[0], chosen), rows=4)
            backward.insert(0, page.rows)
        assert backward == [page.rows for page in forward]


@pytest.mark.parametrize("looked_at", [1, 7, 3_000])
@pytest.mark.parametrize("words", [("s-1",), ("s-77",), ("s-", "9"), ("nothing",)], ids="+".join)
def test_open_orders_with_words_are_those_that_say_them(
    orders: Engine, words: tuple[str, ...], looked_at: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(open_search, "LOOKED_AT", looked_at)
    with orders.connect() as conn:
        for only in (Filter(), Filter(late=True), Filter(Status.SUBMITTED)):
            every = order_list.page(conn, only, rows=1_000).rows
            said = {row.order_id: _said(row) for row in every}
            wanted = [row for row in every if all(_is_said(word, said[row.order_id]) for word in words)]
            assert list(order_list.page(conn, replace(only, words=words), rows=1_000).rows) == wanted
            for skipped in range(0, len(wanted), 5):
                key = order_list.key_of(wanted[skipped], only)
                page = order_list.page(conn, replace(only, words=words), after=key, rows=4)
                assert list(page.rows) == wanted[skipped + 1 : skipped + 5]
                assert page.has_next == (skipped + 5 < len(wanted))


@pytest.mark.parametrize("letter", ["x", "\N{GEM STONE}"])
def test_a_word_at_the_end_of_a_very_long_note_is_found(orders: Engine, letter: str) -> None:
    note = f"{letter * 30_000} engrave  Ørsted"
    with orders.begin() as conn:
        order_id = conn.execute(
            text("update ops.orders set note = :note where external_id = 'S-60' returning order_id"), {"note": note}
        ).scalar_one()
        refresher.refresh_now(conn, [order_id])
        for words in (("ørsted",), ("engrave", "s-60"), ("xxx" if letter == "x" else letter,)):
            assert [row.external_id for row in order_list.page(conn, Filter(words=words)).rows] == ["S-60"]
        assert not order_list.page(conn, Filter(words=("engraved",))).rows


def _said(row: ListedOrder) -> str:
    parts = (row.external_id, row.customer_external_id, row.customer_name, row.materials, row.note)
    return " ".join(["", *(part for part in parts if part is not None)]).lower()


def _is_said(word: str, said: str) -> bool:
    return word in said if len(word) > 2 else f" {word}" in said


def test_open_orders_come_by_least_slack_and_finished_ones_by_their_end(orders: Engine) -> None:
    with orders.connect() as conn:
        starts = [row.latest_start_at for row in order_list.page(conn, Filter(), rows=100).rows]
        assert starts == sorted(starts)
        ends = [row.status_since for row in order_list.page(conn, Filter(Status.SHIPPED), rows=100).rows]
        assert ends == sorted(ends, reverse=True)


def test_filters_leave_only_what_they_name(orders: Engine) -> None:
    with orders.connect() as conn:
        late = order_list.page(conn, Filter(late=True), rows=100).rows
        assert all(row.due_at is not None and row.due_at < datetime.now(UTC) for row in late)
        assert all(row.hold_reason is not None for row in order_list.page(conn, Filter(held=True), rows=100).rows)
        found = order_list.page(conn, Filter(Scope.ALL, words=("S-11", "customer")), rows=100).rows
        assert {row.external_id for row in found} == {"S-11", *(f"S-11{digit}" for digit in range(10))}


@pytest.mark.parametrize("wildcard", ["%", "_", "\\", "S_1"])
def test_wildcards_are_searched_as_they_are(orders: Engine, wildcard: str) -> None:
    with orders.connect() as conn:
        assert not order_list.page(conn, Filter(Scope.ALL, words=(wildcard,))).rows


def test_counts_agree_with_the_list(orders: Engine) -> None:
    with orders.connect() as conn:
        found = counts.orders(conn)
        assert found.open == len(order_list.page(conn, Filter(), rows=1_000).rows)
        assert found.late == len(order_list.page(conn, Filter(late=True), rows=1_000).rows)
        assert found.held == len(order_list.page(conn, Filter(held=True), rows=1_000).rows)
        assert found.by_status[Status.PACKAGING] == 30


def test_an_order_is_found_by_its_number(orders: Engine) -> None:
    with orders.connect() as conn:
        (found,) = order_list.find(conn, "S-3")
        assert order_details.read(conn, found.order_id).order.external_id == "S-3"
        assert order_list.find(conn, "S-1000") == []


def test_details_of_an_unknown_order_are_refused(marts_engine: Engine) -> None:
    with marts_engine.connect() as conn, pytest.raises(NoSuchOrder):
        order_details.version(conn, uuid4())


def test_findings_are_paged_and_exported_whole(marts_engine: Engine) -> None:
    with marts_engine.begin() as conn:
        conn.execute(
            text("""
                insert into ops.quarantine (feed, file, line, stage, kind, reason, advice, content, content_hash)
                select 'shop_orders', 'a', n, 'read', case when n % 3 = 0 then 'odd' else 'bad' end, 'r', 'a', '', ''
                from generate_series(1, 30) as n
            """)
        )
        first = quarantine.page(conn, quarantine.BAD_ROWS, kind="bad", rows=8)
        second = quarantine.page(conn, quarantine.BAD_ROWS, kind="bad", key=first.rows[-1].key, rows=8)
        back = quarantine.page(
            conn, quarantine.BAD_ROWS, kind="bad", turn=quarantine.Turn.BEFORE, key=second.rows[0].key, rows=8
        )
        assert (back.rows, back.has_previous) == (first.rows, False)
        assert [row.line for row in quarantine.export(conn, quarantine.BAD_ROWS, kind="odd")] == list(range(30, 0, -3))
        assert [(group.kind, group.rows) for group in quarantine.groups(conn, quarantine.BAD_ROWS)] == [
            ("bad", 20),
            ("odd", 10),
        ]
