"""Every event of the outbox comes to the bus, once and in its order's sequence, whatever crashes."""

import threading
from collections import defaultdict
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from uuid import UUID

import pytest
from sqlalchemy import Connection, Engine, text

from mes.events import leases, outbox, snapshots, subjects
from mes.events.carriers.carrier import BusUnavailable
from mes.events.carriers.jetstream import JetStream
from mes.events.outbox import LeaseLost, Progress
from mes.events.relay import Relay
from mes.orders import placing, service
from mes.orders.life import System
from mes.orders.model import Actor
from mes.runtime import bus_server
from tests.bus import Bus, running_bus
from tests.callers import SHOP, add_model, new_order

KEPT = timedelta(days=1)
PERSON = Actor(System.MES, "Vera")


@pytest.fixture
def bus(tmp_path: Path) -> Iterator[Bus]:
    with running_bus(tmp_path / "bus") as running:
        yield running


@pytest.fixture
def shop(engine: Engine) -> Engine:
    with engine.begin() as conn:
        add_model(conn)
    return engine


def test_an_event_that_is_too_long_for_the_bus_stops_no_other(
    shop: Engine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A NATS of somebody else's may take a megabyte; an edit of two hundred items, or a snapshot, may be longer."""
    monkeypatch.setattr(bus_server, "_LARGEST_MESSAGE", 16 * 1024)
    long, after = _place(shop, "B-1"), _place(shop, "B-2")
    with shop.begin() as conn:
        service.write_note(conn, long, PERSON, "engrave ä€ " * 2_000)
        snapshots.tell(conn, [long], "drift")
    _note(shop, long, times=2)
    _note(shop, after)
    _number(shop)
    with running_bus(tmp_path / "small") as small:
        relay = _relay(shop, small)
        assert relay.step() is False
        relay.close()
        told = [event for event in small.events() if event["subject"] == str(long)]
    assert [event["sequence"] for event in told] == ["1", "2", "2", "3", "4"]
    assert told[1]["data"]["details_at"] == f"/v1/orders/{long}/events"
    assert "details" not in told[1]["data"]
    assert told[1]["data"]["order"]["external_id"] == "B-1"
    assert told[2]["data"]["details"]["items"]
    assert told[4]["data"]["details"]["note"]["to"] == "note 3"


def _place(engine: Engine, number: str) -> UUID:
    with engine.begin() as conn:
        return placing.place(conn, SHOP, new_order(number)).order_id


def _note(engine: Engine, order_id: UUID, times: int = 1) -> None:
    """Events of an order that move it nowhere."""
    for _ in range(times):
        with engine.begin() as conn:
            version = conn.execute(text("select version from ops.orders where order_id = :id"), {"id": order_id})
            service.write_note(conn, order_id, PERSON, f"note {version.scalar_one()}")


def _relay(engine: Engine, bus: Bus) -> Relay:
    return Relay(engine, JetStream(bus.url, kept=KEPT))


def _number(engine: Engine) -> None:
    with engine.begin() as conn:
        while outbox.number(conn):
            pass


def _carry(engine: Engine, relay: Relay) -> None:
    _number(engine)
    while relay.step():
        pass


def _sequences(bus: Bus) -> dict[str, list[int]]:
    """Of each order, the sequences of its events as they lie on the bus."""
    found: dict[str, list[int]] = defaultdict(list)
    for event in bus.events():
        found[event["subject"]].append(int(event["sequence"]))
    return found


def test_events_come_to_the_bus_as_cloud_events_on_their_orders_subject(shop: Engine, bus: Bus) -> None:
    order_id = _place(shop, "S-1")
    relay = _relay(shop, bus)
    _carry(shop, relay)
    (event,) = bus.events()
    assert (event["specversion"], event["type"], event["source"]) == ("1.0", "mes.order.submitted.v1", "/mes")
    assert (event["subject"], event["sequence"]) == (str(order_id), "1")
    # the partition by hand: zlib.crc32 of the id's text, mod 16
    message = bus.ask(lambda js: js.get_msg("MES", seq=1))
    assert message.subject == f"mes.v1.order.{subjects.partition(order_id)}.{order_id}"
    assert (message.headers or {})["Content-Type"] == "application/cloudevents+json"
    relay.close()


def test_positions_are_given_in_the_order_of_commits_without_gaps(shop: Engine) -> None:
    """A transaction that wrote first and commits last comes last, and is not skipped."""
    first = shop.connect()
    held = first.begin()
    another = {"external_id": "c-2"}  # or the second would wait for the first one's
    slow = placing.place(first, SHOP, new_order("slow", customer=another)).order_id
    quick = _place(shop, "quick-2")
    _number(shop)
    held.commit()
    first.close()
    _number(shop)
    with shop.begin() as conn:
        assert [(each.position, each.order_id) for each in outbox.after(conn, 0)] == [(1, quick), (2, slow)]


def test_positions_stay_whole_when_many_number_at_once(shop: Engine) -> None:
    for number in range(40):
        _place(shop, f"S-{number}")
    stopping = threading.Event()

    def number() -> None:
        while not stopping.is_set():
            with shop.begin() as conn:
                outbox.number(conn, limit=3)

    threads = [threading.Thread(target=number) for _ in range(3)]
    for thread in threads:
        thread.start()
    for number_of_order in range(40, 80):
        _place(shop, f"S-{number_of_order}")
    stopping.set()
    for thread in threads:
        thread.join()
    _number(shop)
    with shop.begin() as conn:
        assert [each.position for each in outbox.after(conn, 0)] == list(range(1, 81))


def test_a_relay_that_dies_between_publishing_and_noting_tells_nothing_twice(shop: Engine, bus: Bus) -> None:
    orders = [_place(shop, f"S-{number}") for number in range(5)]
    for order_id in orders:
        _note(shop, order_id, 3)
    _number(shop)
    dying = JetStream(bus.url, kept=KEPT)
    dying.resume(Progress(0))
    with shop.begin() as conn:
        dying.carry(outbox.after(conn, 0, limit=11))  # and then it is gone, without having noted
    dying.close()
    relay = _relay(shop, bus)
    _carry(shop, relay)
    assert _sequences(bus) == {str(order_id): [1, 2, 3, 4] for order_id in orders}
    relay.close()


def test_a_relay_that_wakes_up_too_late_changes_nothing(shop: Engine, bus: Bus) -> None:
    """It has read a batch, another has carried that and more: what it publishes then is refused, and not counted."""
    order_id = _place(shop, "S-1")
    stale = _relay(shop, bus)
    _carry(shop, stale)
    _note(shop, order_id)
    _number(shop)
    with shop.begin() as conn:
        old = outbox.after(conn, 1)
        conn.execute(text("update ops.leases set until = '-infinity'"))  # it stood still for longer than its lease
    fresh = _relay(shop, bus)
    _note(shop, order_id, 2)
    _carry(shop, fresh)
    before = bus.events()
    lease = stale._lease
    assert lease is not None
    with pytest.raises(LeaseLost):
        stale._carry(lease, old)
    assert bus.events() == before
    assert _sequences(bus) == {str(order_id): [1, 2, 3, 4]}
    assert stale.step() is False
    for relay in (stale, fresh):
        relay.close()


def test_one_relay_carries_and_another_takes_over_when_it_ends(shop: Engine, bus: Bus) -> None:
    first, second = _relay(shop, bus), _relay(shop, bus)
    _place(shop, "S-1")
    _carry(shop, first)
    _place(shop, "S-2")
    _number(shop)
    assert second.step() is False
    assert len(bus.events()) == 1
    first.close()
    second.step()
    assert len(bus.events()) == 2
    second.close()


def test_a_bus_that_is_away_is_told_later(shop: Engine, bus: Bus) -> None:
    relay = _relay(shop, bus)
    orders = [_place(shop, "S-1")]
    _carry(shop, relay)
    bus.kill()
    orders.append(_place(shop, "S-2"))
    _number(shop)
    with pytest.raises(BusUnavailable):
        relay.step()
    bus.start()
    _carry(shop, relay)
    assert _sequences(bus) == {str(order_id): [1] for order_id in orders}
    relay.close()


def test_a_bus_that_lost_its_store_is_told_all_again(shop: Engine, bus: Bus) -> None:
    relay = _relay(shop, bus)
    orders = [_place(shop, f"S-{number}") for number in range(4)]
    _carry(shop, relay)
    bus.kill()
    bus.wipe()
    bus.start()
    for order_id in orders:
        _note(shop, order_id, 2)
    with pytest.raises(BusUnavailable):  # the connection that it had
        _carry(shop, relay)
    _carry(shop, relay)
    assert _sequences(bus) == {str(order_id): [1, 2, 3] for order_id in orders}
    relay.close()


def test_a_store_that_was_emptied_while_nothing_happens_is_filled_again(shop: Engine, bus: Bus) -> None:
    relay = _relay(shop, bus)
    order_id = _place(shop, "S-1")
    _carry(shop, relay)
    bus.ask(lambda js: js.delete_stream("MES"))
    relay._looked_at = float("-inf")  # two seconds later
    relay.step()
    relay.step()
    assert _sequences(bus) == {str(order_id): [1]}
    relay.close()


def test_what_a_cut_store_has_lost_is_told_again_and_nothing_else(shop: Engine, bus: Bus) -> None:
    """The stream's last messages are gone, as after a torn write: it counts on from there."""
    relay = _relay(shop, bus)
    orders = [_place(shop, f"S-{number}") for number in range(6)]
    for order_id in orders:
        _note(shop, order_id, 2)
    _carry(shop, relay)
    kept = bus.events()[:10]
    bus.kill()
    bus.wipe()
    bus.start()
    _restore(shop, bus, kept)
    _note(shop, orders[0])
    with pytest.raises(BusUnavailable):
        _carry(shop, relay)
    _carry(shop, relay)
    assert bus.events()[:10] == kept
    expected = {str(order_id): [1, 2, 3] for order_id in orders}
    expected[str(orders[0])] = [1, 2, 3, 4]
    assert _sequences(bus) == expected
    relay.close()


def _restore(engine: Engine, bus: Bus, events: list[dict[str, object]]) -> None:
    """Put messages back as they were, and let the system believe that the stream is the one that it knew."""
    again = JetStream(bus.url, kept=KEPT)
    again.resume(Progress(0))
    with engine.begin() as conn:
        by_id = {each.event["id"]: each for each in outbox.after(conn, 0)}
    for event in events:
        again.carry([by_id[event["id"]]])
    again.close()
    info = bus.ask(lambda js: js.stream_info("MES"))
    with engine.begin() as conn:
        conn.execute(
            text("update ops.carriers set stream = :stream where name = 'jetstream'"),
            {"stream": info.created.isoformat()},  # type: ignore[union-attr]
        )


def test_a_lease_ends_when_it_is_not_renewed_and_when_the_clock_was_set_back(conn: Connection) -> None:
    assert leases.take(conn, "work", "a") == leases.Lease("work", "a", 1)
    assert leases.take(conn, "work", "b") is None
    assert leases.take(conn, "work", "a") == leases.Lease("work", "a", 1)
    conn.execute(text("update ops.leases set until = clock_timestamp() - interval '1 second'"))
    assert leases.take(conn, "work", "b") == leases.Lease("work", "b", 2)
    assert not leases.holds(conn, leases.Lease("work", "a", 1))
    conn.execute(text("update ops.leases set until = clock_timestamp() + interval '1 hour'"))
    assert leases.take(conn, "work", "c") == leases.Lease("work", "c", 3)


def test_tokens_name_orders_of_any_characters() -> None:
    assert subjects.token("shop", "A-1") == "shop=2EA-1"
    assert subjects.token("crm", "Grüße/7 .%=") == "crm=2EGr=C3=BC=C3=9Fe=2F7=20=2E=25=3D"
    for names in (("shop", "A-1"), ("crm", "Grüße/7 .%="), ("acme", "*>.")):
        assert subjects.names(subjects.token(*names)) == names
    for wrong in ("", "shop", "=2", "a.b", "=FF=2Ex", "shop=2E"):
        assert subjects.names(wrong) is None


def test_a_snapshot_comes_after_the_event_of_its_version_and_before_the_next(shop: Engine, bus: Bus) -> None:
    """Also by a relay that remembers nothing, has to ask the bus what is there, and begins with what was carried."""
    order_id = _place(shop, "S-1")
    for _ in range(2):
        with shop.begin() as conn:
            assert snapshots.tell(conn, [order_id], "drift") == [order_id]
        _forgotten(shop, bus)
    _note(shop, order_id)
    _forgotten(shop, bus)
    assert [(event["id"], event["sequence"]) for event in bus.events()] == [
        (f"{order_id}/1", "1"),
        (f"{order_id}/1/snapshot-1", "1"),
        (f"{order_id}/1/snapshot-2", "1"),
        (f"{order_id}/2", "2"),
    ]


def _forgotten(shop: Engine, bus: Bus) -> None:
    """Carry, and do not note what was carried."""
    relay = _relay(shop, bus)
    _carry(shop, relay)
    relay.close()
    with shop.begin() as conn:
        conn.execute(text("update ops.carriers set position = 0 where name = 'jetstream'"))
