"""A list that was made wrong is found out and mends itself."""

from datetime import date

from sqlalchemy import Engine, text

from mes.lists import audit
from tests.listed import differences, drain
from tests.many_orders import add_orders

DAY = date(2026, 11, 29)


def _audited(engine: Engine, day: date = DAY) -> audit.Audit:
    with engine.begin() as conn:
        return audit.audit(conn, day)


def test_a_true_list_is_left_alone(marts_engine: Engine) -> None:
    with marts_engine.begin() as conn:
        add_orders(conn, finished=280, opened=50)
    found = _audited(marts_engine)
    assert (found.differing, found.first) == (0, [])
    assert 50 < found.compared < 50 + 280


def test_what_differs_is_told_by_column_and_refreshed(marts_engine: Engine) -> None:
    with marts_engine.begin() as conn:
        add_orders(conn, opened=50)
        wrong = conn.execute(
            text("""
                update marts.order_list set note = 'changed by hand', late = not late
                where order_id = (select order_id from marts.order_list order by order_id limit 1) returning order_id
            """)
        ).scalar_one()
        gone = conn.execute(
            text("""
                delete from marts.order_list
                where order_id = (select order_id from marts.order_list order by order_id desc limit 1)
                returning order_id
            """)
        ).scalar_one()
    found = _audited(marts_engine)
    assert found.differing == 2
    assert [each.order_id for each in found.first] == [wrong, gone]
    assert found.first[0].columns == ["late", "note"]
    drain(marts_engine)
    assert differences(marts_engine) == 0
    assert _audited(marts_engine).differing == 0


def test_an_order_that_waits_for_the_refresher_is_not_compared(marts_engine: Engine) -> None:
    with marts_engine.begin() as conn:
        add_orders(conn, opened=5)
        conn.execute(text("update ops.orders set note = 'new'"))
    assert _audited(marts_engine).compared == 0


def test_every_finished_order_is_compared_within_four_weeks(marts_engine: Engine) -> None:
    with marts_engine.begin() as conn:
        add_orders(conn, finished=500)
    compared = [_audited(marts_engine, date.fromordinal(DAY.toordinal() + day)).compared for day in range(audit.PARTS)]
    assert sum(compared) == 500
