"""Who has no valid key gets nothing, and a key ends the moment that it is revoked."""

import json
import subprocess
import sys
from datetime import UTC, datetime, timedelta

import httpx
import pytest
from sqlalchemy import Connection, text

from ingest.api import examples
from mes.callers import keys
from mes.callers.keys import AmbiguousKeyName, BadExpiry, BadKeyName, BadSource, KeyState, NoSuchKey
from mes.callers.model import NotAuthenticated, Scope
from mes.runtime.location import libpq_url
from tests.api_server import Api, new_key, problem

NOW = datetime(2026, 11, 22, 8, 0, tzinfo=UTC)
CALLS = (
    ("POST", "/v1/models"),
    ("GET", f"/v1/models/{examples.MODEL_ID}"),
    ("POST", "/v1/quotes"),
    ("GET", f"/v1/quotes/{examples.QUOTE_ID}"),
    ("POST", "/v1/orders"),
    ("GET", "/v1/orders"),
    ("GET", "/v1/orders?limit=none&colour=red"),
    ("GET", "/v1/orders/none"),
    ("GET", f"/v1/orders/{examples.ORDER_ID}"),
    ("POST", f"/v1/orders/{examples.ORDER_ID}/transitions"),
    ("GET", f"/v1/orders/{examples.ORDER_ID}/events"),
)
BAD_KEYS = (
    "mes_",
    "mes_0000000000000000_" + "0" * 64,
    "Basic dXNlcjpwYXNz",
    "é" * 20,
)


def test_no_call_is_answered_without_a_key(api: Api) -> None:
    """Not even with what is wrong with it."""
    client = api.client(None)
    for method, path in CALLS:
        answer = client.request(method, path, content=b"nonsense")
        problem(answer, 401, "not_authenticated")
        assert answer.headers["www-authenticate"] == "Bearer"


def test_a_wrong_key_is_as_good_as_none(api: Api) -> None:
    client = api.client(None)
    for header in ("Bearer", *(f"Bearer {key}" for key in BAD_KEYS), BAD_KEYS[1]):
        answer = client.get("/v1/orders", headers={"authorization": header.encode("latin-1")})  # type: ignore[arg-type]
        problem(answer, 401, "not_authenticated")


def test_a_key_with_another_secret_is_refused(api: Api) -> None:
    key = api.key("web shop", Scope.SHOP)
    assert api.client(key).get("/v1/orders").status_code == 200
    problem(api.client(key[:-1] + ("0" if key[-1] != "0" else "1")).get("/v1/orders"), 401, "not_authenticated")


def test_a_revoked_key_ends_at_once(api: Api) -> None:
    client = api.client(api.key("web shop", Scope.SHOP))
    assert client.get("/v1/orders").status_code == 200
    with api.engine.begin() as conn:
        keys.revoke(conn, "web shop")
    problem(client.get("/v1/orders"), 401, "not_authenticated")


def test_what_is_stored_of_a_key_does_not_open_anything(api: Api) -> None:
    key = api.key("web shop", Scope.SHOP)
    with api.engine.begin() as conn:
        stored = json.dumps(
            [dict(row) for row in conn.execute(text("select * from ops.api_keys")).mappings()], default=str
        )
    secret = key.rpartition("_")[2]
    assert len(secret) == 64
    assert secret not in stored


def test_the_use_of_a_key_is_noted_once_a_minute(api: Api) -> None:
    client = api.client(api.key("web shop", Scope.SHOP))
    assert api.number("select count(*) from ops.api_keys where last_used_at is not null") == 0
    client.get("/v1/orders/none")
    assert api.number("select count(*) from ops.api_keys where last_used_at is not null") == 1
    api.change("update ops.api_keys set last_used_at = now() - interval '30 seconds'")
    client.get("/v1/orders")
    assert api.number("select count(*) from ops.api_keys where last_used_at > now() - interval '20 seconds'") == 0
    api.change("update ops.api_keys set last_used_at = now() - interval '90 seconds'")
    client.get("/v1/orders")
    assert api.number("select count(*) from ops.api_keys where last_used_at > now() - interval '20 seconds'") == 1


def test_a_key_that_somebody_else_notes_holds_nobody_up(api: Api) -> None:
    client = api.client(api.key("web shop", Scope.SHOP))
    with api.engine.begin() as conn:
        conn.execute(text("select from ops.api_keys for update"))
        assert client.get("/v1/orders").status_code == 200


def test_a_key_expires_on_its_day(conn: Connection) -> None:
    key = keys.create(conn, "brilliant-rings", Scope.PARTNER, valid_days=30, clock=lambda: NOW).key
    assert keys.authenticate(conn, key, clock=lambda: NOW + timedelta(days=29)).caller.name == "brilliant-rings"
    with pytest.raises(NotAuthenticated):
        keys.authenticate(conn, key, clock=lambda: NOW + timedelta(days=30))
    assert keys.every(conn, clock=lambda: NOW + timedelta(days=31))[0].state is KeyState.EXPIRED


def test_each_scope_has_its_source(conn: Connection) -> None:
    assert keys.create(conn, "Web shop", Scope.SHOP).source == "shop"
    assert keys.create(conn, "Sales", Scope.CRM).source == "crm"
    assert keys.create(conn, "Root", Scope.ADMIN).source == "admin"
    assert keys.create(conn, "brilliant-rings", Scope.PARTNER).source == "brilliant-rings"
    assert keys.create(conn, "Brilliant Rings", Scope.PARTNER, source="brilliant-rings").source == "brilliant-rings"


@pytest.mark.parametrize(
    ("name", "scope", "source"),
    [
        ("Brilliant Rings", Scope.PARTNER, None),
        ("p", Scope.PARTNER, "shop"),
        ("mes", Scope.PARTNER, None),
        ("p", Scope.PARTNER, "-p"),
        ("p", Scope.PARTNER, "a" * 64),
        ("p", Scope.PARTNER, "a.b"),
        ("s", Scope.SHOP, "brilliant-rings"),
    ],
)
def test_nobody_takes_anothers_source(conn: Connection, name: str, scope: Scope, source: str | None) -> None:
    with pytest.raises(BadSource):
        keys.create(conn, name, scope, source=source)


@pytest.mark.parametrize("name", ["", " ", "a\n", "x" * 101, " padded "])
def test_a_key_needs_a_name_that_people_can_read(conn: Connection, name: str) -> None:
    with pytest.raises(BadKeyName):
        keys.create(conn, name, Scope.SHOP)


@pytest.mark.parametrize("days", [0, -1, 10**9])
def test_a_key_expires_in_the_future(conn: Connection, days: int) -> None:
    with pytest.raises(BadExpiry):
        keys.create(conn, "web shop", Scope.SHOP, valid_days=days)


def test_keys_are_revoked_by_id_or_by_a_name_that_means_one(conn: Connection) -> None:
    first, second = (keys.create(conn, "web shop", Scope.SHOP) for _ in range(2))
    with pytest.raises(AmbiguousKeyName):
        keys.revoke(conn, "web shop")
    keys.revoke(conn, first.key_id)
    assert keys.revoke(conn, "web shop") == second.key_id
    assert keys.revoke(conn, first.key_id) == first.key_id
    with pytest.raises(NoSuchKey):
        keys.revoke(conn, "web shop")


@pytest.mark.slow
def test_the_command_makes_lists_and_revokes_keys(api: Api) -> None:
    def mes(*arguments: str) -> subprocess.CompletedProcess[str]:
        program = "from mes.runtime.cli import app; app()"
        environment = {
            "MES_DATABASE_URL": libpq_url(str(api.settings.database_url)),
            "MES_HOME": str(api.settings.home),
            "PATH": "/usr/bin:/bin",
        }
        return subprocess.run(
            [sys.executable, "-c", program, "keys", *arguments],
            capture_output=True,
            text=True,
            check=False,
            env=environment,
            stdin=subprocess.DEVNULL,
            timeout=120,
        )

    made = mes("create", "brilliant-rings", "--scope", "partner", "--expires-days", "30")
    assert made.returncode == 0, made.stderr
    key = made.stdout.strip()
    client = api.client(key)
    assert client.get("/v1/orders").status_code == 200
    listed = json.loads(mes("list", "--json").stdout)
    assert [(one["name"], one["scope"], one["source"], one["state"]) for one in listed] == [
        ("brilliant-rings", "partner", "brilliant-rings", "active")
    ]
    assert listed[0]["last_used_at"] is not None
    assert key.rpartition("_")[2] not in json.dumps(listed)
    assert "brilliant-rings" in mes("list").stdout
    assert mes("revoke", "brilliant-rings").returncode == 0
    problem(client.get("/v1/orders"), 401, "not_authenticated")
    refused = mes("create", "shop", "--scope", "partner")
    assert refused.returncode == 2
    assert "source" in refused.stderr


def test_two_keys_of_one_partner_share_what_is_theirs(api: Api, partner: httpx.Client) -> None:
    """So that a key can be changed without a gap."""
    second = api.client(api.key("brilliant rings, new key", Scope.PARTNER, "brilliant-rings"))
    headers = new_key()
    first_answer = partner.post("/v1/orders", json=examples.SMALL_ORDER, headers=headers)
    again = second.post("/v1/orders", json=examples.SMALL_ORDER, headers=headers)
    assert (again.headers["idempotency-replayed"], again.content) == ("true", first_answer.content)
    assert second.get(first_answer.headers["location"]).status_code == 200


def test_a_key_is_changed_without_a_gap(conn: Connection) -> None:
    old = keys.create(conn, "acme", Scope.PARTNER, source="acme-rings", valid_days=90, clock=lambda: NOW)
    new = keys.rotate(conn, "acme", overlap=timedelta(hours=1), clock=lambda: NOW)
    for key in (old, new):
        assert keys.authenticate(conn, key.key, clock=lambda: NOW).caller.name == "acme-rings"
    later = NOW + timedelta(hours=2)
    with pytest.raises(NotAuthenticated):
        keys.authenticate(conn, old.key, clock=lambda: later)
    keys.authenticate(conn, new.key, clock=lambda: later)
    expiries = {listed.key_id: listed.expires_at for listed in keys.every(conn, clock=lambda: NOW)}
    assert expiries == {old.key_id: NOW + timedelta(hours=1), new.key_id: NOW + timedelta(days=90)}
    with pytest.raises(NoSuchKey):
        keys.rotate(conn, "nobody")
    with pytest.raises(BadExpiry):
        keys.rotate(conn, new.key_id, overlap=timedelta(seconds=-1))


def test_a_key_is_changed_again_and_again_by_its_name(conn: Connection) -> None:
    made = [keys.create(conn, "acme", Scope.PARTNER)]
    made += [keys.rotate(conn, "acme") for _ in range(3)]
    assert keys.authenticate(conn, made[-1].key).caller.name == "acme"
    keys.revoke(conn, made[-1].key_id)
    with pytest.raises(NoSuchKey):
        keys.rotate(conn, made[-1].key_id)
