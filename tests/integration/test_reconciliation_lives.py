"""Whatever is lost on the way, a comparison and its repairs bring the other system to where we are."""

import random
from pathlib import Path
from typing import Any

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlalchemy import Engine, text

from mes.orders import life, placing, repository, service
from mes.orders.life import System
from mes.orders.model import Actor
from mes.reconciliation import drift
from tests.callers import SHOP, add_model, new_order
from tests.statements import reconcile, states

ADMIN = Actor(System.ADMIN, "root")
Heard = dict[str, dict[str, Any]]


def live(engine: Engine, number: str, chance: random.Random) -> None:
    """A life of its own: moves, holds and notes, as far as it comes."""
    with engine.begin() as conn:
        order_id = placing.place(conn, SHOP, new_order(number)).order_id
        for _ in range(chance.randrange(8)):
            order = repository.get(conn, order_id)
            moves = life.moves_from(order.status, System.ADMIN)
            if chance.random() < 0.3:
                service.write_note(conn, order_id, ADMIN, str(chance.random()))
            elif order.held:
                service.release(conn, order_id, ADMIN)
            elif moves:
                service.transition(conn, order_id, chance.choice(moves).to, ADMIN, reason="because")


def hear(engine: Engine, heard: Heard, after: int, chance: random.Random, lost: float) -> int:
    """What reaches a shop that applies each event it gets, leaving out those that it is past; gives up to where."""
    with engine.begin() as conn:
        told = conn.execute(
            text("select outbox_id, event from ops.outbox where outbox_id > :after order by outbox_id"),
            {"after": after},
        ).all()
    for row in told:
        data = row.event["data"]
        number = data["order"]["external_id"]
        if chance.random() >= lost and data["version"] > heard.get(number, {"version": 0})["version"]:
            heard[number] = {"external_id": number, "status": data["status"], "version": data["version"]}
    return int(told[-1].outbox_id) if told else after


@given(seed=st.integers(0, 2**32), lost=st.floats(0, 0.9), orders=st.integers(1, 12))
@settings(max_examples=15, deadline=None, suppress_health_check=list(HealthCheck))
def some_lives(engine: Engine, folder: Path, seed: int, lost: float, orders: int) -> None:
    chance = random.Random(seed)
    with engine.begin() as conn:
        conn.execute(text("truncate ops.orders, ops.drift, ops.reconciliation_runs, ops.outbox cascade"))
    heard: Heard = {}
    for number in range(orders):
        live(engine, f"S-{number}", chance)
    position = hear(engine, heard, 0, chance, lost)
    reconcile(engine, states(folder, *heard.values()), any_size=True)
    with engine.begin() as conn:
        named = {each.external_id for each in drift.listed(conn)}
        ours = {
            row.external_id: (row.status, row.version)
            for row in conn.execute(text("select external_id, status::text as status, version from ops.orders"))
        }
    missed = {number for number, stands in ours.items() if stands != _stands(heard, number)}
    assert named == missed
    hear(engine, heard, position, chance, lost=0)  # the snapshots come
    again = reconcile(engine, states(folder, *heard.values()), any_size=True)
    assert (again.found, again.closed) == ({}, len(missed))
    assert {number: _stands(heard, number) for number in ours} == ours


def _stands(heard: Heard, number: str) -> tuple[str, int] | None:
    known = heard.get(number)
    return (known["status"], known["version"]) if known else None


def test_what_was_lost_is_told_again(engine: Engine, tmp_path: Path) -> None:
    with engine.begin() as conn:
        add_model(conn)
    some_lives(engine, tmp_path)
