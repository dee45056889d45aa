"""Receivers are told of each event, signed, in an order's sequence, for three days; and nothing inside is called."""

import ipaddress
import json
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from datetime import timedelta
from functools import partial
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from uuid import UUID

import pytest
from sqlalchemy import Connection, Engine, text
from standardwebhooks import Webhook, WebhookVerificationError

from mes.callers import keys
from mes.callers.model import Caller, Scope
from mes.clock import utc_now
from mes.events import outbox, snapshots
from mes.events.relay import Relay
from mes.events.webhooks import addresses, deliveries, endpoints
from mes.events.webhooks.addresses import BadWebhookUrl
from mes.events.webhooks.calling import Calls
from mes.events.webhooks.deliveries import Outcome
from mes.events.webhooks.fanout import WebhookFanout
from mes.events.webhooks.sending import Sender
from mes.orders import placing, service
from mes.orders.life import System
from mes.orders.model import Actor
from tests.callers import PARTNER, SHOP, add_model, new_order
from tests.web_server import receiving

CRM = Caller("crm", Scope.CRM, "sales")
LIMIT_S = 20.0


@pytest.fixture
def shop(engine: Engine) -> Engine:
    with engine.begin() as conn:
        add_model(conn)
        add_model(conn, PARTNER)
        for caller in (SHOP, PARTNER, CRM):
            keys.create(conn, caller.key_name, caller.scope, source=caller.name)
    return engine


def subscribe(engine: Engine, caller: Caller, url: str, *types: str) -> endpoints.NewEndpoint:
    with engine.begin() as conn:
        return endpoints.create(conn, caller, url, types or None, loopback=True)


def place(engine: Engine, number: str, caller: Caller = SHOP) -> UUID:
    with engine.begin() as conn:
        return placing.place(conn, caller, new_order(number)).order_id


def note(engine: Engine, order_id: UUID, words: str) -> None:
    with engine.begin() as conn:
        service.write_note(conn, order_id, Actor(System.MES, "Vera"), words)


def fan_out(engine: Engine) -> None:
    relay = Relay(engine, WebhookFanout(engine))
    with engine.begin() as conn:
        outbox.number(conn)
    while relay.step():
        pass
    relay.close()


@contextmanager
def sending(engine: Engine) -> Iterator[None]:
    stopping = threading.Event()
    sender = Sender(engine, partial(Calls, loopback=True))
    thread = threading.Thread(target=sender.run, args=(stopping, lambda: None))
    thread.start()
    yield
    stopping.set()
    thread.join(timeout=LIMIT_S)
    assert not thread.is_alive()


def eventually(holds: Callable[[], bool]) -> None:
    end = time.monotonic() + LIMIT_S
    while not holds():
        assert time.monotonic() < end, "it did not come about in time"
        time.sleep(0.02)


def states(engine: Engine) -> list[tuple[Any, ...]]:
    with engine.begin() as conn:
        rows = conn.execute(text("select sequence, state, attempts from ops.webhook_deliveries order by position"))
        return [tuple(row) for row in rows]


def test_a_receiver_verifies_what_it_is_told_with_its_secret(shop: Engine) -> None:
    with receiving() as receiver:
        made = subscribe(shop, SHOP, receiver.url)
        order_id = place(shop, "S-1")
        fan_out(shop)
        with sending(shop):
            eventually(lambda: len(receiver.got) == 1)
    headers, body = receiver.got[0]
    event = Webhook(made.secret).verify(body, headers)
    assert (event["subject"], event["type"]) == (str(order_id), "mes.order.submitted.v1")
    assert headers["webhook-id"] == event["id"]
    assert headers["content-type"] == "application/cloudevents+json"
    with pytest.raises(WebhookVerificationError):
        Webhook("whsec_" + "A" * 43 + "=").verify(body, headers)
    assert states(shop) == [(1, "delivered", 1)]


def test_each_is_told_of_what_it_may_see_and_asked_for_from_then_on(shop: Engine) -> None:
    place(shop, "S-0")
    fan_out(shop)
    with receiving() as of_shop, receiving() as of_partner, receiving() as of_crm, receiving() as narrow:
        subscribe(shop, SHOP, of_shop.url)
        subscribe(shop, PARTNER, of_partner.url)
        subscribe(shop, CRM, of_crm.url)
        subscribe(shop, CRM, narrow.url, "mes.order.edited.v1")
        mine, theirs = place(shop, "S-1"), place(shop, "P-1", PARTNER)
        note(shop, mine, "with care")
        fan_out(shop)
        fan_out(shop)
        with sending(shop):
            eventually(lambda: len(of_crm.got) == 3 and len(narrow.got) == 1 and len(of_shop.got) == 2)
            eventually(lambda: len(of_partner.got) == 1)
    assert of_shop.sequences() == {str(mine): [1, 2]}
    assert of_partner.sequences() == {str(theirs): [1]}
    assert narrow.sequences() == {str(mine): [2]}


def test_an_orders_events_come_in_sequence_though_a_call_fails_and_others_go_on(shop: Engine) -> None:
    failing: set[str] = set()

    def answer(body: str) -> int:
        return 500 if json.loads(body)["subject"] in failing else 200

    with receiving(answer) as receiver:
        subscribe(shop, SHOP, receiver.url)
        stuck, free = place(shop, "S-1"), place(shop, "S-2")
        failing.add(str(stuck))
        for words in ("a", "b"):
            note(shop, stuck, words)
            note(shop, free, words)
        fan_out(shop)
        with sending(shop):
            eventually(lambda: receiver.sequences().get(str(free)) == [1, 2, 3])
            eventually(lambda: (1, "waiting", 1) in states(shop))
            assert str(stuck) not in receiver.sequences()
            failing.clear()
            with shop.begin() as conn:  # five seconds later
                conn.execute(text("update ops.webhook_deliveries set next_at = now() where attempts = 1"))
            eventually(lambda: receiver.sequences().get(str(stuck)) == [1, 2, 3])


def test_a_slow_receiver_delays_only_itself(shop: Engine) -> None:
    release = threading.Event()

    def wait(_body: str) -> int:
        release.wait(LIMIT_S)
        return 204

    with receiving(wait) as slow, receiving() as quick:
        subscribe(shop, SHOP, slow.url)
        subscribe(shop, SHOP, quick.url)
        for number in range(20):
            place(shop, f"S-{number}")
        fan_out(shop)
        with sending(shop):
            eventually(lambda: len(quick.got) == 20)
            assert slow.got == []
            release.set()
            eventually(lambda: len(slow.got) == 20)


def test_gone_disables_and_enabling_sends_what_waited(shop: Engine) -> None:
    with receiving(lambda _body: 410) as receiver:
        made = subscribe(shop, SHOP, receiver.url)
        place(shop, "S-1")
        fan_out(shop)
        with sending(shop):
            eventually(lambda: states(shop) == [(1, "waiting", 1)])
        with shop.begin() as conn:
            found = endpoints.get(conn, SHOP, made.endpoint.endpoint_id)
            assert found.disabled_at is not None
            assert found.disabled_reason == "the receiver answered 410 Gone"
        place(shop, "S-2")  # of this it is not told: it is gone
        fan_out(shop)
        receiver.answers = lambda _body: 200
        with shop.begin() as conn:
            endpoints.enable(conn, SHOP, made.endpoint.endpoint_id)
        with sending(shop):
            eventually(lambda: states(shop) == [(1, "delivered", 2)])


def test_a_receiver_that_answers_at_once_is_told_as_fast_as_it_answers(
    shop: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Not eight calls, which is its share at a time, whenever it is looked for what is due."""
    monkeypatch.setattr("mes.events.webhooks.sending._LOOK_S", LIMIT_S / 4)  # five looks are too many
    with receiving() as receiver:
        subscribe(shop, SHOP, receiver.url)
        for number in range(40):
            place(shop, f"S-{number}")
        fan_out(shop)
        with sending(shop):
            eventually(lambda: len(receiver.got) == 40)


def test_calls_are_due_and_signed_by_the_databases_clock_since_a_workers_may_be_wrong(shop: Engine) -> None:
    with receiving(lambda _body: 500) as receiver:
        made = subscribe(shop, SHOP, receiver.url)
        place(shop, "S-1")
        fan_out(shop)
        stopping = threading.Event()
        sender = Sender(shop, partial(Calls, loopback=True), clock=lambda: utc_now() + timedelta(hours=1))
        thread = threading.Thread(target=sender.run, args=(stopping, lambda: None))
        thread.start()
        eventually(lambda: states(shop) == [(1, "waiting", 1)])
        with shop.begin() as conn:
            wait = conn.execute(text("select next_at - now() from ops.webhook_deliveries")).scalar_one()
            assert timedelta() < wait <= 1.1 * deliveries.RETRIES[0]
            conn.execute(text("update ops.webhook_deliveries set next_at = now()"))
        receiver.answers = lambda _body: 204
        eventually(lambda: len(receiver.got) == 1)
        stopping.set()
        thread.join(timeout=LIMIT_S)
    headers, body = receiver.got[0]
    Webhook(made.secret).verify(body, headers)  # which refuses what is five minutes off


def test_it_is_tried_for_three_days_and_then_given_up(shop: Engine) -> None:
    """By hand: 5 s, 5 and 30 min, 2, 5, 10, 14, 20 and 24 h are 75 h 35 min 5 s."""
    assert sum(deliveries.RETRIES, timedelta()) == timedelta(hours=75, minutes=35, seconds=5)
    with receiving() as receiver:
        subscribe(shop, SHOP, receiver.url)
        order_id = place(shop, "S-1")
        note(shop, order_id, "a")
        fan_out(shop)
    for attempt in range(10):
        with shop.begin() as conn:
            (call,) = deliveries.claim(conn, {}, most=8)
            assert (call.event["sequence"], call.attempts) == ("1", attempt)
            deliveries.finish(conn, call, Outcome(503, None, 1.0))
            waits = conn.execute(text("select next_at - now() from ops.webhook_deliveries order by position limit 1"))
            if attempt < 9:
                expected = deliveries.RETRIES[attempt]
                assert 0.9 * expected <= waits.scalar_one() <= 1.1 * expected
            conn.execute(text("update ops.webhook_deliveries set next_at = now() where next_at <> 'infinity'"))
    assert states(shop) == [(1, "failed", 10), (2, "waiting", 0)]
    with shop.begin() as conn:
        (call,) = deliveries.claim(conn, {}, most=8)
        assert call.event["sequence"] == "2"


def test_a_dead_workers_calls_are_made_by_another(shop: Engine) -> None:
    with receiving() as receiver:
        subscribe(shop, SHOP, receiver.url)
        place(shop, "S-1")
        fan_out(shop)
        with shop.begin() as conn:
            assert len(deliveries.claim(conn, {}, most=8)) == 1  # and then it is killed
            assert deliveries.claim(conn, {}, most=8) == []
        with shop.begin() as conn:
            conn.execute(text("update ops.webhook_deliveries set claimed_until = now() - interval '1 second'"))
        with sending(shop):
            eventually(lambda: len(receiver.got) == 1)


def test_a_changed_secret_and_the_old_one_both_verify_for_a_day(shop: Engine) -> None:
    with receiving() as receiver:
        made = subscribe(shop, SHOP, receiver.url)
        with shop.begin() as conn:
            new = endpoints.change_secret(conn, SHOP, made.endpoint.endpoint_id)
        place(shop, "S-1")
        fan_out(shop)
        with sending(shop):
            eventually(lambda: len(receiver.got) == 1)
    headers, body = receiver.got[0]
    for secret in (made.secret, new):
        Webhook(secret).verify(body, headers)
    kept = [{"secret": "b", "until": None}, {"secret": "a", "until": (utc_now() - timedelta(seconds=1)).isoformat()}]
    assert endpoints.used_secrets(kept, utc_now()) == ["b"]


def test_a_redirect_is_not_followed(shop: Engine) -> None:
    with receiving(lambda _body: 302) as receiver:
        subscribe(shop, SHOP, receiver.url)
        place(shop, "S-1")
        fan_out(shop)
        with sending(shop):
            eventually(lambda: states(shop) == [(1, "waiting", 1)])
    with shop.begin() as conn:
        assert conn.execute(text("select status, error from ops.webhook_attempts")).one() == (302, None)


def test_an_address_that_a_name_turns_out_to_mean_is_not_called(shop: Engine, monkeypatch: pytest.MonkeyPatch) -> None:
    """The name is harmless when it is given, and leads inside at the call; the address that is dialled counts."""
    with receiving() as receiver:
        with shop.begin() as conn:
            endpoints.create(conn, SHOP, receiver.url.replace("http://127.0.0.1", "https://rebound.example"), None)
        place(shop, "S-1")
        fan_out(shop)

        def resolve(*_: object, **__: object) -> list[tuple[Any, ...]]:
            return [(2, 1, 6, "", ("127.0.0.1", 0)), (10, 1, 6, "", ("::ffff:10.0.0.1", 0, 0, 0))]

        monkeypatch.setattr("mes.events.webhooks.calling.socket.getaddrinfo", resolve)
        stopping = threading.Event()
        thread = threading.Thread(target=Sender(shop, Calls).run, args=(stopping, lambda: None))
        thread.start()
        eventually(lambda: states(shop) == [(1, "waiting", 1)])
        stopping.set()
        thread.join()
        assert receiver.got == []
    with shop.begin() as conn:
        error = conn.execute(text("select error from ops.webhook_attempts")).scalar_one()
    assert error == "the name leads to an address of a private network"


@pytest.mark.parametrize(
    "inside",
    [
        *(
            "127.0.0.1",
            "10.1.2.3",
            "172.16.0.1",
            "192.168.1.1",
            "169.254.169.254",
            "100.64.0.1",
            "0.0.0.1",
            "224.0.0.1",
        ),
        *("255.255.255.255", "192.0.2.1", "198.18.0.1", "::1", "::", "fe80::1", "fc00::1", "fd00:ec2::254", "ff02::1"),
        *("::ffff:127.0.0.1", "::ffff:169.254.169.254", "64:ff9b::a00:1", "2002:a00:1::", "::a00:1", "2001:db8::1"),
    ],
)
def test_no_address_inside_may_be_called(inside: str) -> None:
    """The list is from RFC 6890, and the ways in which IPv6 carries IPv4."""
    assert not addresses.may_be_called(ipaddress.ip_address(inside))


def test_addresses_of_the_internet_may_be_called() -> None:
    for outside in ("93.184.215.14", "2606:2800:21f:cb07:6820:80da:af6b:8b2c", "::ffff:93.184.215.14"):
        assert addresses.may_be_called(ipaddress.ip_address(outside))


@pytest.mark.parametrize(
    "url",
    [
        *("https://a..example/", "https://.x.example/", f"https://{'a' * 64}.example/"),
        *("", "shop.example", "http://shop.example/", "ftp://shop.example/", "https://", "https:///hooks"),
        *("https://user:pw@shop.example/", "https://shop.example/#x", "https://shop.example:0/", "https://[::1"),
        *("https://10.0.0.1/", "https://[::ffff:127.0.0.1]/", "https://shop.example/a b", "https://shöp.example/"),
        *("https://shop.example/" + "x" * 2000, "http://127.0.0.1/", "https://shop.example:99999/"),
    ],
)
def test_an_address_that_cannot_be_called_is_refused_at_once(url: str) -> None:
    with pytest.raises(BadWebhookUrl):
        addresses.check_url(url)


def test_an_endless_answer_is_not_read_to_its_end(shop: Engine) -> None:
    class Endless(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            self.send_response(200)
            self.end_headers()
            try:
                while True:
                    self.wfile.write(b"x" * 65536)
            except OSError:
                pass

        def log_message(self, *_: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Endless)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    subscribe(shop, SHOP, f"http://127.0.0.1:{server.server_port}/")
    place(shop, "S-1")
    fan_out(shop)
    with sending(shop):
        eventually(lambda: states(shop) == [(1, "delivered", 1)])
    server.shutdown()
    server.server_close()


def test_the_turn_that_nobody_gave_is_given_by_the_sweep(conn: Connection) -> None:
    add_model(conn)
    made = endpoints.create(conn, SHOP, "https://shop.example/", None)
    conn.execute(
        text("""
            insert into ops.webhook_deliveries (endpoint_id, position, order_id, sequence, event_type, next_at)
            select :id, n, :order_id, n, 'mes.order.edited.v1', 'infinity' from unnest(array[2, 3]) as n
        """),
        {"id": made.endpoint.endpoint_id, "order_id": UUID(int=1)},
    )
    assert deliveries.sweep(conn) == 1
    assert deliveries.sweep(conn) == 0


def test_a_call_that_cannot_be_noted_ends_no_other(shop: Engine, monkeypatch: pytest.MonkeyPatch) -> None:
    """The database fails in the middle, and the sender is run again: it goes on, and makes the call once more."""
    with receiving() as receiver:
        subscribe(shop, SHOP, receiver.url)
        place(shop, "S-1")
        fan_out(shop)
        sender = Sender(shop, partial(Calls, loopback=True))
        stopping = threading.Event()
        with monkeypatch.context() as failing:
            failing.setattr(sender, "_finish", lambda *_: 1 / 0)
            failing.setattr(sender, "_sweep", lambda: 1 / 0)
            with ThreadPoolExecutor(1) as thread_of_its_own, pytest.raises(ZeroDivisionError):
                thread_of_its_own.submit(sender.run, stopping, lambda: None).result()
            failing.setattr(sender, "_sweep", lambda: None)
            thread = threading.Thread(target=sender.run, args=(stopping, lambda: None))
            thread.start()
            eventually(lambda: len(receiver.got) == 1)
            place(shop, "S-2")
            fan_out(shop)
            eventually(lambda: len(receiver.got) == 2)
            stopping.set()
            thread.join()
        with shop.begin() as conn:
            conn.execute(text("update ops.webhook_deliveries set claimed_until = now() - interval '1 second'"))
        with sending(shop):
            eventually(lambda: [state for _, state, _ in states(shop)] == ["delivered", "delivered"])


def test_whoever_has_no_valid_key_any_more_is_told_nothing(shop: Engine) -> None:
    with receiving() as receiver:
        subscribe(shop, SHOP, receiver.url)
        place(shop, "S-1")
        fan_out(shop)
        with shop.begin() as conn:
            keys.revoke(conn, SHOP.key_name)
        place(shop, "S-2")
        fan_out(shop)
        with shop.begin() as conn:
            assert deliveries.claim(conn, {}, most=8) == []
        assert states(shop) == [(1, "waiting", 0)]


def test_a_deleted_webhook_is_told_nothing_and_removed_piece_by_piece(shop: Engine) -> None:
    with receiving() as receiver:
        made = subscribe(shop, SHOP, receiver.url)
        for number in range(3):
            place(shop, f"S-{number}")
        fan_out(shop)
        with shop.begin() as conn:
            endpoints.delete(conn, SHOP, made.endpoint.endpoint_id)
            assert endpoints.every(conn, SHOP) == []
            assert deliveries.claim(conn, {}, most=8) == []
            deliveries.purge(conn, utc_now(), limit=2)
            assert conn.execute(text("select count(*) from ops.webhook_deliveries")).scalar_one() == 1
            deliveries.purge(conn, utc_now(), limit=2)
            assert conn.execute(text("select count(*) from ops.webhook_endpoints")).scalar_one() == 0


def test_secrets_that_were_promised_a_day_are_used_for_a_day(conn: Connection) -> None:
    made = endpoints.create(conn, SHOP, "https://shop.example/", None)
    for _ in range(2):
        endpoints.change_secret(conn, SHOP, made.endpoint.endpoint_id)
    kept = conn.execute(text("select secrets from ops.webhook_endpoints")).scalar_one()
    assert len(endpoints.used_secrets(kept, utc_now())) == 3
    assert made.secret in endpoints.used_secrets(kept, utc_now())
    assert endpoints.used_secrets(kept, utc_now() + timedelta(hours=25)) == [kept[0]["secret"]]


def test_a_snapshot_is_called_for_in_its_orders_turn(shop: Engine) -> None:
    with receiving() as receiver, sending(shop):
        subscribe(shop, SHOP, receiver.url)
        order_id = place(shop, "S-1")
        with shop.begin() as conn:
            snapshots.tell(conn, [order_id], "drift")
        note(shop, order_id, "call first")
        fan_out(shop)
        eventually(lambda: len(receiver.got) == 3)
    told = [json.loads(body) for _, body in receiver.got]
    assert [(each["type"], each["sequence"]) for each in told] == [
        ("mes.order.submitted.v1", "1"),
        ("mes.order.snapshot.v1", "1"),
        ("mes.order.edited.v1", "2"),
    ]
    assert len({headers["webhook-id"] for headers, _ in receiver.got}) == 3
    assert told[1]["data"]["details"]["items"][0]["quantity"] == 1
