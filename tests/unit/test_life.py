"""The table of moves says what the business says."""

import itertools

import pytest

from mes.orders.life import FINISHED_STATUSES, MOVES, OPEN_STATUSES, Status, System, find_move, moves_from

LIFE = [
    Status.INITIATED,
    Status.SUBMITTED,
    Status.PRICE_CALCULATED,
    Status.MANUFACTURING_APPROVED,
    Status.MANUFACTURING_STARTED,
    Status.MANUFACTURING_COMPLETED,
    Status.PACKAGING,
    Status.SHIPPED,
    Status.CLOSED,
]
SET_BY = {
    Status.SUBMITTED: System.SHOP,
    Status.PRICE_CALCULATED: System.MES,
    Status.MANUFACTURING_APPROVED: System.CRM,
    Status.MANUFACTURING_STARTED: System.MES,
    Status.MANUFACTURING_COMPLETED: System.MES,
    Status.PACKAGING: System.MES,
    Status.SHIPPED: System.MES,
    Status.CLOSED: System.CRM,
}


@pytest.mark.parametrize(("start", "to"), list(itertools.pairwise(LIFE)))
def test_each_step_of_life_is_made_by_the_system_that_owns_the_status(start: Status, to: Status) -> None:
    move = find_move(start, to)
    assert move is not None
    assert move.by == {SET_BY[to]}


def test_shop_and_crm_may_cancel_until_the_goods_are_shipped() -> None:
    for status in LIFE:
        move = find_move(status, Status.CANCELLED)
        if status in {Status.SHIPPED, Status.CLOSED}:
            assert move is None
        else:
            assert move is not None
            assert move.by == {System.SHOP, System.CRM}


def test_rework_goes_back_with_a_reason() -> None:
    move = find_move(Status.MANUFACTURING_COMPLETED, Status.MANUFACTURING_STARTED)
    assert move is not None
    assert move.needs_reason


def test_nothing_else_is_allowed() -> None:
    steps = len(LIFE) - 1
    cancellations = 7
    assert len(MOVES) == steps + cancellations + 1
    assert not [move for move in MOVES if move.start in {Status.CLOSED, Status.CANCELLED}]


def test_every_status_is_open_or_finished() -> None:
    assert set(OPEN_STATUSES) | set(FINISHED_STATUSES) == set(Status)
    assert not set(OPEN_STATUSES) & set(FINISHED_STATUSES)


def test_the_console_offers_only_what_the_mes_may_do() -> None:
    assert [move.to for move in moves_from(Status.MANUFACTURING_COMPLETED, System.MES)] == [
        Status.MANUFACTURING_STARTED,
        Status.PACKAGING,
    ]
    assert not moves_from(Status.PRICE_CALCULATED, System.MES)
