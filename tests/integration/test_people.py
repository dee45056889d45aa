"""Users sign in, stay signed in as long as they may, and are refused from the moment they may no more."""

import hashlib
import io
import logging
import re
import threading
from datetime import UTC, datetime, timedelta

import pytest
from argon2 import PasswordHasher
from sqlalchemy import Connection, Engine, text
from typer.testing import CliRunner

from mes import config
from mes.dispatch import desk
from mes.orders import repository
from mes.orders.life import Status
from mes.people import passwords, sessions, users
from mes.people import sign_in as credentials
from mes.people.model import BadUserName, NameTaken, NoSuchUser, NotAllowed, NotSignedIn, Role, User
from mes.people.permissions import Permission, require
from mes.runtime.cli import app as mes_command
from mes.runtime.location import libpq_url
from mes.samples.people import ensure_demo_people
from tests.orders import add_order

PASSWORD = "correct horse battery staple"  # noqa: S105  of people who exist in tests only
NOW = datetime(2026, 3, 2, 8, tzinfo=UTC)
DAY = timedelta(hours=12)


@pytest.fixture
def vera(conn: Connection) -> User:
    return users.create(conn, "Vera", Role.OPERATOR, PASSWORD)


def fail(conn: Connection, times: int, now: datetime = NOW) -> None:
    for _ in range(times):
        assert credentials.check(conn, "Vera", "not her password", now) is None


def test_name_and_password_fit_in_any_letter_case_of_the_name(conn: Connection, vera: User) -> None:
    assert credentials.check(conn, " vERA ", PASSWORD, NOW) == vera
    assert credentials.check(conn, "Vera", PASSWORD.upper(), NOW) is None
    stored = conn.execute(text("select password_hash from ops.users")).scalar_one()
    assert stored.startswith("$argon2id$v=19$m=65536,t=3,p=4$")


def test_five_failures_lock_for_a_quarter_of_an_hour(conn: Connection, vera: User) -> None:
    fail(conn, 5)
    assert credentials.check(conn, "Vera", PASSWORD, NOW + timedelta(minutes=14)) is None
    assert credentials.check(conn, "Vera", PASSWORD, NOW + timedelta(minutes=15)) == vera


def test_a_success_forgets_failures_and_a_manager_unlocks(conn: Connection, vera: User) -> None:
    fail(conn, 4)
    assert credentials.check(conn, "Vera", PASSWORD, NOW) == vera
    fail(conn, 4)
    assert credentials.check(conn, "Vera", PASSWORD, NOW) == vera
    fail(conn, 5)
    users.unlock(conn, "Vera")
    assert credentials.check(conn, "Vera", PASSWORD, NOW) == vera


def test_guesses_at_the_same_time_count_each(engine: Engine) -> None:
    with engine.begin() as conn:
        users.create(conn, "Vera", Role.OPERATOR, PASSWORD)

    def guess() -> None:
        with engine.begin() as conn:
            fail(conn, 1)

    threads = [threading.Thread(target=guess) for _ in range(5)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    with engine.begin() as conn:
        assert credentials.check(conn, "Vera", PASSWORD, NOW) is None


@pytest.mark.parametrize("state", ["unknown", "deactivated", "locked"])
def test_whoever_may_not_try_costs_a_verification_too(
    conn: Connection, vera: User, monkeypatch: pytest.MonkeyPatch, state: str
) -> None:
    if state == "deactivated":
        users.deactivate(conn, "Vera")
    if state == "locked":
        fail(conn, 5)
    passwords.match_nobody("warms up the hash of nobody")
    verified = []
    monkeypatch.setattr(PasswordHasher, "verify", lambda *_: verified.append(state) or False)
    assert credentials.check(conn, "Nobody" if state == "unknown" else "Vera", PASSWORD, NOW) is None
    assert verified == [state]


def test_an_old_hash_is_made_anew_at_the_next_sign_in(conn: Connection, vera: User) -> None:
    old = PasswordHasher(time_cost=1, memory_cost=8192, parallelism=1).hash(PASSWORD)
    conn.execute(text("update ops.users set password_hash = :old"), {"old": old})
    assert credentials.check(conn, "Vera", PASSWORD, NOW) == vera
    stored = conn.execute(text("select password_hash from ops.users")).scalar_one()
    assert "m=65536" in stored
    assert credentials.check(conn, "Vera", PASSWORD, NOW) == vera


def test_names_are_unique_in_any_letter_case_and_plain(conn: Connection, vera: User) -> None:
    with pytest.raises(NameTaken):
        users.create(conn, "VERA", Role.MANAGER, PASSWORD)
    for bad in ("", "  ", "1st", "a\nb", "<b>", "x" * 65, "Anna\0"):
        with pytest.raises(BadUserName):
            users.create(conn, bad, Role.OPERATOR, PASSWORD)
    assert users.create(conn, "José-María d. Ä.", Role.OPERATOR, PASSWORD).user_name == "José-María d. Ä."
    with pytest.raises(NoSuchUser):
        users.get(conn, "Otto")


def test_only_the_hash_of_a_token_is_stored(conn: Connection, vera: User) -> None:
    token = sessions.start(conn, "Vera", NOW, DAY)
    assert len(token) == 43
    row = conn.execute(text("select * from ops.user_sessions")).one()
    assert token not in str(row)
    assert row.token_hash == hashlib.sha256(token.encode()).hexdigest()
    assert sessions.user_of(conn, row.token_hash, NOW, DAY) is None


def test_a_session_in_use_lasts_its_hours_and_an_idle_one_two(conn: Connection, vera: User) -> None:
    used, idle = sessions.start(conn, "Vera", NOW, DAY), sessions.start(conn, "Vera", NOW, DAY)
    for minutes in range(30, 12 * 60, 30):
        assert sessions.user_of(conn, used, NOW + timedelta(minutes=minutes), DAY) == vera
    assert sessions.user_of(conn, used, NOW + timedelta(hours=12), DAY) is None
    assert sessions.user_of(conn, idle, NOW + timedelta(hours=2), DAY) is None
    sessions.start(conn, "Vera", NOW + timedelta(hours=13), DAY)
    assert conn.execute(text("select count(*) from ops.user_sessions")).scalar_one() == 1


def test_shorter_hours_hold_for_sessions_that_began_before(conn: Connection, vera: User) -> None:
    token = sessions.start(conn, "Vera", NOW, DAY)
    assert sessions.user_of(conn, token, NOW + timedelta(minutes=61), timedelta(hours=1)) is None


def test_signing_out_ends_one_session_and_a_new_password_all(conn: Connection, vera: User) -> None:
    one, two, three = (sessions.start(conn, "Vera", NOW, DAY) for _ in range(3))
    sessions.end(conn, one)
    assert sessions.user_of(conn, one, NOW, DAY) is None
    assert sessions.user_of(conn, two, NOW, DAY) == vera
    users.set_password(conn, "vera", "quite another password")
    assert sessions.user_of(conn, two, NOW, DAY) is None
    assert sessions.user_of(conn, three, NOW, DAY) is None
    assert credentials.check(conn, "Vera", PASSWORD, NOW) is None
    assert credentials.check(conn, "Vera", "quite another password", NOW) == vera


def test_a_deactivated_user_is_out_at_once(conn: Connection, vera: User) -> None:
    token = sessions.start(conn, "Vera", NOW, DAY)
    assert require(conn, "Vera", Permission.WORK) == vera
    users.deactivate(conn, "Vera")
    assert sessions.user_of(conn, token, NOW, DAY) is None
    assert credentials.check(conn, "Vera", PASSWORD, NOW) is None
    assert users.active_operators(conn) == []
    with pytest.raises(NotSignedIn):
        require(conn, "Vera", Permission.WORK)
    with pytest.raises(NotSignedIn):
        require(conn, "Nobody", Permission.WORK)
    users.activate(conn, "Vera")
    assert sessions.user_of(conn, token, NOW, DAY) is None
    assert credentials.check(conn, "Vera", PASSWORD, NOW) == vera


def test_an_action_of_a_deactivated_user_changes_nothing(conn: Connection, vera: User) -> None:
    order_id = add_order(conn, status=Status.MANUFACTURING_APPROVED)
    before = repository.get(conn, order_id)
    users.deactivate(conn, "Vera")
    with pytest.raises(NotSignedIn):
        desk.hold(conn, "Vera", order_id, "scratched")
    with pytest.raises(NotSignedIn):
        desk.move(conn, "Vera", order_id, Status.MANUFACTURING_STARTED)
    assert repository.get(conn, order_id) == before


def test_a_role_acts_at_once(conn: Connection, vera: User) -> None:
    token = sessions.start(conn, "Vera", NOW, DAY)
    with pytest.raises(NotAllowed):
        require(conn, "Vera", Permission.ASSIGN)
    users.set_role(conn, "Vera", Role.MANAGER)
    assert require(conn, "Vera", Permission.ASSIGN).role is Role.MANAGER
    seen = sessions.user_of(conn, token, NOW, DAY)
    assert seen is not None
    assert seen.role is Role.MANAGER
    assert users.active_operators(conn) == []


def test_deactivating_waits_for_an_action_under_way(engine: Engine) -> None:
    with engine.begin() as conn:
        users.create(conn, "Vera", Role.OPERATOR, PASSWORD)
    with engine.begin() as acting, engine.connect() as ending:
        require(acting, "Vera", Permission.WORK)
        ending.execute(text("set lock_timeout = '100ms'"))
        with pytest.raises(Exception, match="lock timeout"):
            users.deactivate(ending, "Vera")


def test_demo_people_are_made_once(conn: Connection) -> None:
    people = ensure_demo_people(conn)
    assert [(person.user_name, person.role) for person in people] == [
        ("Tomas", Role.MANAGER),
        ("Jonas", Role.OPERATOR),
        ("Mira", Role.OPERATOR),
        ("Vera", Role.OPERATOR),
    ]
    assert users.active_operators(conn) == ["Jonas", "Mira", "Vera"]
    for person in people:
        assert credentials.check(conn, person.user_name, person.password, NOW) is not None
    assert ensure_demo_people(conn) == []


@pytest.fixture
def mes(database_url: str, monkeypatch: pytest.MonkeyPatch) -> CliRunner:
    monkeypatch.setenv("MES_DATABASE_URL", libpq_url(database_url))
    config.load.cache_clear()
    return CliRunner()


def test_users_are_kept_from_the_command_line(mes: CliRunner, engine: Engine) -> None:
    def run(*arguments: str, given: str | None = None) -> str:
        result = mes.invoke(mes_command, ["users", *arguments], input=given)
        assert result.exit_code == 0, result.output
        return result.output

    made = run("create", "Vera", "--role", "operator")
    password = re.findall(r"shown only now: (\S+)", made)[0]
    assert PASSWORD not in run("create", "Tomas", "--role", "manager", "--password-stdin", given=f"{PASSWORD}\n")
    with engine.begin() as conn:
        assert credentials.check(conn, "Vera", password, NOW) is not None
        assert credentials.check(conn, "Tomas", PASSWORD, NOW) is not None
        add_order(conn, "HERS")
        conn.execute(text("update ops.orders set assigned_to = 'Vera'"))
        sessions.start(conn, "Vera", NOW, DAY)
    assert "1 order was returned" in run("deactivate", "vera")
    with engine.begin() as conn:
        assert conn.execute(text("select assigned_to from ops.orders")).scalar_one() is None
        assert conn.execute(text("select count(*) from ops.user_sessions")).scalar_one() == 0
    assert re.search(r"Vera +operator +deactivated", run("list"))
    run("activate", "Vera")
    run("set-role", "Vera", "manager")
    run("unlock", "Vera")
    run("set-password", "Vera", "--password-stdin", given=f"{PASSWORD}\n")
    assert re.search(r"Vera +manager +active", run("list"))
    with engine.begin() as conn:
        assert credentials.check(conn, "Vera", PASSWORD, NOW) is not None


def test_a_refused_password_is_not_repeated(mes: CliRunner) -> None:
    result = mes.invoke(
        mes_command, ["users", "create", "Vera", "--role", "operator", "--password-stdin"], input="tooshort\n"
    )
    assert result.exit_code == 2
    assert "at least 12 characters" in result.output
    assert "tooshort" not in result.output


def test_passwords_reach_no_log(conn: Connection, vera: User) -> None:
    stream = io.StringIO()
    handler = logging.StreamHandler(stream)
    root = logging.getLogger()
    level = root.level
    root.addHandler(handler)
    root.setLevel(logging.DEBUG)
    try:
        root.debug("warms the stream")
        credentials.check(conn, "Vera", PASSWORD, NOW)
        fail(conn, 1)
    finally:
        root.removeHandler(handler)
        root.setLevel(level)
    assert "warms the stream" in stream.getvalue()
    assert PASSWORD not in stream.getvalue()
