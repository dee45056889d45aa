"""Whoever waits for a status is woken by what changes the verdict, and by nothing else."""

from collections.abc import Iterator
from itertools import product

import pytest

from mes.events.judging import Standing, Verdict, judge, judged_again_at
from mes.orders.life import MOVES, Status, System

SENDERS = (System.SHOP, System.CRM)


def _lives(start: Standing) -> Iterator[Standing]:
    """All that legal moves can make of it, with and without a hold; rework once."""
    waiting, seen = [start], set()
    while waiting:
        order = waiting.pop()
        if order in seen:
            continue
        seen.add(order)
        yield order
        yield Standing(order.status, not order.held, order.passed)
        moves = [move for move in MOVES if move.start is order.status]
        waiting += [Standing(move.to, order.held, order.passed | {move.to}) for move in moves]


@pytest.mark.parametrize(("sender", "told", "status"), list(product(SENDERS, Status, Status)))
def test_nothing_that_changes_the_verdict_is_slept_through(sender: System, told: Status, status: Status) -> None:
    order = Standing(status, held=False, passed=frozenset({status}))
    if judge(sender, "shop", told, None, order).verdict is not Verdict.WAIT:
        return
    wakes = judged_again_at(sender, told, order)
    assert wakes
    assert status not in wakes
    for later in _lives(order):
        verdict = judge(sender, "shop", told, None, later).verdict
        if later.status not in wakes:
            assert verdict is Verdict.WAIT, later
        elif not later.held:
            assert verdict is not Verdict.WAIT, later


@pytest.mark.parametrize(("sender", "told"), list(product(SENDERS, Status)))
def test_what_waits_for_the_order_itself_or_for_its_release_is_woken_by_any_change(
    sender: System, told: Status
) -> None:
    assert judged_again_at(sender, told, None) is None
    for move in MOVES:
        if sender in move.by and move.to is told:
            held = Standing(move.start, held=True, passed=frozenset({move.start}))
            if judge(sender, "shop", told, None, held).verdict is Verdict.WAIT:
                assert judged_again_at(sender, told, held) is None


def test_closing_waits_for_the_end_of_the_work_alone() -> None:
    approved = Standing(Status.MANUFACTURING_APPROVED, held=False, passed=frozenset({Status.MANUFACTURING_APPROVED}))
    assert judged_again_at(System.CRM, "CLOSED", approved) == {Status.SHIPPED, Status.CLOSED, Status.CANCELLED}
