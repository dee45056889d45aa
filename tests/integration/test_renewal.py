"""Open orders get new quotes when theirs have run out or were wrong; nothing else is touched."""

import threading
from collections.abc import Iterator, Sequence
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from uuid import UUID

import pytest
from sqlalchemy import Connection, Engine, text
from typer.testing import CliRunner

from mes import config
from mes.orders import placing, repository, service
from mes.orders.life import Status, System
from mes.orders.model import Actor, Event, VersionConflict
from mes.pricing.geometry import KERNEL_VERSION
from mes.pricing.quotes import caller_quotes, order_quotes, renewal
from mes.pricing.quotes.caller_quotes import Quote, QuoteRequest
from mes.pricing.quotes.renewal import Renewed
from mes.pricing.rates import rate_cards, rate_store
from mes.pricing.rates.rate_card import RateCard
from mes.pricing.rates.rate_cards import NoRateCard
from mes.runtime.cli import app
from tests.callers import MODEL, SHOP, add_model, new_order
from tests.orders import PLACED_AT, add_order

VALID_DAYS = 14
LATER = PLACED_AT + timedelta(days=VALID_DAYS + 1)
CRM = Actor(System.CRM, "sales")
OLD = rate_cards.load_sample()[-1].model_copy(update={"valid_from": date(2026, 10, 1)})
REASON = "the card had the silver price of another day"


def _dearer(ounce: int = 60) -> RateCard:
    metals = OLD.metals.model_copy(update={"silver": Decimal(ounce)})
    return OLD.model_copy(update={"valid_from": date(2026, 11, 10), "metals": metals})


def _later() -> datetime:
    return LATER


def _load(engine: Engine, *cards: RateCard) -> None:
    with engine.begin() as conn:
        rate_store.load(conn, cards)


def _order(conn: Connection, number: str = "S-1", *, lines: int = 1, material: str = "silver925") -> UUID:
    """A priced order, placed on 1 November."""
    order_id = add_order(conn, number)
    for line in range(1, lines + 1):
        conn.execute(
            text("""
                insert into ops.order_items (order_id, line, model_id, material, finish, quantity)
                values (:order_id, :line, :model, :material, 'polished', 1)
            """),
            {"order_id": order_id, "line": line, "model": MODEL, "material": material},
        )
    order_quotes.quote_items(conn, [order_id])
    return order_id


@pytest.fixture
def shop(marts_engine: Engine) -> Engine:
    """A shop that knows a model and a card."""
    _load(marts_engine, OLD)
    with marts_engine.begin() as conn:
        add_model(conn)
    return marts_engine


@pytest.fixture
def order_id(shop: Engine) -> UUID:
    """A priced order whose quote runs out before `LATER`."""
    with shop.begin() as conn:
        return _order(conn)


def _expire(engine: Engine) -> Renewed:
    done = Renewed()
    while True:
        with engine.begin() as conn:
            step = renewal.renew_expired(conn, after=done.last, limit=2, clock=_later)
        done += step
        if step.last is None:
            return done


def _events(engine: Engine, order_id: UUID) -> Sequence[Event]:
    with engine.begin() as conn:
        return repository.events(conn, order_id)


def _quotes(engine: Engine) -> list[tuple[Decimal, datetime, bool]]:
    """Total, end of validity and whether superseded, oldest first."""
    with engine.begin() as conn:
        rows = conn.execute(
            text("select total, valid_until, superseded_by is not null from ops.quotes order by created_at, quote_id")
        )
        return [(row[0], row[1], row[2]) for row in rows]


def test_a_quote_that_ran_out_is_superseded_and_the_difference_told(shop: Engine, order_id: UUID) -> None:
    _load(shop, _dearer())
    assert _expire(shop) == Renewed(orders=1, quotes=1, repriced=1)
    (old, until, is_old), (new, new_until, is_new) = _quotes(shop)
    assert (is_old, is_new) == (True, False)
    assert until == PLACED_AT + timedelta(days=VALID_DAYS)
    assert new_until == LATER + timedelta(days=VALID_DAYS)
    event = _events(shop, order_id)[-1]
    assert (event.type, event.reason, event.data) == (
        "repriced",
        renewal.EXPIRED,
        {"total": {"from": str(old), "to": str(new)}},
    )
    with shop.begin() as conn:
        assert repository.get(conn, order_id).status is Status.PRICE_CALCULATED
        told = conn.execute(text("select event from ops.outbox order by sequence desc limit 1")).scalar_one()
    assert told["type"] == "mes.order.repriced.v1"


def test_the_same_total_is_renewed_in_silence(shop: Engine, order_id: UUID) -> None:
    before = _events(shop, order_id)
    assert _expire(shop) == Renewed(orders=1, quotes=1)
    assert _events(shop, order_id) == before
    assert [is_old for _, _, is_old in _quotes(shop)] == [True, False]


def test_renewing_again_does_nothing(shop: Engine, order_id: UUID) -> None:
    _load(shop, _dearer())
    _expire(shop)
    before = _events(shop, order_id)
    assert _expire(shop) == Renewed()
    with shop.begin() as conn:
        assert renewal.renew(conn, [order_id], reason=REASON, clock=_later) == Renewed(orders=1, last=order_id)
    assert _events(shop, order_id) == before
    assert len(_quotes(shop)) == 2


def test_a_valid_quote_does_not_run_out(shop: Engine, order_id: UUID) -> None:
    _load(shop, _dearer())
    with shop.begin() as conn:
        end = PLACED_AT + timedelta(days=VALID_DAYS)
        assert renewal.renew_expired(conn, clock=lambda: end) == Renewed()


@pytest.mark.parametrize("status", [Status.INITIATED, *list(Status)[3:]])
def test_only_orders_that_nobody_approved_run_out(shop: Engine, order_id: UUID, status: Status) -> None:
    _load(shop, _dearer())
    with shop.begin() as conn:
        conn.execute(text("update ops.orders set status = cast(:status as ops.order_status)"), {"status": status.value})
    assert _expire(shop) == Renewed()


def test_a_price_that_was_paid_does_not_run_out(shop: Engine, order_id: UUID) -> None:
    """Imported orders that nobody closed for years were paid when they were placed."""
    _load(shop, _dearer())
    with shop.begin() as conn:
        conn.execute(text("update ops.orders set paid = 137.60"))
    assert _expire(shop) == Renewed()


def test_a_hold_does_not_keep_a_quote_from_running_out(shop: Engine, order_id: UUID) -> None:
    _load(shop, _dearer())
    with shop.begin() as conn:
        service.hold(conn, order_id, CRM, "customer travels")
    assert _expire(shop).repriced == 1
    with shop.begin() as conn:
        assert repository.get(conn, order_id).hold_reason == "customer travels"


def test_only_the_items_whose_quotes_ran_out_are_renewed(shop: Engine) -> None:
    _load(shop, _dearer())
    with shop.begin() as conn:
        order_id = _order(conn, lines=2)
        conn.execute(text("update ops.quotes set valid_until = '2027-01-01' where line = 2"))
    assert _expire(shop).quotes == 1
    (one, _, _), (two, _, _), (anew, _, _) = _quotes(shop)
    assert _events(shop, order_id)[-1].data == {"total": {"from": str(one + two), "to": str(anew + two)}}


def test_many_orders_are_renewed_in_steps(shop: Engine) -> None:
    with shop.begin() as conn:
        orders = [_order(conn, str(number)) for number in range(5)]
    _load(shop, _dearer())
    assert _expire(shop) == Renewed(orders=5, quotes=5, repriced=5)
    assert {len(_events(shop, order_id)) for order_id in orders} == {3}


def test_without_a_card_in_force_nothing_is_renewed(shop: Engine, order_id: UUID) -> None:
    with shop.begin() as conn:
        conn.execute(text("update ops.rate_cards set valid_to = '2026-11-12'"))
    with shop.begin() as conn, pytest.raises(NoRateCard):
        renewal.renew_expired(conn, clock=_later)
    assert len(_quotes(shop)) == 1


def test_an_item_without_a_price_any_more_keeps_its_quote_and_holds_its_order(shop: Engine) -> None:
    with shop.begin() as conn:
        order_id = _order(conn)
        conn.execute(text("update ops.geometries set volume_mm3 = 0"))
    done = _expire(shop)
    assert (done.quotes, done.held, done.problems) == (0, 1, {"bad_geometry": 1})
    with shop.begin() as conn:
        assert "item 1: there is no price for it" in (repository.get(conn, order_id).hold_reason or "")
    assert _expire(shop).held == 0
    assert len(_quotes(shop)) == 1


def test_an_order_placed_at_a_callers_quote_is_renewed_like_any(shop: Engine) -> None:
    with shop.begin() as conn:
        asked = {"model_id": MODEL, "material": "silver925", "finish": "polished", "quantity": 1}
        quote = caller_quotes.request(conn, SHOP, QuoteRequest.model_validate(asked), clock=lambda: PLACED_AT)
        assert isinstance(quote, Quote)
        order = new_order(item={"quote_id": str(quote.quote_id)})
        placed = placing.place(conn, SHOP, order, clock=lambda: PLACED_AT)
        order_quotes.quote_items(conn, [placed.order_id])
    _load(shop, _dearer())
    assert _expire(shop).repriced == 1
    with shop.begin() as conn:
        now = conn.execute(text("select quote_id from ops.order_items")).scalar_one()
        read = caller_quotes.get(conn, SHOP, quote.quote_id)
        assert isinstance(read, Quote)
        assert (read.total, read.superseded_by) == (quote.total, now)


@pytest.mark.parametrize("status", [Status.MANUFACTURING_APPROVED, Status.PACKAGING])
def test_what_was_wrong_is_repriced_whoever_approved_it(shop: Engine, order_id: UUID, status: Status) -> None:
    _load(shop, _dearer())
    with shop.begin() as conn:
        conn.execute(text("update ops.orders set status = cast(:status as ops.order_status)"), {"status": status.value})
        (change,) = renewal.preview(conn, [order_id], clock=_later)
        assert len(_quotes(shop)) == 1
        assert renewal.renew(conn, [order_id], reason=REASON, clock=_later).repriced == 1
    event = _events(shop, order_id)[-1]
    assert (event.reason, event.data) == (REASON, {"total": {"from": str(change.was), "to": str(change.total)}})


@pytest.mark.parametrize("status", [Status.SHIPPED, Status.CLOSED, Status.CANCELLED])
def test_a_finished_order_is_never_repriced(shop: Engine, order_id: UUID, status: Status) -> None:
    _load(shop, _dearer())
    with shop.begin() as conn:
        conn.execute(text("update ops.orders set status = cast(:status as ops.order_status)"), {"status": status.value})
        assert renewal.renew(conn, [order_id], reason=REASON, clock=_later) == Renewed()
    assert len(_quotes(shop)) == 1


def _measure_anew(conn: Connection, *, closed: bool = True) -> None:
    conn.execute(
        text("""
            insert into ops.geometries (model_id, kernel_version, triangles, volume_mm3, area_mm2, extent_x_mm,
                extent_y_mm, extent_z_mm, bodies, closed, open_edges, facing)
            values (:model, :kernel, 12, 1200, 600, 10, 10, 10, 1, :closed, :open_edges, 'outward')
        """),
        {"model": MODEL, "kernel": KERNEL_VERSION + 1, "closed": closed, "open_edges": 0 if closed else 4},
    )


def test_a_model_measured_anew_reprices_its_orders_when_asked(shop: Engine, order_id: UUID) -> None:
    with shop.begin() as conn:
        _measure_anew(conn)
        assert renewal.renew_expired(conn, clock=lambda: PLACED_AT) == Renewed()
        done = renewal.renew(conn, [order_id], reason="measured anew", clock=_later)
    assert (done.repriced, done.held) == (1, 0)
    (old, _, _), (new, _, _) = _quotes(shop)
    assert new > old


def test_what_a_newer_kernel_finds_holds_an_order_and_what_was_judged_before_does_not(shop: Engine) -> None:
    with shop.begin() as conn:
        order_id = _order(conn)
        conn.execute(text("update ops.geometries set closed = false, open_edges = 3"))
    _load(shop, _dearer())
    assert _expire(shop).held == 0
    with shop.begin() as conn:
        _measure_anew(conn, closed=False)
        assert renewal.renew(conn, [order_id], reason="measured anew", clock=_later).held == 1
        assert "4 edges are open" in (repository.get(conn, order_id).hold_reason or "")


def test_an_approval_and_a_renewal_at_once_take_turns(shop: Engine, order_id: UUID) -> None:
    """Approved first: the price stays. Renewed first: it is the new price that is approved."""
    _load(shop, _dearer())
    with shop.begin() as approving:
        service.transition(approving, order_id, Status.MANUFACTURING_APPROVED, CRM)
        with shop.begin() as conn:
            assert renewal.renew_expired(conn, clock=_later) == Renewed()  # left to whoever works on it
    assert _expire(shop) == Renewed()
    assert len(_quotes(shop)) == 1


def test_an_approval_of_the_price_that_was_seen_is_refused_once_it_is_another(shop: Engine, order_id: UUID) -> None:
    _load(shop, _dearer())
    with shop.begin() as conn:
        seen = repository.get(conn, order_id).version
    failed: list[VersionConflict] = []

    def approve() -> None:
        try:
            with shop.begin() as conn:
                service.transition(conn, order_id, Status.MANUFACTURING_APPROVED, CRM, expected_version=seen)
        except VersionConflict as error:
            failed.append(error)

    with shop.begin() as renewing:
        assert renewal.renew_expired(renewing, clock=_later).repriced == 1
        approving = threading.Thread(target=approve)
        approving.start()
    approving.join(timeout=30)
    assert len(failed) == 1


def test_two_renewals_at_once_make_one_new_quote(shop: Engine) -> None:
    with shop.begin() as conn:
        orders = [_order(conn, str(number)) for number in range(6)]
    _load(shop, _dearer())
    done: list[Renewed] = []

    def ask() -> None:
        with shop.begin() as conn:
            done.append(renewal.renew(conn, orders, reason=REASON, clock=_later))

    workers = [threading.Thread(target=work) for work in (lambda: done.append(_expire(shop)), ask, ask)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join(timeout=60)
    assert len(done) == 3
    assert sum(each.quotes for each in done) == 6
    assert {len(_events(shop, order_id)) for order_id in orders} == {3}


def test_a_renewal_that_is_rolled_back_leaves_nothing(shop: Engine, order_id: UUID) -> None:
    _load(shop, _dearer())
    before = _events(shop, order_id)
    with shop.connect() as conn:
        assert renewal.renew_expired(conn, clock=_later).repriced == 1
        conn.rollback()
    assert (_events(shop, order_id), len(_quotes(shop))) == (before, 1)


@pytest.fixture
def command(shop: Engine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[CliRunner]:
    """`mes` on the shop's database."""
    monkeypatch.setenv("MES_DATABASE_URL", shop.url.render_as_string(hide_password=False))
    monkeypatch.setenv("MES_HOME", str(tmp_path))
    config.load.cache_clear()
    yield CliRunner()
    config.load.cache_clear()


@pytest.mark.parametrize("which", [["--card", OLD.version], ["--model", MODEL], ["--order", "shop/S-1"]])
def test_the_command_shows_then_does(shop: Engine, order_id: UUID, command: CliRunner, which: list[str]) -> None:
    _load(shop, _dearer())
    argv = ["reprice", *which, "--reason", REASON]
    looked = command.invoke(app, [*argv, "--dry-run"])
    assert (looked.exit_code, "1 open orders found, 1 to be renewed, 1 of them" in looked.output) == (0, True)
    assert len(_quotes(shop)) == 1
    unasked = command.invoke(app, argv)
    assert (unasked.exit_code, "--yes" in unasked.output) == (2, True)
    assert len(_quotes(shop)) == 1
    done = command.invoke(app, [*argv, "--yes"])
    assert (done.exit_code, "1 orders repriced" in done.output) == (0, True)
    assert _events(shop, order_id)[-1].reason == REASON
    again = command.invoke(app, [*argv, "--yes"])
    assert (again.exit_code, len(_quotes(shop))) == (0, 2)


@pytest.mark.parametrize(
    ("argv", "said"),
    [
        (["--reason", "x"], "one of the three"),
        (["--reason", " ", "--model", MODEL], "Name a reason"),
        (["--reason", "x", "--order", "shop/none"], "no such order"),
    ],
)
def test_the_command_explains_what_it_cannot_do(command: CliRunner, argv: list[str], said: str) -> None:
    failed = command.invoke(app, ["reprice", *argv])
    assert (failed.exit_code, said in failed.output) == (2, True)


def test_the_new_quote_is_valid_for_what_its_card_says(shop: Engine, order_id: UUID) -> None:
    terms = OLD.terms.model_copy(update={"quote_valid_days": 3})
    _load(shop, _dearer().model_copy(update={"terms": terms}))
    _expire(shop)
    assert _quotes(shop)[-1][1] == datetime(2026, 11, 16, 9, tzinfo=UTC) + timedelta(days=3)
