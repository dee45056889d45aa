"""The throughput reports count what changed, no more, and say after each run what counting everything would say."""

import os
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from random import Random
from typing import Any
from uuid import UUID, uuid4

import pytest
from dbt.cli.main import dbtRunner
from sqlalchemy import Connection, Engine, make_url, text

from assets import dbt_project
from mes.reports import throughput
from tests.orders import add_order

MONDAY = datetime(2026, 3, 2, 12, tzinfo=UTC)
REPORTS = {"throughput_daily": "day", "throughput_weekly": "week"}
Refresh = Callable[..., None]


@pytest.fixture
def refresh(
    marts_engine: Engine, tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Refresh]:
    """Runs dbt on the two reports, in this process."""
    url = make_url(str(marts_engine.url))
    project = str(dbt_project.PROJECT)
    home = tmp_path_factory.getbasetemp() / "dbt"
    for name, value in {
        "MES_PG_HOST": str(url.query.get("host") or url.host),
        "MES_PG_PORT": str(url.query.get("port") or url.port or 5432),
        "MES_PG_USER": url.username or "postgres",
        "MES_PG_DATABASE": url.database or "",
        "DBT_PROFILES_DIR": project,
        "DBT_PROJECT_DIR": project,
        "DBT_TARGET_PATH": str(home / "target"),
        "DBT_LOG_PATH": str(home / "logs"),
        "DBT_SEND_ANONYMOUS_USAGE_STATS": "false",
    }.items():
        monkeypatch.setenv(name, value)

    def run(command: str = "run") -> None:
        # it would leave its log open
        argv = ["--log-level-file", "none", command, "--quiet", "--select", *REPORTS]
        result = dbtRunner().invoke(argv)
        assert result.success, result.exception or [each.message for each in result.result]  # type: ignore[union-attr]

    yield run
    assert os.environ["MES_PG_DATABASE"] == url.database


def differences(conn: Connection) -> list[Any]:
    """Where the tables are not what their definition says of all orders."""
    found: list[Any] = []
    for report, key in REPORTS.items():
        columns = "placed, finished, finished_late, cancelled, cycle_days_median"
        found += conn.execute(
            text(f"""
                (select {key}, {columns} from marts.{report} except select {key}, {columns} from marts.{report}_live)
                union all
                (select {key}, {columns} from marts.{report}_live except select {key}, {columns} from marts.{report})
            """)
        ).all()
        found += conn.execute(
            text(f"""
                select * from (
                    select {key}, in_progress, sum(placed - finished - cancelled) over (order by {key}) as standing
                    from marts.{report}
                ) as carried where in_progress is distinct from standing
            """)
        ).all()
    return found


def counted_since(conn: Connection, report: str, since: datetime) -> set[str]:
    """The periods that were counted again."""
    key = REPORTS[report]
    rows = conn.execute(text(f"select {key}::text from marts.{report} where refreshed_at > :since"), {"since": since})
    return set(rows.scalars())


def ended(conn: Connection, order_id: UUID, status: str, at: datetime) -> None:
    """An event and the status that it leads to, in the order in which an import writes them."""
    version: int = conn.execute(
        text("""
            update ops.orders set status = cast(:status as ops.order_status), version = version + 1
            where order_id = :order_id returning version
        """),
        {"order_id": order_id, "status": status},
    ).scalar_one()
    fact(conn, order_id, status, at, version)


def fact(conn: Connection, order_id: UUID, status: str, at: datetime, sequence: int) -> None:
    """An event that leads nowhere, as late facts do."""
    conn.execute(
        text("""
            insert into ops.order_events (order_id, sequence, type, occurred_at, system, actor, live)
            values (:order_id, :sequence, :status, :at, 'mes', 'test', false)
        """),
        {"order_id": order_id, "sequence": sequence, "status": status, "at": at},
    )


def test_whatever_happens_to_orders_the_reports_follow(marts_engine: Engine, refresh: Refresh) -> None:
    random = Random(20)
    ids: list[UUID] = []
    sequence = 100
    for _ in range(3):
        for _ in range(150):
            sequence += 1
            at = MONDAY + timedelta(days=random.randrange(-2500, 60), hours=random.randrange(24))
            with marts_engine.begin() as conn:
                if not ids or random.random() < 0.35:
                    due = timedelta(days=random.randrange(20)) if random.random() < 0.8 else None
                    ids.append(add_order(conn, f"S-{sequence}", placed_at=at, due_in=due))
                    continue
                chosen = random.choice(ids)
                what = random.choice(("SHIPPED", "SHIPPED", "CANCELLED", "fact", "due", "placed", "reopen", "gone"))
                if what in {"SHIPPED", "CANCELLED"}:
                    ended(conn, chosen, what, at)
                elif what == "fact":
                    fact(conn, chosen, random.choice(("SHIPPED", "CANCELLED", "PACKAGING")), at, sequence)
                elif what == "gone":
                    ids.remove(chosen)
                    conn.execute(text("delete from ops.orders where order_id = :id"), {"id": chosen})
                else:
                    change = {
                        "due": "due_at = :at",
                        "placed": "placed_at = :at",
                        "reopen": "status = 'PACKAGING'",
                    }[what]
                    conn.execute(text(f"update ops.orders set {change} where order_id = :id"), {"id": chosen, "at": at})
        refresh("build")
        with marts_engine.begin() as conn:
            assert differences(conn) == []
            assert conn.execute(text("select count(*) from marts.throughput_weekly")).scalar_one() > 20
    with marts_engine.begin() as conn:
        conn.execute(text("delete from ops.orders"))
    refresh()
    with marts_engine.begin() as conn:
        assert throughput.weeks(conn) == []
        assert conn.execute(text("select count(*) from marts.throughput_daily")).scalar_one() == 0


def test_only_the_days_and_weeks_of_a_change_are_counted(marts_engine: Engine, refresh: Refresh) -> None:
    with marts_engine.begin() as conn:
        ids = [
            add_order(conn, f"S-{day}", placed_at=MONDAY + timedelta(days=day), due_in=timedelta(9))
            for day in range(20)
        ]
        ended(conn, ids[3], "SHIPPED", MONDAY + timedelta(days=8))
    refresh()
    with marts_engine.begin() as conn:
        since: datetime = conn.execute(text("select clock_timestamp()")).scalar_one()
        # a date that a customer was promised changes what was late on the day that he got it
        conn.execute(text("update ops.orders set due_at = placed_at where order_id = :id"), {"id": ids[3]})
        # no figure speaks of these
        conn.execute(
            text("update ops.orders set note = 'call first', rush = true, status = 'PACKAGING' where note is null")
        )
        # imported today, shipped years ago
        old = add_order(conn, "old", placed_at=MONDAY - timedelta(days=2500))
        ended(conn, old, "SHIPPED", MONDAY - timedelta(days=2490))
    refresh()
    with marts_engine.begin() as conn:
        assert counted_since(conn, "throughput_daily", since) == {"2026-03-10", "2019-04-28", "2019-05-08"}
        assert counted_since(conn, "throughput_weekly", since) == {"2026-03-09", "2019-04-22", "2019-05-06"}
        assert differences(conn) == []
        assert conn.execute(text("select count(*) from ops.changed_days")).scalar_one() == 0


def test_what_commits_during_a_run_is_counted_by_the_next(marts_engine: Engine, refresh: Refresh) -> None:
    slow = marts_engine.connect()
    with slow, slow.begin():
        add_order(slow, "slow", placed_at=MONDAY)
        with marts_engine.begin() as conn:
            add_order(conn, "quick", placed_at=MONDAY)
        refresh()
        with marts_engine.begin() as conn:
            assert [week.placed for week in throughput.weeks(conn)] == [1]
    refresh()
    with marts_engine.begin() as conn:
        assert [week.placed for week in throughput.weeks(conn)] == [2]


def test_quiet_weeks_are_in_the_report(marts_engine: Engine, refresh: Refresh) -> None:
    with marts_engine.begin() as conn:
        add_order(conn, "A", placed_at=MONDAY)
        add_order(conn, "B", placed_at=MONDAY + timedelta(weeks=3))
    refresh()
    with marts_engine.begin() as conn:
        weeks = throughput.weeks(conn)
        assert [(week.placed, week.in_progress) for week in weeks] == [(1, 1), (0, 1), (0, 1), (1, 2)]
        assert throughput.weeks(conn, 2) == weeks[-2:]


def test_a_run_that_fails_leaves_the_marks_and_the_old_report(marts_engine: Engine, refresh: Refresh) -> None:
    with marts_engine.begin() as conn:
        add_order(conn, "A", placed_at=MONDAY)
    refresh()
    with marts_engine.begin() as conn:
        add_order(conn, "B", placed_at=MONDAY)
        conn.execute(text("alter table marts.throughput_daily add constraint broken check (placed < 2)"))
    with pytest.raises(AssertionError):
        refresh()
    with marts_engine.begin() as conn:
        assert [week.placed for week in throughput.weeks(conn)] == [1]
        conn.execute(text("alter table marts.throughput_daily drop constraint broken"))
    refresh()
    with marts_engine.begin() as conn:
        assert [week.placed for week in throughput.weeks(conn)] == [2]
        assert differences(conn) == []


def test_many_orders_of_a_statement_leave_one_mark_for_each_of_their_days(marts_engine: Engine) -> None:
    with marts_engine.begin() as conn:
        _load(conn, orders=1_000, days=5)
        marks = conn.execute(text("select day, count(*) as marks from ops.changed_days group by day")).all()
    assert len(marks) == 6
    assert sum(mark.marks for mark in marks) == 5 + 5  # placed and shipped


def test_a_day_reads_as_much_however_many_other_days_there_are(marts_engine: Engine) -> None:
    read = []
    for first in (0, 400):
        with marts_engine.begin() as conn:
            _load(conn, orders=20_000, days=400, since=first)
        with marts_engine.connect().execution_options(isolation_level="AUTOCOMMIT") as conn:
            conn.execute(text("vacuum analyze ops.orders"))
            conn.execute(text("vacuum analyze ops.order_ends"))
        with marts_engine.begin() as conn:
            read.append([_pages(conn, *wanted) for wanted in (("daily", "and day = '2026-03-10'"), ("weekly", ""))])
    (day, week), (day_of_more, week_of_more) = read
    assert day_of_more < 1.5 * day
    assert week_of_more < 1.5 * week


def _pages(conn: Connection, report: str, day: str) -> int:
    """Pages that counting one period reads."""
    plan: dict[str, Any] = conn.execute(
        text(f"""
            explain (analyze, buffers, format json)
            select * from marts.throughput_{report}_live where week = '2026-03-09' {day}
        """)
    ).scalar_one()[0]["Plan"]
    assert "Seq Scan" not in str(plan)
    return int(plan["Shared Hit Blocks"] + plan["Shared Read Blocks"])


def _load(conn: Connection, *, orders: int, days: int, since: int = 0) -> None:
    """Orders, evenly on days from MONDAY on, each shipped the day after, in one statement a table."""
    values = {"orders": orders, "days": days, "since": since, "monday": MONDAY, "batch": uuid4().hex[:8]}
    conn.execute(
        text("""
            with buyer as (
                insert into ops.customers (source, external_id) values ('shop', :batch) returning customer_id
            )
            insert into ops.orders (
                source, external_id, customer_id, status, status_since, version, placed_at, due_at
            )
            select 'shop', :batch || n, customer_id, 'SHIPPED', at, 1, at, at + interval '1 day'
            from buyer, generate_series(1, cast(:orders as integer)) as n,
                lateral (select cast(:monday as timestamptz) + interval '1 day' * (:since + n % :days) as at) as placed
        """),
        values,
    )
    conn.execute(
        text("""
            insert into ops.order_events (order_id, sequence, type, occurred_at, system, actor, live)
            select order_id, 1, 'SHIPPED', placed_at + interval '1 day', 'mes', 'test', false
            from ops.orders where external_id like :batch || '%'
        """),
        values,
    )
