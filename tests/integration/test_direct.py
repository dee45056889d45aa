"""Statements that go straight to psycopg answer, fail and lose their connection as SQLAlchemy's do."""

import pytest
from sqlalchemy import Connection, Engine, text
from sqlalchemy.exc import IntegrityError, OperationalError

from mes.db import direct

TABLE = text("create temporary table seen (number integer primary key, word text) on commit drop")
KEEP = text("insert into seen values (:number, cast(:word as text))")
FIND = text("select number, word, number * 100 % 7 as rest, '10:30' as time from seen where number = :number")


def test_a_row_has_the_names_of_its_columns(conn: Connection) -> None:
    direct.execute(conn, TABLE, {})
    direct.execute(conn, KEEP, {"number": 3, "word": None})
    row = direct.fetch(conn, FIND, {"number": 3})
    assert (row.number, row.word, row.rest, row.time) == (3, None, 6, "10:30")
    assert direct.fetch(conn, FIND, {"number": 4}) is None


def test_it_is_part_of_sqlalchemys_transaction(engine: Engine) -> None:
    customer = text("insert into ops.customers (source, external_id, tier) values ('shop', 'C-1', 'vip')")
    count = text("select count(*) as rows from ops.customers")
    with engine.connect() as conn, engine.connect() as other:
        direct.execute(conn, customer, {})
        assert direct.fetch(conn, count, {}).rows == 1
        conn.rollback()
        assert direct.fetch(conn, count, {}).rows == 0
        direct.execute(conn, customer, {})
        assert other.scalar(count) == 0
        conn.commit()
        assert other.scalar(count) == 1


def test_what_fails_is_told_as_sqlalchemy_tells_it_without_the_values(conn: Connection) -> None:
    direct.execute(conn, TABLE, {})
    direct.execute(conn, KEEP, {"number": 3, "word": "secret"})
    with pytest.raises(IntegrityError) as refused:
        direct.execute(conn, KEEP, {"number": 3, "word": "secret"})
    assert "secret" not in str(refused.value)
    assert not refused.value.connection_invalidated


def test_a_lost_connection_does_not_come_back_from_the_pool(engine: Engine) -> None:
    with engine.connect() as conn:
        lost = direct.fetch(conn, text("select pg_backend_pid() as pid"), {}).pid
        with engine.connect() as other:
            other.execute(text("select pg_terminate_backend(:pid, 5000)"), {"pid": lost})
        with pytest.raises(OperationalError) as gone:
            direct.fetch(conn, text("select 1 as one"), {})
        assert gone.value.connection_invalidated
    with engine.connect() as conn:
        assert direct.fetch(conn, text("select pg_backend_pid() as pid"), {}).pid != lost
