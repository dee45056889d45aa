"""Work is shared out fairly, one person at a time works on an order, and what nobody does comes back."""

import threading
from collections.abc import Callable, Iterator, Sequence
from datetime import UTC, datetime, timedelta
from uuid import UUID, uuid4

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule, run_state_machine_as_test
from sqlalchemy import Connection, Engine, event, text

from mes.db import engine as engines
from mes.db import query
from mes.dispatch import claims, desk, leases, sharing
from mes.dispatch.model import ClaimedByAnother, IllegalClaim, NoSuchOperator, NotClaimed
from mes.dispatch.sharing import Unassigned
from mes.errors import MesError
from mes.events import rebuild
from mes.lists import counts, order_list, refresher
from mes.lists.order_list import Filter
from mes.orders import repository, service
from mes.orders.life import FINISHED_STATUSES, Status, System
from mes.orders.model import Actor, IllegalTransition, OrderHeld, ReasonMissing, VersionConflict
from mes.people.model import NotAllowed, NotSignedIn
from tests.orders import add_order

APPROVED = Status.MANUFACTURING_APPROVED
NOW = datetime(2026, 11, 22, 12, 0, tzinfo=UTC)


def add_users(conn: Connection, *names: str, role: str = "operator", active: bool = True) -> None:
    for name in names:
        conn.execute(
            text("insert into ops.users (user_name, role, password_hash, active) values (:name, :role, '-', :active)"),
            {"name": name, "role": role, "active": active},
        )


def place(conn: Connection, number: str, *, days: float = 14, status: Status = APPROVED) -> UUID:
    """An order that is in the list, due after `days`."""
    order_id = add_order(conn, number, status=status, due_in=timedelta(days=days))
    refresher.refresh_now(conn, [order_id])
    return order_id


def refresh(conn: Connection) -> None:
    """What the refresher's worker does all the time."""
    while refresher.refresh_batch(conn).orders:
        pass


def queue_of(conn: Connection, user: str) -> list[str]:
    rows = conn.execute(
        text("select external_id from ops.orders where assigned_to = :user order by external_id"), {"user": user}
    )
    return list(rows.scalars())


def types(conn: Connection, order_id: UUID) -> list[str]:
    return [event.type for event in repository.events(conn, order_id)]


@pytest.fixture
def shop(marts_engine: Engine) -> Iterator[Connection]:
    """A transaction in a workshop where Ada and Ben are operators and Mia is the manager."""
    with marts_engine.begin() as conn:
        add_users(conn, "Ada", "Ben")
        add_users(conn, "Mia", role="manager")
        add_users(conn, "Old", active=False)
        yield conn


# sharing out


def test_the_least_slack_goes_to_the_least_load(shop: Connection) -> None:
    """By hand, from the standard times: an approved order of one piece needs 19.6 h, one in packing 0.6 h."""
    ids = [
        place(shop, "1", days=3),  # both idle: Ada by name, 19.6 h
        place(shop, "2", days=4, status=Status.PACKAGING),  # Ben 0.6 h
        place(shop, "3", days=5, status=Status.PACKAGING),  # Ben 1.2 h
        place(shop, "4", days=7),  # Ben 20.8 h
        place(shop, "5", days=8),  # Ada 39.2 h
        place(shop, "6", days=9),  # Ben 40.4 h
        place(shop, "7", days=10, status=Status.PACKAGING),  # Ada 39.8 h
    ]
    assert sharing.share_out(shop).order_ids == ids
    assert (queue_of(shop, "Ada"), queue_of(shop, "Ben")) == (["1", "5", "7"], ["2", "3", "4", "6"])
    assert sharing.loads(shop, ["Ada", "Ben"]) == pytest.approx({"Ada": 39.8, "Ben": 40.4})
    assert not sharing.share_out(shop).order_ids


def test_work_that_somebody_has_counts(shop: Connection) -> None:
    desk.assign(shop, "Mia", place(shop, "1"), "Ada")
    refresh(shop)
    place(shop, "2")
    sharing.share_out(shop)
    assert queue_of(shop, "Ben") == ["2"]


def test_each_that_is_shared_is_one_event(shop: Connection) -> None:
    order_id = place(shop, "1")
    sharing.share_out(shop)
    order = repository.get(shop, order_id)
    last = repository.events(shop, order_id)[-1]
    assert (order.version, last.sequence, last.type, last.actor) == (2, 2, "assigned", "dispatch")
    assert last.data == {"from": None, "to": "Ada", "given_back_by": None}
    told = shop.execute(text("select event from ops.outbox where order_id = :id"), {"id": order_id}).scalar_one()
    assert told["type"] == "mes.order.assigned.v1"
    assert told["data"]["details"] == {"to": "Ada"}


def test_only_priced_or_held_open_orders_are_shared(shop: Connection) -> None:
    for status in Status:
        place(shop, status.value, status=status)
    doubtful = place(shop, "doubtful", status=Status.SUBMITTED)
    service.hold(shop, doubtful, Actor(System.MES, "pricing"), "open at 3 edges")
    refresh(shop)
    sharing.share_out(shop)
    assert {*queue_of(shop, "Ada"), *queue_of(shop, "Ben")} == {
        "PRICE_CALCULATED",
        "MANUFACTURING_APPROVED",
        "MANUFACTURING_STARTED",
        "MANUFACTURING_COMPLETED",
        "PACKAGING",
        "doubtful",
    }


def test_nobody_gets_what_he_gave_back(shop: Connection) -> None:
    order_id = place(shop, "1")
    claims.claim(shop, "Ada", order_id)
    claims.give_back(shop, "Ada", order_id, "my wax is empty")
    refresh(shop)
    sharing.share_out(shop)
    assert repository.get(shop, order_id).assigned_to == "Ben"


def test_what_the_only_operator_gave_back_waits_for_another(shop: Connection) -> None:
    shop.execute(text("update ops.users set active = false where user_name = 'Ben'"))
    order_id = place(shop, "1")
    claims.claim(shop, "Ada", order_id)
    claims.give_back(shop, "Ada", order_id)
    refresh(shop)
    assert not sharing.share_out(shop).order_ids
    add_users(shop, "Cleo")
    assert claims.next_job(shop, "Ada") is None
    assert sharing.share_out(shop).order_ids == [order_id]


def test_the_only_operator_may_take_what_he_gave_back_or_let_lapse(shop: Connection) -> None:
    shop.execute(text("update ops.users set active = false where user_name = 'Ben'"))
    back, lapsed = place(shop, "1"), place(shop, "2", days=20)
    claims.claim(shop, "Ada", back)
    claims.give_back(shop, "Ada", back)
    claims.claim(shop, "Ada", lapsed, clock=lambda: NOW)
    leases.return_lapsed(shop, clock=lambda: NOW + claims.LEASE)
    refresh(shop)
    assert sharing.share_out(shop).order_ids == [lapsed]
    refresh(shop)
    job = claims.next_job(shop, "Ada")
    assert job is not None
    assert job.order_id == lapsed
    desk.move(shop, "Ada", lapsed, Status.MANUFACTURING_STARTED)
    again = claims.next_job(shop, "Ada")
    assert again is not None
    assert again.order_id == back


def test_an_order_is_shared_before_the_list_knows_it(shop: Connection) -> None:
    order_id = add_order(shop, "new", status=Status.PRICE_CALCULATED)
    waiting = add_order(shop, "unpriced")
    assert sharing.share_out(shop, [order_id, waiting]).order_ids == [order_id]
    assert queue_of(shop, "Ada") == ["new"]
    second = add_order(shop, "newer", status=Status.PRICE_CALCULATED)
    sharing.share_out(shop, [second])
    assert queue_of(shop, "Ben") == ["newer"]


def test_sharing_does_no_harm_where_there_is_nobody_or_no_list(conn: Connection, marts_engine: Engine) -> None:
    add_users(conn, "Ada")
    assert not sharing.share_out(conn, [add_order(conn, status=APPROVED)]).order_ids
    assert not sharing.share_out(conn).order_ids
    with marts_engine.begin() as built:
        add_users(built, "Old", active=False)
        add_users(built, "Mia", role="manager")
        assert not sharing.share_out(built, [place(built, "1")]).order_ids
        assert not sharing.share_out(built).order_ids


def test_one_sweep_at_a_time_and_no_order_twice(shop: Connection, marts_engine: Engine) -> None:
    place(shop, "1")
    shop.commit()
    with marts_engine.begin() as one, marts_engine.begin() as other:
        assert len(sharing.share_out(one).order_ids) == 1
        assert not sharing.share_out(other).order_ids
        one.commit()
        assert not sharing.share_out(other).order_ids  # the list still shows it as nobody's


@given(
    st.lists(st.tuples(st.integers(0, 50), st.sampled_from([None, "a", "b", "c", "gone"])), min_size=1, max_size=60),
    st.dictionaries(st.sampled_from("abcdef"), st.integers(0, 100).map(float), min_size=1),
)
def test_dealing_evens_out_the_load(orders: list[tuple[int, str | None]], load: dict[str, float]) -> None:
    pile = [Unassigned(uuid4(), 1, given_back_by, float(hours)) for hours, given_back_by in orders]
    now = dict(load)
    given_to = {one.order_id: one.to for one in sharing.deal(pile, load)}
    for order in pile:
        others = {name: hours for name, hours in now.items() if name != order.given_back_by}
        to = given_to.get(order.order_id)
        if to is None:
            assert not others
            continue
        assert (now[to], to) == min((hours, name) for name, hours in others.items())
        now[to] += order.remaining_h


# claims


def test_a_claim_keeps_others_out_until_it_ends(shop: Connection) -> None:
    order_id = place(shop, "1")
    claimed = claims.claim(shop, "Ada", order_id, clock=lambda: NOW, lease=timedelta(minutes=20))
    assert (claimed.claimed_by, claimed.assigned_to, claimed.version) == ("Ada", "Ada", 2)
    assert claimed.lease_until == NOW + timedelta(minutes=20)
    assert claims.claim(shop, "Ada", order_id) == claimed
    attempts: list[Callable[[], object]] = [
        lambda: claims.claim(shop, "Ben", order_id),
        lambda: claims.give_back(shop, "Ben", order_id),
        lambda: desk.move(shop, "Ben", order_id, Status.MANUFACTURING_STARTED, expected_version=1),
    ]
    for attempt in attempts:
        with pytest.raises(ClaimedByAnother) as refused:
            attempt()
        assert refused.value.facts["operator"] == "Ada"
    given_back = claims.give_back(shop, "Ada", order_id)
    assert (given_back.claimed_by, given_back.assigned_to, given_back.given_back_by) == (None, None, "Ada")
    assert claims.claim(shop, "Ben", order_id).claimed_by == "Ben"
    assert types(shop, order_id)[1:] == ["claimed", "given_back", "claimed"]


@pytest.mark.parametrize("status", [status for status in Status if status != APPROVED])
def test_only_what_the_workshop_can_do_now_is_claimed(shop: Connection, status: Status) -> None:
    order_id = place(shop, "1", status=status)
    if status in {Status.MANUFACTURING_STARTED, Status.MANUFACTURING_COMPLETED, Status.PACKAGING}:
        assert claims.claim(shop, "Ada", order_id).claimed_by == "Ada"
        return
    with pytest.raises(IllegalClaim, match=r"waits for|finished"):
        claims.claim(shop, "Ada", order_id)
    assert claims.next_job(shop, "Ada") is None


def test_a_held_order_is_nobodys_next_job(shop: Connection) -> None:
    order_id = place(shop, "1")
    desk.hold(shop, "Ada", order_id, "stone is cracked")
    refresh(shop)
    assert claims.next_job(shop, "Ada") is None
    with pytest.raises(IllegalClaim, match="on hold"):
        claims.claim(shop, "Ada", order_id)
    with pytest.raises(OrderHeld):
        desk.move(shop, "Ada", order_id, Status.MANUFACTURING_STARTED)
    assert repository.get(shop, order_id).claimed_by is None


def test_a_step_claims_first_and_keeps_the_claim_without_a_lease(shop: Connection) -> None:
    order_id = place(shop, "1")
    started = desk.move(shop, "Ada", order_id, Status.MANUFACTURING_STARTED, expected_version=1)
    assert (started.claimed_by, started.assigned_to, started.lease_until, started.version) == ("Ada", "Ada", None, 3)
    assert types(shop, order_id)[1:] == ["claimed", "MANUFACTURING_STARTED"]
    assert leases.return_lapsed(shop, clock=lambda: NOW + timedelta(days=400)) == 0
    for to in (Status.MANUFACTURING_COMPLETED, Status.PACKAGING, Status.SHIPPED):
        moved = desk.move(shop, "Ada", order_id, to)
    assert (moved.claimed_by, moved.assigned_to) == (None, "Ada")


def test_a_refused_step_leaves_no_claim(shop: Connection) -> None:
    order_id = place(shop, "1", status=Status.MANUFACTURING_COMPLETED)
    with pytest.raises(ReasonMissing):
        desk.move(shop, "Ada", order_id, Status.MANUFACTURING_STARTED)
    with pytest.raises(IllegalTransition):
        desk.move(shop, "Ada", order_id, Status.SHIPPED)
    with pytest.raises(VersionConflict):
        desk.move(shop, "Ada", order_id, Status.PACKAGING, expected_version=7)
    assert types(shop, order_id) == ["MANUFACTURING_COMPLETED"]


def test_no_person_sets_a_price(shop: Connection) -> None:
    order_id = place(shop, "1", status=Status.SUBMITTED)
    with pytest.raises(IllegalTransition):
        desk.move(shop, "Mia", order_id, Status.PRICE_CALCULATED)


def test_taking_over_needs_a_reason_and_shuts_the_other_out(shop: Connection) -> None:
    order_id = place(shop, "1")
    desk.move(shop, "Ada", order_id, Status.MANUFACTURING_STARTED)
    with pytest.raises(ReasonMissing):
        claims.take_over(shop, "Ben", order_id, " ")
    taken = claims.take_over(shop, "Ben", order_id, "Ada is ill")
    assert (taken.claimed_by, taken.assigned_to, taken.lease_until) == ("Ben", "Ben", None)
    last = repository.events(shop, order_id)[-1]
    assert (last.type, last.actor, last.reason) == ("taken_over", "Ben", "Ada is ill")
    assert last.data == {"from": "Ada", "to": "Ben", "lease_until": None}
    with pytest.raises(ClaimedByAnother):
        desk.move(shop, "Ada", order_id, Status.MANUFACTURING_COMPLETED)


def test_what_stands_in_a_queue_can_be_taken_over_when_it_can_be_worked_on(shop: Connection) -> None:
    ready, waiting = place(shop, "1"), place(shop, "2", status=Status.PRICE_CALCULATED)
    for order_id in (ready, waiting):
        desk.assign(shop, "Mia", order_id, "Ada")
    taken = claims.take_over(shop, "Ben", ready, "she has too much", clock=lambda: NOW)
    assert (taken.claimed_by, taken.lease_until) == ("Ben", NOW + claims.LEASE)
    with pytest.raises(IllegalClaim):
        claims.take_over(shop, "Ben", waiting, "she has too much")


def test_a_manager_assigns_and_ends_the_claim(shop: Connection) -> None:
    order_id = place(shop, "1")
    claims.claim(shop, "Ada", order_id)
    given = desk.assign(shop, "Mia", order_id, "Ben")
    assert (given.assigned_to, given.claimed_by, given.lease_until) == ("Ben", None, None)
    assert desk.assign(shop, "Mia", order_id, "Ben") == given
    with pytest.raises(NoSuchOperator):
        desk.assign(shop, "Mia", order_id, "Old")
    desk.assign(shop, "Mia", order_id, None)
    refresh(shop)
    sharing.share_out(shop)
    assert repository.get(shop, order_id).assigned_to == "Ada"  # not to whom it was taken from


def test_giving_back_needs_a_claim(shop: Connection) -> None:
    with pytest.raises(NotClaimed):
        claims.give_back(shop, "Ada", place(shop, "1"))


COMMANDS: dict[str, Callable[[Connection, str, UUID], object]] = {
    "move": lambda conn, user, order_id: desk.move(conn, user, order_id, Status.MANUFACTURING_STARTED),
    "hold": lambda conn, user, order_id: desk.hold(conn, user, order_id, "why"),
    "release": desk.release,
    "write_note": lambda conn, user, order_id: desk.write_note(conn, user, order_id, "note"),
    "claim": claims.claim,
    "next_job": lambda conn, user, _: claims.next_job(conn, user),
    "give_back": claims.give_back,
    "take_over": lambda conn, user, order_id: claims.take_over(conn, user, order_id, "why"),
    "assign": lambda conn, user, order_id: desk.assign(conn, user, order_id, "Ada"),
}


@pytest.mark.parametrize("command", COMMANDS)
def test_each_command_asks_who_it_is(shop: Connection, command: str) -> None:
    order_id = place(shop, "1")
    for nobody in ("Old", "Stranger"):
        with pytest.raises(NotSignedIn):
            COMMANDS[command](shop, nobody, order_id)
    assert repository.get(shop, order_id).version == 1


def test_operators_do_not_assign(shop: Connection) -> None:
    with pytest.raises(NotAllowed):
        desk.assign(shop, "Ada", place(shop, "1"), "Ada")


# next job


def test_the_next_job_is_of_ones_own_queue_first(shop: Connection) -> None:
    place(shop, "pool", days=1)
    colleagues = place(shop, "colleague's", days=2)
    desk.assign(shop, "Mia", colleagues, "Ben")
    for number, days in (("mine later", 9), ("mine", 5)):
        desk.assign(shop, "Mia", place(shop, number, days=days), "Ada")
    refresh(shop)
    taken = []
    while (job := claims.next_job(shop, "Ada")) is not None:
        assert claims.next_job(shop, "Ada") == job  # begin it first: nobody hoards
        desk.move(shop, "Ada", job.order_id, Status.MANUFACTURING_STARTED)
        taken.append(job.external_id)
    assert taken == ["mine", "mine later", "pool"]


def test_what_one_gave_back_is_not_ones_next_job(shop: Connection) -> None:
    place(shop, "1", days=3)
    place(shop, "2", days=5)
    first = claims.next_job(shop, "Ada")
    assert first is not None
    claims.give_back(shop, "Ada", first.order_id)
    second = claims.next_job(shop, "Ada")
    assert second is not None
    assert (first.external_id, second.external_id) == ("1", "2")


def test_a_list_that_is_behind_hands_out_nothing_twice(shop: Connection) -> None:
    order_id = place(shop, "1")
    claims.claim(shop, "Ben", order_id)  # the list was not refreshed
    assert claims.next_job(shop, "Ada") is None


@pytest.mark.parametrize("orders", [25, 5])
def test_twenty_operators_press_at_once(marts_database_url: str, orders: int) -> None:
    users = [f"Operator {number}" for number in range(20)]
    engine = engines.connect(marts_database_url, pool_size=21)
    with engine.begin() as conn:
        add_users(conn, *users)
        for number in range(orders):
            place(conn, str(number), days=number)
    jobs = _at_once(engine, [lambda conn, user=user: claims.next_job(conn, user) for user in users])
    found = [job.external_id for job in jobs if job is not None]
    assert sorted(found, key=int) == [str(number) for number in range(min(orders, 20))]
    assert {job.claimed_by for job in jobs if job is not None} <= set(users)
    engine.dispose()


def test_pressing_twice_at_once_gives_one_job(marts_database_url: str) -> None:
    engine = engines.connect(marts_database_url, pool_size=9)
    with engine.begin() as conn:
        add_users(conn, "Ada")
        for number in range(8):
            place(conn, str(number))
    jobs = _at_once(engine, [lambda conn: claims.next_job(conn, "Ada")] * 8)
    assert len({job.order_id for job in jobs}) == 1
    engine.dispose()


def _at_once(engine: Engine, commands: Sequence[Callable[[Connection], object]]) -> list:
    """What each command gave, all in transactions of their own that begin together; an error is given as it is."""
    start = threading.Barrier(len(commands))
    results: list[object] = []

    def press(command: Callable[[Connection], object]) -> None:
        with engine.connect() as conn:
            start.wait()
            try:
                with conn.begin():
                    results.append(command(conn))
            except MesError as error:
                results.append(error)

    threads = [threading.Thread(target=press, args=(command,)) for command in commands]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(results) == len(commands)
    return results


# leases


def test_leases_are_given_and_ended_by_the_databases_clock_since_those_of_processes_differ(shop: Connection) -> None:
    order_id = place(shop, "1")
    claims.claim(shop, "Ada", order_id)
    assert repository.get(shop, order_id).lease_until == query.now(shop) + claims.LEASE  # to the microsecond
    shop.execute(text("update ops.orders set lease_until = now() + interval '1 microsecond'"))
    assert leases.return_lapsed(shop) == 0
    shop.execute(text("update ops.orders set lease_until = now()"))
    assert leases.return_lapsed(shop) == 1


def test_a_lapsed_lease_returns_the_order_for_somebody_else(shop: Connection) -> None:
    order_id = place(shop, "1")
    claims.claim(shop, "Ada", order_id, clock=lambda: NOW)
    assert leases.return_lapsed(shop, clock=lambda: NOW + claims.LEASE - timedelta(seconds=1)) == 0
    assert leases.return_lapsed(shop, clock=lambda: NOW + claims.LEASE) == 1
    order = repository.get(shop, order_id)
    assert (order.claimed_by, order.assigned_to, order.given_back_by) == (None, None, "Ada")
    assert types(shop, order_id)[1:] == ["claimed", "lease_ended"]
    assert repository.events(shop, order_id)[-1].data == {"from": "Ada", "to": None, "given_back_by": "Ada"}
    refresh(shop)
    sharing.share_out(shop)
    assert repository.get(shop, order_id).assigned_to == "Ben"


@pytest.mark.parametrize("attempt", range(5))
def test_starting_and_lapsing_at_once_never_both_happen(marts_database_url: str, attempt: int) -> None:
    engine = engines.connect(marts_database_url, pool_size=3)
    with engine.begin() as conn:
        add_users(conn, "Ada")
        order_id = place(conn, "1")
        claims.claim(conn, "Ada", order_id, clock=lambda: NOW)
    late = NOW + timedelta(days=1)
    results = _at_once(
        engine,
        [
            lambda conn: desk.move(conn, "Ada", order_id, Status.MANUFACTURING_STARTED, expected_version=2),
            lambda conn: leases.return_lapsed(conn, clock=lambda: late),
        ],
    )
    with engine.begin() as conn:
        order, history = repository.get(conn, order_id), types(conn, order_id)
    if order.status is Status.MANUFACTURING_STARTED:
        assert 0 in results
        assert (order.claimed_by, order.lease_until) == ("Ada", None)
        assert history[1:] == ["claimed", "MANUFACTURING_STARTED"]
    else:
        assert 1 in results
        assert any(isinstance(result, VersionConflict) for result in results)
        assert order.claimed_by is None
        assert history[1:] == ["claimed", "lease_ended"]
    engine.dispose()


def test_the_work_of_somebody_who_left_returns(shop: Connection) -> None:
    claimed, begun, queued = place(shop, "1"), place(shop, "2"), place(shop, "3")
    claims.claim(shop, "Ada", claimed)
    desk.move(shop, "Ada", begun, Status.MANUFACTURING_STARTED)
    desk.assign(shop, "Mia", queued, "Ada")
    shop.execute(text("update ops.users set active = false where user_name = 'Ada'"))
    assert leases.release_work_of(shop, "Ada") == 3
    assert queue_of(shop, "Ada") == []
    assert repository.events(shop, begun)[-1].reason == "Ada was deactivated"
    refresh(shop)
    sharing.share_out(shop)
    assert queue_of(shop, "Ben") == ["1", "2", "3"]


def test_who_becomes_a_manager_keeps_only_what_he_has_claimed(shop: Connection) -> None:
    claimed, queued = place(shop, "1"), place(shop, "2")
    claims.claim(shop, "Ada", claimed)
    desk.assign(shop, "Mia", queued, "Ada")
    shop.execute(text("update ops.users set role = 'manager' where user_name = 'Ada'"))
    assert leases.return_lapsed(shop) == 1
    assert leases.return_lapsed(shop) == 0
    assert queue_of(shop, "Ada") == ["1"]
    assert repository.events(shop, queued)[-1].reason == "Ada is no operator any more"


def test_work_given_to_somebody_while_he_left_returns_by_itself(shop: Connection) -> None:
    order_id = place(shop, "1")
    shop.execute(text("update ops.orders set assigned_to = 'Old' where order_id = :id"), {"id": order_id})
    assert leases.return_lapsed(shop) == 1
    assert leases.return_lapsed(shop) == 0
    assert repository.get(shop, order_id).assigned_to is None


# the list


def test_queues_are_lists_and_are_counted(shop: Connection) -> None:
    for number in range(4):
        desk.assign(shop, "Mia", place(shop, str(number), days=10 - number), "Ada" if number % 2 else "Ben")
    place(shop, "free")
    claims.claim(shop, "Ada", place(shop, "claimed"))
    refresh(shop)
    mine = order_list.page(shop, Filter(assigned_to="Ada")).rows
    assert [row.external_id for row in mine] == ["3", "1", "claimed"]
    assert [row.external_id for row in order_list.page(shop, Filter(unassigned=True)).rows] == ["free"]
    assert not order_list.page(shop, Filter(Status.SHIPPED, assigned_to="Ada")).rows
    found = counts.orders(shop, "Ada")
    assert (found.mine, found.unassigned, found.open) == (3, 1, 6)
    assert counts.orders(shop).mine == 0
    assert [(queue.operator, queue.orders) for queue in counts.queues(shop, ["Ben", "Ada", "Zoe"])] == [
        ("Ben", 2),
        ("Ada", 3),
        ("Zoe", 0),
    ]


def test_what_waits_is_told_when_nothing_can_be_done(shop: Connection) -> None:
    place(shop, "priced", status=Status.PRICE_CALCULATED)
    held = place(shop, "held")
    begun = place(shop, "begun")
    for order_id in (held, begun):
        desk.assign(shop, "Mia", order_id, "Ada")
    desk.hold(shop, "Ada", held, "why")
    desk.move(shop, "Ada", begun, Status.MANUFACTURING_STARTED)
    shop.execute(text("update ops.orders set assigned_to = 'Ada' where external_id = 'priced'"))
    desk.assign(shop, "Mia", place(shop, "other"), "Ben")
    refresh(shop)
    assert claims.next_job(shop, "Ada") is None
    assert counts.waiting(shop, "Ada") == counts.Waiting(begun=1, approval=1, held=1, colleagues=1)


def test_sweeps_with_nothing_to_do_look_at_indexes_alone(shop: Connection) -> None:
    shop.execute(text("set local enable_seqscan = off; set local enable_bitmapscan = off"))
    looks = "\n".join(_plans(shop, lambda: (leases.return_lapsed(shop), sharing.share_out(shop))))
    assert "ix_orders_leases" in looks
    assert "ix_orders_open_by_operator" in looks
    assert "order_list__to_share_" in looks
    assert "ModifyTable" not in looks


def _plans(conn: Connection, act: Callable[[], object]) -> list[str]:
    """How Postgres goes about each statement that `act` sends."""
    sent: list[tuple[str, object]] = []

    def remember(_conn: object, _cursor: object, statement: str, values: object, *_: object) -> None:
        sent.append((statement, values))

    event.listen(conn, "before_cursor_execute", remember)
    act()
    event.remove(conn, "before_cursor_execute", remember)
    return ["\n".join(conn.exec_driver_sql(f"explain {sql}", values).scalars()) for sql, values in sent]  # type: ignore[arg-type]


# any sequence of commands

PEOPLE = ("Ada", "Ben", "Mia")
people = st.sampled_from(PEOPLE)


class Desk(RuleBasedStateMachine):
    """Anything done by anyone to one order: one claimant at most, and nobody but him moves it."""

    engine: Engine

    @initialize()
    def begin(self) -> None:
        with self.engine.begin() as conn:
            self.order_id = place(conn, f"S-{uuid4()}")
        self.now = NOW

    def _do(self, command: Callable[[Connection], object]) -> MesError | None:
        try:
            with self.engine.begin() as conn:
                command(conn)
        except MesError as error:
            return error
        return None

    def _order(self) -> repository.Order:
        with self.engine.begin() as conn:
            return repository.get(conn, self.order_id)

    def _clock(self) -> datetime:
        return self.now

    @rule(user=people, to=st.sampled_from(Status))
    def move(self, user: str, to: Status) -> None:
        before = self._order()
        refused = self._do(lambda conn: desk.move(conn, user, self.order_id, to, reason="because", clock=self._clock))
        after = self._order()
        if before.claimed_by not in {None, user}:
            assert isinstance(refused, ClaimedByAnother)
        if refused is None:
            assert after.lease_until is None
            assert after.assigned_to == user
            assert after.version == before.version + (1 if before.claimed_by == user else 2)
        else:
            assert after == before

    @rule(user=people)
    def claim(self, user: str) -> None:
        before = self._order()
        refused = self._do(lambda conn: claims.claim(conn, user, self.order_id, clock=self._clock))
        if before.claimed_by == user:
            assert (refused, self._order()) == (None, before)
        elif before.claimed_by is not None:
            assert isinstance(refused, ClaimedByAnother)

    @rule(user=people)
    def next_job(self, user: str) -> None:
        before = self._order()
        self._do(lambda conn: claims.next_job(conn, user, clock=self._clock))
        if before.claimed_by is not None or before.assigned_to not in {None, user}:
            assert self._order() == before

    @rule(user=people)
    def give_back(self, user: str) -> None:
        his = self._order().claimed_by == user
        refused = self._do(lambda conn: claims.give_back(conn, user, self.order_id, clock=self._clock))
        assert his == (refused is None)

    @rule(user=people)
    def take_over(self, user: str) -> None:
        self._do(lambda conn: claims.take_over(conn, user, self.order_id, "because", clock=self._clock))

    @rule(to=st.sampled_from(["Ada", "Ben", None]))
    def assign(self, to: str | None) -> None:
        if self._do(lambda conn: desk.assign(conn, "Mia", self.order_id, to)) is None:
            assert self._order().assigned_to == to

    @rule(user=people)
    def hold(self, user: str) -> None:
        self._do(lambda conn: desk.hold(conn, user, self.order_id, "look at it"))

    @rule(user=people)
    def release(self, user: str) -> None:
        self._do(lambda conn: desk.release(conn, user, self.order_id))

    @rule(minutes=st.integers(1, 40))
    def time_passes(self, minutes: int) -> None:
        self.now += timedelta(minutes=minutes)
        self._do(lambda conn: leases.return_lapsed(conn, clock=self._clock))
        order = self._order()
        assert order.lease_until is None or order.lease_until > self.now

    @rule()
    def share_out(self) -> None:
        before = self._order()
        self._do(sharing.share_out)
        after = self._order()
        if after != before:
            assert before.assigned_to is None
            assert after.assigned_to not in {None, before.given_back_by}

    @rule()
    def the_list_catches_up(self) -> None:
        self._do(refresh)

    @invariant()
    def the_order_is_one_persons_and_its_events_retell_it(self) -> None:
        if not hasattr(self, "order_id"):
            return
        with self.engine.begin() as conn:
            order = repository.get(conn, self.order_id)
            history = repository.events(conn, self.order_id)
            told = conn.execute(
                text("select sequence from ops.outbox where order_id = :id order by sequence"), {"id": self.order_id}
            )
            assert list(told.scalars()) == list(range(2, order.version + 1))
        assert [event.sequence for event in history] == list(range(1, order.version + 1))
        assert order.claimed_by in {None, order.assigned_to}
        assert order.lease_until is None or order.claimed_by is not None
        assert order.claimed_by is None or order.status not in FINISHED_STATUSES
        claimants = {"claimed", "taken_over"}
        holder: str | None = None
        for one in history:
            if one.type in claimants:
                holder = one.actor
            elif one.type in {"given_back", "lease_ended", "assigned", "SHIPPED"}:
                holder = None
            elif one.sequence > 1 and one.type.isupper():
                assert one.actor == holder
        assert holder == order.claimed_by

    def teardown(self) -> None:
        with self.engine.begin() as conn:
            assert rebuild.differences(conn) == []


def test_any_sequence_of_commands_keeps_one_claimant(marts_engine: Engine) -> None:
    Desk.engine = marts_engine
    with marts_engine.begin() as conn:
        add_users(conn, "Ada", "Ben")
        add_users(conn, "Mia", role="manager")
    run_state_machine_as_test(
        Desk,
        settings=settings(
            max_examples=20, stateful_step_count=20, deadline=None, suppress_health_check=list(HealthCheck)
        ),
    )
