"""What shop and CRM tell is applied once each, in sequence, whatever the delivery does."""

import json
from datetime import UTC, datetime
from typing import Any
from uuid import UUID, uuid4

import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from sqlalchemy import Connection, Engine, text

from mes.events import applying, inbox, incoming
from mes.events.inbox import Key, NothingParked
from mes.events.incoming import UnreadableEvent
from mes.events.judging import Standing, Verdict, judge
from mes.orders import life, placing, repository, service
from mes.orders.life import Status, System
from mes.orders.model import Actor
from tests.callers import SHOP, add_model, new_order
from tests.senders import NOW, event, later

MES = Actor(System.MES, "Vera")
CRM_KEY = Key("crm", "shop", "S-1")


@pytest.fixture
def shop(conn: Connection) -> Connection:
    add_model(conn)
    return conn


def tell(conn: Connection, *events: dict[str, Any], sender: str = "crm") -> int:
    read = [incoming.read(sender, json.dumps(each).encode(), now=NOW) for each in events]
    return inbox.accept(conn, read, "test")


def settle(conn: Connection) -> None:
    """Look until nothing is due."""
    inbox.wake(conn)
    while applying.look(conn).orders:
        inbox.wake(conn)


def place(conn: Connection, number: str = "S-1") -> UUID:
    return placing.place(conn, SHOP, new_order(number)).order_id


def move(conn: Connection, order_id: UUID, *path: Status) -> None:
    for to in path:
        service.transition(conn, order_id, to, MES)


def types(conn: Connection, order_id: UUID) -> list[str]:
    return [each.type for each in repository.events(conn, order_id)]


def states(conn: Connection) -> list[tuple[object, ...]]:
    rows = conn.execute(text("select sequence, state from ops.inbox order by sequence nulls last, inbox_id"))
    return [tuple(row) for row in rows]


def reason_parked(conn: Connection) -> str | None:
    return conn.execute(text("select parked_reason from ops.inbox_orders")).scalar_one()  # type: ignore[no-any-return]


def test_an_event_is_applied_with_the_time_and_the_id_that_its_sender_gave(shop: Connection) -> None:
    order_id = place(shop)
    move(shop, order_id, Status.PRICE_CALCULATED)
    tell(shop, event(1, "MANUFACTURING_APPROVED"))
    settle(shop)
    row = shop.execute(
        text("select system, occurred_at, source_event_id, sequence from ops.order_events where type = :type"),
        {"type": "MANUFACTURING_APPROVED"},
    ).one()
    assert tuple(row) == ("crm", datetime(2026, 11, 29, 10, tzinfo=UTC), "S-1/1", 3)
    assert states(shop) == [(1, "applied")]


def test_a_later_event_waits_for_its_predecessor(shop: Connection) -> None:
    order_id = place(shop)
    move(shop, order_id, Status.PRICE_CALCULATED)
    tell(shop, event(2, "CLOSED"))
    settle(shop)
    assert types(shop, order_id)[-1] == "PRICE_CALCULATED"
    tell(shop, event(1, "MANUFACTURING_APPROVED"))
    settle(shop)
    path = (Status.MANUFACTURING_STARTED, Status.MANUFACTURING_COMPLETED, Status.PACKAGING, Status.SHIPPED)
    assert types(shop, order_id)[-1] == "MANUFACTURING_APPROVED"
    move(shop, order_id, *path)
    settle(shop)
    assert types(shop, order_id)[-1] == "CLOSED"


def test_the_same_event_twice_is_one_and_an_earlier_one_is_ignored(shop: Connection) -> None:
    order_id = place(shop)
    move(shop, order_id, Status.PRICE_CALCULATED)
    assert tell(shop, event(1, "MANUFACTURING_APPROVED"), event(1, "MANUFACTURING_APPROVED")) == 1
    settle(shop)
    assert tell(shop, event(1, "MANUFACTURING_APPROVED")) == 0
    assert tell(shop, event(1, "CANCELLED", id="another")) == 1
    settle(shop)
    # a cancellation is judged ahead of the sequence; one that its sender overtook long ago is none
    assert types(shop, order_id)[-1] == "MANUFACTURING_APPROVED"
    assert states(shop) == [(1, "applied"), (1, "ignored")]


def test_what_comes_before_its_order_waits_for_it(shop: Connection) -> None:
    tell(shop, event(1, "MANUFACTURING_APPROVED"))
    settle(shop)
    assert states(shop) == [(1, "waiting")]
    order_id = place(shop)
    settle(shop)
    assert states(shop) == [(1, "waiting")]
    move(shop, order_id, Status.PRICE_CALCULATED)
    settle(shop)
    assert types(shop, order_id)[-1] == "MANUFACTURING_APPROVED"


def test_an_event_waits_while_its_order_is_on_hold(shop: Connection) -> None:
    order_id = place(shop)
    move(shop, order_id, Status.PRICE_CALCULATED)
    service.hold(shop, order_id, MES, "look at it")
    tell(shop, event(1, "MANUFACTURING_APPROVED"))
    settle(shop)
    assert types(shop, order_id)[-1] == "held"
    service.release(shop, order_id, MES)
    settle(shop)
    assert types(shop, order_id)[-1] == "MANUFACTURING_APPROVED"


def test_a_cancellation_is_judged_ahead_of_what_waits_and_of_gaps(shop: Connection) -> None:
    order_id = place(shop)
    tell(shop, event(1, "MANUFACTURING_APPROVED"), event(3, "CANCELLED"))
    settle(shop)
    assert types(shop, order_id) == ["SUBMITTED", "CANCELLED"]
    assert states(shop) == [(1, "ignored"), (3, "applied")]
    tell(shop, event(2, "CLOSED"))
    settle(shop)
    assert states(shop) == [(1, "ignored"), (2, "ignored"), (3, "applied")]
    assert reason_parked(shop) is None


@pytest.mark.parametrize(
    ("told", "sender", "reason"),
    [
        ("SHIPPED", "crm", "the CRM never sets SHIPPED"),
        ("MELTED", "crm", "`data.type` must be one of"),
        ("MANUFACTURING_APPROVED", "shop", "the shop never sets MANUFACTURING_APPROVED"),
    ],
)
def test_what_can_never_be_legal_parks_its_order_alone(shop: Connection, told: str, sender: str, reason: str) -> None:
    parked, other = place(shop), place(shop, "S-2")
    for order_id in (parked, other):
        move(shop, order_id, Status.PRICE_CALCULATED)
    tell(shop, event(1, told), sender=sender)
    tell(shop, event(1, "MANUFACTURING_APPROVED", "S-2"))
    settle(shop)
    assert types(shop, other)[-1] == "MANUFACTURING_APPROVED"
    assert types(shop, parked)[-1] == "PRICE_CALCULATED"
    found = shop.execute(text("select parked_reason from ops.inbox_orders where external_id = 'S-1'")).scalar_one()
    assert reason in found


def test_a_cancellation_after_shipping_parks_and_a_second_one_does_not(shop: Connection) -> None:
    order_id = place(shop)
    move(shop, order_id, Status.PRICE_CALCULATED)
    tell(shop, event(1, "MANUFACTURING_APPROVED"))
    settle(shop)
    path = (Status.MANUFACTURING_STARTED, Status.MANUFACTURING_COMPLETED, Status.PACKAGING, Status.SHIPPED)
    move(shop, order_id, *path)
    tell(shop, event(2, "CANCELLED"))
    settle(shop)
    assert reason_parked(shop) == "an order that is SHIPPED can never become CANCELLED"
    inbox.replay(shop, CRM_KEY, skip=True, by="Ada")
    tell(shop, event(3, "CLOSED"))
    settle(shop)
    assert types(shop, order_id)[-1] == "CLOSED"


def test_a_person_continues_a_parked_order_in_order(shop: Connection) -> None:
    order_id = place(shop)
    move(shop, order_id, Status.PRICE_CALCULATED)
    tell(shop, event(1, "SHIPPED"), event(2, "MANUFACTURING_APPROVED"))
    settle(shop)
    assert states(shop) == [(1, "parked"), (2, "waiting")]
    inbox.replay(shop, CRM_KEY, skip=False, by="Ada")
    settle(shop)
    assert states(shop) == [(1, "parked"), (2, "waiting")]  # it is no better than before
    inbox.replay(shop, CRM_KEY, skip=True, by="Ada")
    settle(shop)
    assert states(shop) == [(1, "ignored"), (2, "applied")]
    assert types(shop, order_id)[-1] == "MANUFACTURING_APPROVED"
    with pytest.raises(NothingParked):
        inbox.replay(shop, CRM_KEY, skip=False, by="Ada")


def test_a_gap_is_asked_about_after_five_seconds_and_again_every_thirty(shop: Connection) -> None:
    place(shop)
    tell(shop, event(2, "CLOSED"))
    assert applying.look(shop).gaps == ()
    assert applying.look(shop).orders == 0
    later(shop, 6)
    assert applying.look(shop).gaps == (CRM_KEY,)
    later(shop, 10)
    assert applying.look(shop).orders == 0
    later(shop, 21)
    assert applying.look(shop).gaps == (CRM_KEY,)
    tell(shop, event(1, "CANCELLED"))
    settle(shop)
    assert shop.execute(text("select count(gap_since) from ops.inbox_orders")).scalar_one() == 0


def test_a_senders_feed_and_its_bus_share_one_count(shop: Connection) -> None:
    """The feed has brought 1 and 2; the bus goes on with 3, and what it repeats is ignored."""
    order_id = place(shop)
    move(shop, order_id, Status.PRICE_CALCULATED)
    service.transition(shop, order_id, Status.MANUFACTURING_APPROVED, Actor(System.CRM, "import"))
    shop.execute(
        text("""
            insert into raw.crm_order_events
                (event_id, source, external_id, sequence, type, occurred_at, month, file, line, applied_at)
            select 'f-' || n, 'shop', 'S-1', n, 'MANUFACTURING_APPROVED', now(), '2026-11-01', 'f', n,
                case when n < 4 then now() end
            from unnest(array[1, 2, 4]) as n
        """)
    )
    tell(shop, event(2, "MANUFACTURING_APPROVED"), event(3, "CANCELLED"))
    settle(shop)
    assert states(shop) == [(2, "ignored"), (3, "applied")]


def test_senders_without_numbers_are_ordered_by_the_life_of_an_order(shop: Connection) -> None:
    order_id = place(shop)
    move(shop, order_id, Status.PRICE_CALCULATED)
    closed, approved = event(None, "CLOSED", id=None), event(None, "MANUFACTURING_APPROVED", id=None)
    assert tell(shop, closed, approved, closed) == 2
    settle(shop)
    assert types(shop, order_id)[-1] == "PRICE_CALCULATED"  # earlier ones may still come
    later(shop, 6)
    settle(shop)
    assert types(shop, order_id)[-1] == "MANUFACTURING_APPROVED"
    move(
        shop,
        order_id,
        *(Status.MANUFACTURING_STARTED, Status.MANUFACTURING_COMPLETED, Status.PACKAGING, Status.SHIPPED),
    )
    settle(shop)
    assert types(shop, order_id)[-1] == "CLOSED"


def test_both_carriers_may_tell_the_same_with_and_without_numbers(shop: Connection) -> None:
    order_id = place(shop)
    move(shop, order_id, Status.PRICE_CALCULATED)
    tell(shop, event(None, "MANUFACTURING_APPROVED"), event(1, "MANUFACTURING_APPROVED"))
    settle(shop)
    later(shop, 6)
    settle(shop)
    assert types(shop, order_id) == ["SUBMITTED", "PRICE_CALCULATED", "MANUFACTURING_APPROVED"]
    assert reason_parked(shop) is None


def test_two_cancellations_without_numbers_cancel_once(shop: Connection) -> None:
    order_id = place(shop)
    first, second = (event(None, "CANCELLED", id=None) for _ in range(2))
    second["data"] = second["data"] | {"occurred_at": "2026-11-29T11:00:00Z"}
    assert tell(shop, first, second, sender="shop") == 2
    settle(shop)
    assert types(shop, order_id) == ["SUBMITTED", "CANCELLED"]
    assert [state for _, state in states(shop)] == ["applied", "ignored"]
    assert reason_parked(shop) is None


def test_a_feed_fills_a_gap_that_the_bus_has_left_in_the_middle(shop: Connection) -> None:
    """1 came by the bus, 2 is lost there and comes by a feed that tells nothing else, 3 waits for it."""
    order_id = place(shop)
    move(shop, order_id, Status.PRICE_CALCULATED)
    tell(shop, event(1, "MANUFACTURING_APPROVED"), event(3, "CANCELLED", type="x"))
    shop.execute(text("update ops.inbox set type = 'CLOSED' where sequence = 3"))
    path = (Status.MANUFACTURING_STARTED, Status.MANUFACTURING_COMPLETED, Status.PACKAGING, Status.SHIPPED)
    settle(shop)
    move(shop, order_id, *path)
    settle(shop)
    assert states(shop) == [(1, "applied"), (3, "waiting")]
    shop.execute(
        text("""
            insert into raw.crm_order_events
                (event_id, source, external_id, sequence, type, occurred_at, month, file, line, applied_at)
            values ('f-2', 'shop', 'S-1', 2, 'MANUFACTURING_APPROVED', now(), '2026-11-01', 'f', 1, now())
        """)
    )
    later(shop, 40)
    settle(shop)
    assert states(shop) == [(1, "applied"), (3, "applied")]


def test_an_order_that_is_locked_is_looked_at_later_and_others_go_on(engine: Engine) -> None:
    with engine.begin() as conn:
        add_model(conn)
        locked, free = place(conn), place(conn, "S-2")
        for order_id in (locked, free):
            move(conn, order_id, Status.PRICE_CALCULATED)
        tell(conn, event(1, "MANUFACTURING_APPROVED"), event(1, "MANUFACTURING_APPROVED", "S-2"))
    with engine.begin() as importing:
        repository.lock(importing, locked)
        with engine.begin() as conn:
            assert applying.look(conn).applied == 1
    with engine.begin() as conn:
        later(conn, 2)
        settle(conn)
        assert types(conn, locked)[-1] == "MANUFACTURING_APPROVED"


def test_an_event_that_fails_again_and_again_is_parked(shop: Connection, monkeypatch: pytest.MonkeyPatch) -> None:
    order_id = place(shop)
    move(shop, order_id, Status.PRICE_CALCULATED)

    def fail(*_: object, **__: object) -> None:
        raise RuntimeError("a fault of ours")

    tell(shop, event(1, "MANUFACTURING_APPROVED"))
    with monkeypatch.context() as broken:
        broken.setattr(service, "transition", fail)
        for _ in range(5):
            later(shop, 60)
            settle(shop)
    assert "RuntimeError" in (reason_parked(shop) or "")
    inbox.replay(shop, CRM_KEY, skip=False, by="Ada")
    settle(shop)
    assert types(shop, order_id)[-1] == "MANUFACTURING_APPROVED"


@pytest.mark.parametrize(
    ("body", "reason"),
    [
        (b"", "not JSON"),
        (b"\xff\xfe", "not JSON"),
        (b"[" * 100_000, "not JSON"),
        (b'{"specversion": NaN}', "not JSON"),
        (b"[]", "JSON object"),
        (b'{"specversion": "0.3"}', "specversion"),
        (json.dumps(event(1, "CLOSED", data=None)).encode(), "`data`"),
        (json.dumps(event(1, "CLOSED", data={"order": {"source": "shop"}})).encode(), "external_id"),
        (json.dumps(event(1, "CLOSED", "a\nb")).encode(), "external_id"),
        (json.dumps(event(1, "CLOSED", id="x" * 256)).encode(), "`id`"),
        (json.dumps(event(1, "CLOSED", id=7)).encode(), "`id`"),
        (json.dumps(event(1, "CLOSED", note="\0")).encode(), "NUL"),
        (json.dumps(event(1, "CLOSED", note="\ud800")).encode(), "half a character"),
        (
            json.dumps(event(1, "CLOSED")).encode().replace(b'"sequence": 1', b'"sequence": 1, "weight": 1e999'),
            "number",
        ),
        (b'{"specversion": "1.0", "data": "' + b"x" * 1024 * 1024 + b'"}', "larger"),
    ],
)
def test_what_belongs_to_no_order_is_said_why(body: bytes, reason: str) -> None:
    with pytest.raises(UnreadableEvent, match=reason):
        incoming.read("crm", body, now=NOW)


@pytest.mark.parametrize("sequence", [0, -1, 1.5, True, "one", "٣", 2**31, [], "99999999999"])
def test_a_sequence_that_is_none_is_a_fault(sequence: object) -> None:
    read = incoming.read("crm", json.dumps(event(sequence, "CLOSED")).encode(), now=NOW)
    assert read.sequence is None
    assert "sequence" in (read.fault or "")


def test_binary_mode_has_the_attributes_in_headers() -> None:
    said = event("3", "CLOSED")
    headers = {f"ce-{name}": str(value) for name, value in said.items() if name != "data"}
    read = incoming.read("crm", json.dumps(said["data"]).encode(), headers, now=NOW)
    assert (read.event_id, read.event_source, read.sequence, read.fault) == ("S-1/3", "/crm", 3, None)


def test_every_move_of_shop_and_crm_is_judged_as_the_table_of_moves_says() -> None:
    """By hand, from the order life: what each may do where, and what can still come."""
    passed = frozenset({Status.SUBMITTED})

    def verdict(sender: System, told: str, status: Status, *, held: bool = False) -> Verdict:
        return judge(sender, "shop", told, None, Standing(status, held, passed | {status})).verdict

    crm, shop = System.CRM, System.SHOP
    assert verdict(crm, "MANUFACTURING_APPROVED", Status.SUBMITTED) is Verdict.WAIT
    assert verdict(crm, "MANUFACTURING_APPROVED", Status.PRICE_CALCULATED) is Verdict.APPLY
    assert verdict(crm, "MANUFACTURING_APPROVED", Status.PRICE_CALCULATED, held=True) is Verdict.WAIT
    assert verdict(crm, "MANUFACTURING_APPROVED", Status.MANUFACTURING_APPROVED) is Verdict.IGNORE
    assert verdict(crm, "MANUFACTURING_APPROVED", Status.PACKAGING) is Verdict.PARK
    assert verdict(crm, "MANUFACTURING_APPROVED", Status.CANCELLED) is Verdict.PARK
    assert verdict(crm, "CLOSED", Status.SUBMITTED) is Verdict.WAIT
    assert verdict(crm, "CLOSED", Status.SHIPPED) is Verdict.APPLY
    assert verdict(crm, "CLOSED", Status.CANCELLED) is Verdict.PARK
    assert verdict(shop, "CANCELLED", Status.PACKAGING, held=True) is Verdict.APPLY
    assert verdict(shop, "CANCELLED", Status.SHIPPED) is Verdict.PARK
    assert verdict(shop, "CANCELLED", Status.CANCELLED) is Verdict.IGNORE
    assert (
        judge(shop, "shop", "SUBMITTED", None, Standing(Status.INITIATED, False, frozenset())).verdict is Verdict.APPLY
    )
    assert verdict(shop, "INITIATED", Status.SUBMITTED) is Verdict.IGNORE
    assert judge(shop, "crm", "CANCELLED", None, None).verdict is Verdict.PARK
    assert judge(crm, "shop", "CLOSED", None, None).verdict is Verdict.WAIT


# the CRM approves and closes, the shop cancels or not; each numbers its own
LIVES = (
    {"crm": ["MANUFACTURING_APPROVED", "CLOSED"], "shop": []},
    {"crm": ["MANUFACTURING_APPROVED"], "shop": ["CANCELLED"]},
    {"crm": ["MANUFACTURING_APPROVED", "CANCELLED"], "shop": []},
    {"crm": [], "shop": ["CANCELLED"]},
)
STEPS = 8  # of the workshop, and what others tell in between


@pytest.fixture
def with_model(engine: Engine) -> Engine:
    with engine.begin() as conn:
        add_model(conn)
    return engine


@settings(
    max_examples=60,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
    phases=[Phase.explicit, Phase.reuse, Phase.generate, Phase.shrink],  # the last one traces every line: minutes
)
@given(data=st.data())
def test_any_delivery_ends_as_the_events_applied_once_in_sequence(with_model: Engine, data: st.DataObject) -> None:
    """Repeats, delays, any order, looks and crashes in between; the workshop's own moves come when they can."""
    number = f"S-{uuid4()}"  # shrinking would draw one again
    sends = data.draw(st.sampled_from(LIVES))
    sent = [
        (sender, event(n, told, number, id=f"{sender}/{number}/{n}"))
        for sender, told_by in sends.items()
        for n, told in enumerate(told_by, 1)
    ]
    repeats = data.draw(st.lists(st.sampled_from(sent), max_size=4)) if sent else []
    delivery = data.draw(st.permutations(sent + repeats))
    engine = with_model
    with engine.begin() as conn:
        order_id = place(conn, number)
    for sender, told in delivery:
        _deliver(engine, sender, told, crash=data.draw(st.booleans(), label="crash before commit"))
        if data.draw(st.booleans(), label="look"):
            _look_perhaps(engine, crash=data.draw(st.booleans(), label="crash while looking"))
        if data.draw(st.booleans(), label="work"):
            _work(engine, order_id)
    for _ in range(STEPS):
        with engine.begin() as conn:
            later(conn, 1000)
            settle(conn)
        _work(engine, order_id)
    with engine.begin() as conn:
        settle(conn)
        order = repository.get(conn, order_id)
        events = repository.events(conn, order_id)
        undecided = [
            tuple(row)
            for row in conn.execute(
                text("""
                    select sender, type, state from ops.inbox
                    where external_id = :number and state in ('waiting', 'parked')
                """),
                {"number": number},
            )
        ]
    told_by_others = [each.type for each in events if each.system in {"shop", "crm"}]
    assert len(told_by_others) == len(set(told_by_others))  # nothing was applied twice
    assert [each.sequence for each in events] == list(range(1, order.version + 1))
    if "CANCELLED" not in sends["crm"] + sends["shop"]:
        assert (order.status, undecided) == (Status.CLOSED, [])
    elif order.status is Status.CANCELLED:  # an approval by the CRM that the shop's cancellation overtook is looked at
        assert undecided in ([], [("crm", "MANUFACTURING_APPROVED", "parked")])
    else:  # it came too late
        assert order.status is Status.SHIPPED
        assert [(told, state) for _, told, state in undecided] == [("CANCELLED", "parked")]


def _deliver(engine: Engine, sender: str, told: dict[str, Any], *, crash: bool) -> None:
    """A crash before the commit has it sent again."""
    with engine.connect() as conn, conn.begin() as tx:
        tell(conn, told, sender=sender)
        if crash:
            tx.rollback()
    with engine.begin() as conn:
        tell(conn, told, sender=sender)


def _look_perhaps(engine: Engine, *, crash: bool) -> None:
    with engine.connect() as conn, conn.begin() as tx:
        settle(conn)
        if crash:
            tx.rollback()


def _work(engine: Engine, order_id: UUID) -> None:
    """The workshop's next step, if it is the workshop's turn."""
    with engine.begin() as conn:
        order = repository.get(conn, order_id)
        forward = [each.to for each in life.moves_from(order.status, System.MES) if not each.needs_reason]
        if forward:
            service.transition(conn, order_id, forward[0], MES)
