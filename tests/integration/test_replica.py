"""Reads go to a real streaming replica while it shows all that their reader has seen, and to the primary otherwise."""

from collections.abc import Callable, Iterator
from pathlib import Path

import psycopg
import pytest
from sqlalchemy import Connection, Engine, text
from sqlalchemy.exc import OperationalError

from app import queries
from mes import config
from mes.db import engine as engines
from mes.db import freshness, reads
from mes.db.reads import RETRY_S, Reads, again_on_primary
from mes.observability import health, metrics
from tests.postgres_server import Server, migrated, until

_LIMIT_S = 60.0
REPLICA, PRIMARY = "replica", "primary"
CUSTOMERS = text("select count(*) from ops.customers")
WHO = text("select case when pg_is_in_recovery() then 'replica' else 'primary' end")


class Clock:
    """Time that passes when a test says so."""

    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture(scope="module")
def primary(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """A migrated database that can be streamed."""
    with migrated(tmp_path_factory.mktemp("primary") / "home") as server:
        yield server


@pytest.fixture(scope="module")
def shared_replica(primary: Server, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """A replica that lets no query hold recovery up."""
    server = Server(tmp_path_factory.mktemp("replica") / "home", "max_standby_streaming_delay=0")
    server.copy_from(primary)
    server.start()
    yield server
    server.stop()


@pytest.fixture
def replica(shared_replica: Server) -> Iterator[Server]:
    """A replica that follows the primary, at first."""
    yield shared_replica
    shared_replica.run("select pg_wal_replay_resume()")


@pytest.fixture
def short_lived(primary: Server, tmp_path: Path) -> Iterator[Server]:
    """A replica to be killed or promoted."""
    server = Server(tmp_path / "home")
    server.copy_from(primary)
    server.start()
    yield server
    server.stop()


@pytest.fixture
def clock() -> Clock:
    """Time for the reads of a test."""
    return Clock()


@pytest.fixture
def connections(primary: Server) -> Iterator[Engine]:
    """Connections to the primary."""
    engine = engines.connect(primary.url)
    yield engine
    engine.dispose()


@pytest.fixture
def open_reads(connections: Engine, clock: Clock) -> Iterator[Callable[[Server], Reads]]:
    """Opens reads that have seen each replica well once."""
    engines_opened: list[Engine] = []

    def open_on(server: Server) -> Reads:
        engines_opened.append(reads.connect(server.url))
        opened = Reads(connections, engines_opened[-1], lag_max_s=5, clock=clock)
        until(lambda: asks(opened, None) == REPLICA)
        return opened

    yield open_on
    for engine in engines_opened:
        engine.dispose()


def asks(among: Reads, reader: str | None, question: Callable[[Connection], object] | None = None) -> object:
    """The answer to a reader's question: which server it is that answers, unless told."""

    @again_on_primary
    def ask() -> object:
        with among.connection(reader) as conn:
            return question(conn) if question else conn.scalar(WHO)

    return ask()


def customers(conn: Connection) -> object:
    return conn.scalar(CUSTOMERS)


def write(connections: Engine, among: Reads | None = None, by: str | None = None) -> int:
    """Add a customer; how many there are then."""
    with connections.begin() as conn:
        conn.execute(text("insert into ops.customers (source, external_id, tier) values ('shop', uuidv7(), 'retail')"))
        found: int = conn.execute(CUSTOMERS).scalar_one()
    if among is not None:
        among.wrote(by)
    return found


def pause_replay(server: Server) -> None:
    server.run("select pg_wal_replay_pause()")
    with psycopg.connect(server.url, autocommit=True) as conn:
        until(lambda: conn.execute("select pg_get_wal_replay_pause_state()").fetchone() == ("paused",))


def count(reason: str) -> float:
    return metrics.REGISTRY.get_sample_value("mes_reads_total", {"server": PRIMARY, "reason": reason}) or 0.0


def test_a_write_is_read_by_whoever_made_it_while_others_go_on_reading_the_replica(
    replica: Server, connections: Engine, open_reads: Callable[[Server], Reads]
) -> None:
    among = open_reads(replica)
    until(lambda: asks(among, "Vera") == asks(among, "Jonas") == REPLICA)
    before = asks(among, "Jonas", customers)
    pause_replay(replica)
    behind = count("behind_reader")
    after = write(connections, among, by="Vera")
    assert (asks(among, "Vera"), asks(among, "Vera", customers)) == (PRIMARY, after)
    assert count("behind_reader") == behind + 2
    assert (asks(among, "Jonas"), asks(among, "Jonas", customers)) == (REPLICA, before)
    replica.run("select pg_wal_replay_resume()")
    until(lambda: asks(among, "Vera") == REPLICA)
    assert asks(among, "Vera", customers) == after


def test_whoever_comes_is_shown_all_that_was_there_before_him(
    replica: Server, connections: Engine, open_reads: Callable[[Server], Reads]
) -> None:
    among = open_reads(replica)
    pause_replay(replica)
    after = write(connections)  # by him perhaps, through another process
    assert asks(among, "newcomer", customers) == after
    assert asks(among, None) == REPLICA


def test_a_reader_never_goes_back_in_time(
    replica: Server, connections: Engine, clock: Clock, open_reads: Callable[[Server], Reads]
) -> None:
    among = open_reads(replica)
    until(lambda: asks(among, "Vera") == REPLICA)
    pause_replay(replica)
    write(connections, among, by="Vera")
    seen = write(connections)  # somebody else's, later, which Vera sees since she reads from the primary
    assert asks(among, "Vera", customers) == seen
    replica.run("select pg_wal_replay_resume()")
    until(lambda: asks(among, "Vera") == REPLICA)
    assert asks(among, "Vera", customers) == seen


def test_a_replica_that_lags_beyond_the_bound_is_not_read(
    replica: Server, connections: Engine, clock: Clock, open_reads: Callable[[Server], Reads]
) -> None:
    among = open_reads(replica)
    pause_replay(replica)
    write(connections)
    clock.now += 4
    assert asks(among, None) == REPLICA
    clock.now += 2
    assert asks(among, None) == PRIMARY
    assert metrics.REGISTRY.get_sample_value("mes_replica_lag_seconds") == 6
    replica.run("select pg_wal_replay_resume()")
    until(lambda: asks(among, None) == REPLICA)


def test_an_idle_primary_is_no_lag(replica: Server, clock: Clock, open_reads: Callable[[Server], Reads]) -> None:
    among = open_reads(replica)
    until(lambda: asks(among, "Vera") == REPLICA)
    clock.now += 3600
    assert asks(among, "Vera") == REPLICA


@pytest.mark.parametrize(
    ("record", "header_bytes"),
    [("pg_logical_emit_message(false, 'test', repeat('x', 100), true)", 24), ("pg_switch_wal()", 40)],
    ids=["page", "segment"],
)
def test_a_record_that_ends_with_its_page_is_waited_for_no_longer_than_others(
    replica: Server, connections: Engine, open_reads: Callable[[Server], Reads], record: str, header_bytes: int
) -> None:
    among = open_reads(replica)
    log_record = text(f"select {record}")
    position = text("select (pg_current_wal_insert_lsn() - '0/0')::bigint % 8192")
    write(connections)  # a segment without records is not switched
    with connections.connect().execution_options(isolation_level="AUTOCOMMIT") as conn:
        for _ in range(10_000):
            conn.execute(log_record)
            if conn.scalar(position) == header_bytes:
                break
        assert conn.scalar(position) == header_bytes
    among.wrote("Vera")
    until(lambda: asks(among, "Vera") == REPLICA)


def test_a_commit_that_does_not_wait_for_the_disk_is_seen_too(connections: Engine) -> None:
    position = text("select (pg_current_wal_insert_lsn() - '0/0')::bigint")
    with connections.connect().execution_options(isolation_level="AUTOCOMMIT") as conn:
        conn.execute(text("set synchronous_commit = off"))
        conn.execute(text("create table if not exists unhurried ()"))
        assert freshness.primary(conn).visible == conn.scalar(position)
        conn.execute(text("reset synchronous_commit"))


def test_a_query_that_recovery_ends_is_asked_of_the_primary(
    primary: Server, replica: Server, connections: Engine, open_reads: Callable[[Server], Reads]
) -> None:
    primary.run("create table in_the_way ()")
    among = open_reads(replica)
    until(lambda: asks(among, "Vera") == REPLICA)
    asked: list[object] = []

    def conflict(conn: Connection) -> object:
        asked.append(conn.scalar(WHO))
        if asked[-1] == REPLICA:
            conn.execute(text("select * from in_the_way"))
            primary.run("drop table in_the_way")
            conn.execute(text("select pg_sleep(60)"))
        return asked[-1]

    assert asks(among, "Vera", conflict) == PRIMARY
    assert asked == [REPLICA, PRIMARY]
    until(lambda: asks(among, "Vera") == REPLICA)  # it is well, so it is not left alone


def test_a_replica_that_is_killed_is_done_without_until_it_is_back(
    connections: Engine, clock: Clock, short_lived: Server, open_reads: Callable[[Server], Reads]
) -> None:
    among = open_reads(short_lived)
    until(lambda: asks(among, "Vera") == REPLICA)
    away = count("away")
    short_lived.kill()
    after = write(connections, among, by="Vera")
    assert [asks(among, "Vera", customers) for _ in range(3)] == [after] * 3
    short_lived.start()
    assert asks(among, "Vera") == PRIMARY  # not tried again yet
    assert count("away") == away + 4
    clock.now += RETRY_S
    until(lambda: asks(among, "Vera") == REPLICA)
    assert asks(among, "Vera", customers) == after


def test_a_replica_that_is_killed_in_the_middle_of_a_read_costs_no_answer(
    short_lived: Server, open_reads: Callable[[Server], Reads]
) -> None:
    among = open_reads(short_lived)
    until(lambda: asks(among, "Vera") == REPLICA)

    def killed(conn: Connection) -> object:
        if conn.scalar(WHO) == REPLICA:
            short_lived.kill()
            until(lambda: not _lives(conn))
        return conn.scalar(WHO)

    assert asks(among, "Vera", killed) == PRIMARY
    assert asks(among, "Vera") == PRIMARY


def test_a_promoted_replica_is_not_read(
    connections: Engine, clock: Clock, short_lived: Server, open_reads: Callable[[Server], Reads]
) -> None:
    among = open_reads(short_lived)
    short_lived.run("select pg_promote()")
    refused = count("not_a_replica")
    assert asks(among, None) == PRIMARY
    clock.now += RETRY_S
    assert asks(among, None) == PRIMARY
    assert count("not_a_replica") == refused + 2
    after = write(connections, among, by="Vera")
    assert asks(among, "Vera", customers) == after


def test_the_console_reads_from_the_replica_and_is_ready_without_it(
    primary: Server, short_lived: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MES_DATABASE_URL", primary.url)
    monkeypatch.setenv("MES_DATABASE_READ_URL", short_lived.url)
    _forget_settings()
    name, labels = "mes_reads_total", {"server": REPLICA, "reason": "fresh"}
    before = metrics.REGISTRY.get_sample_value(name, labels) or 0.0

    def served_by_replica() -> bool:
        assert queries.finding_groups(queries.BAD_ROWS) == []
        return (metrics.REGISTRY.get_sample_value(name, labels) or 0.0) > before

    with queries.reading_as("Vera"):
        until(served_by_replica)
        short_lived.kill()
        assert queries.finding_groups(queries.BAD_ROWS) == []
    assert health.Readiness(primary.url)().ok
    queries.engine().dispose()
    _forget_settings()


def _lives(conn: Connection) -> bool:
    driver = conn.connection.driver_connection
    assert driver is not None
    try:
        driver.execute("select 1")
    except (psycopg.OperationalError, OperationalError):
        return False
    return True


def _forget_settings() -> None:
    config.load.cache_clear()
    queries.engine.clear()
    queries._reads.clear()
