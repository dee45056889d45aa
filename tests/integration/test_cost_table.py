"""Unit costs follow measurements and rates, touch nothing else, and survive races and kills."""

import hashlib
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Iterable
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal

import pytest
from sqlalchemy import Connection, Engine, text

from mes.pricing import geometry_store
from mes.pricing.costs import cost_audit, cost_table
from mes.pricing.costs.cost_table import Refreshed
from mes.pricing.geometry import KERNEL_VERSION, Geometry, Printing
from mes.pricing.rates import rate_cards, rate_store
from mes.pricing.rates.rate_card import RateCard
from tests.conftest import REPOSITORY

NOW = datetime(2026, 11, 20, 12, tzinfo=UTC)
PAIRS = 16
CARD = rate_cards.load_sample()[-1].model_copy(update={"valid_from": date(2026, 11, 1)})


def _now() -> datetime:
    return NOW


def _cube(side: float) -> Geometry:
    return Geometry(
        triangles=12,
        volume_mm3=side**3,
        area_mm2=6 * side**2,
        extents_mm=(side, side, side),
        bodies=1,
        closed=True,
        open_edges=0,
        facing="outward",
        box_mm=(side, side, side),
        hull_mm3=side**3,
        detail=1.2,
        printing=Printing(side, 0.0, 0.0, (0.0, 0.0, 1.0), (side**2,)),
    )


def _measure(conn: Connection, *sides: float) -> list[str]:
    """Cubes of these sides, known as they would be after their upload."""
    ids = []
    for side in sides:
        model_id = hashlib.sha256(str(side).encode()).hexdigest()
        conn.execute(
            text("""
                insert into ops.models (model_id, bytes, format, file_name) values (:id, 1, 'stl', 'cube.stl')
                on conflict do nothing
            """),
            {"id": model_id},
        )
        geometry_store.keep(conn, model_id, _cube(side))
        ids.append(model_id)
    return ids


def _with(**parts: dict[str, object]) -> RateCard:
    """The card, from today on, with other rates in some of its parts."""
    changed = {name: getattr(CARD, name).model_copy(update=update) for name, update in parts.items()}
    return CARD.model_copy(update={"valid_from": date(2026, 11, 20), **changed})


def _load(engine: Engine, *cards: RateCard) -> None:
    with engine.begin() as conn:
        rate_store.load(conn, cards)


def _refresh(engine: Engine, rows_at_once: int = cost_table.ROWS_AT_ONCE) -> Refreshed:
    total = Refreshed(None, finished=False)
    while not total.finished:
        with engine.begin() as conn:
            total += cost_table.refresh(conn, clock=_now, rows_at_once=rows_at_once)
    return total


def _table(engine: Engine, columns: str = "unit_price, rates_hash") -> dict[tuple[str, str, str], tuple[object, ...]]:
    with engine.begin() as conn:
        rows = conn.execute(text(f"select model_id, material, finish, {columns} from ops.cost_table")).all()
    return {(row[0], row[1], row[2]): tuple(row[3:]) for row in rows}


def _changed(
    before: dict[tuple[str, str, str], tuple[object, ...]], after: dict[tuple[str, str, str], tuple[object, ...]]
) -> set[tuple[str, str]]:
    """Metals and finishes of the rows that were written."""
    return {(material, finish) for (_, material, finish), row in after.items() if before[_, material, finish] != row}


def _is_right(engine: Engine) -> None:
    with engine.begin() as conn:
        assert cost_audit.behind(conn, clock=_now) == cost_audit.Behind(0, 0)
        assert cost_audit.differing(conn, clock=_now) == []


@pytest.fixture
def costed(marts_engine: Engine) -> Engine:
    """Five models, costed."""
    _load(marts_engine, CARD)
    with marts_engine.begin() as conn:
        _measure(conn, 5, 6, 7, 8, 9)
    assert _refresh(marts_engine).rows_new == 5 * PAIRS
    return marts_engine


def test_every_model_has_a_cost_in_every_metal_and_finish(costed: Engine) -> None:
    _is_right(costed)
    table = _table(costed, "unit_price, mass_g, problem")
    assert len(table) == 5 * PAIRS
    # 125 mm3 of 925 silver at 10.36 g/cm3
    (small,) = {hashlib.sha256(b"5").hexdigest()}
    assert table[small, "silver925", "polished"][1] == pytest.approx(1.295)
    assert {row[2] for row in table.values()} == {None}


def test_refreshing_again_writes_nothing(costed: Engine) -> None:
    before = _table(costed, "xmin, ctid")
    assert _refresh(costed) == Refreshed(CARD.version)
    assert _table(costed, "xmin, ctid") == before


GOLD = ("gold585", "gold750")
FINISHES = ("polished", "satin", "sandblasted", "plated")
METALS = ("silver925", *GOLD, "platinum950")


@pytest.mark.parametrize(
    ("card", "metals", "finishes"),
    [
        (_with(metals={"gold": Decimal(5000)}), GOLD, FINISHES),
        (_with(metals={"silver": Decimal(99)}), ("silver925",), FINISHES),
        (_with(alloys={"gold750": Decimal("0.99")}), ("gold750",), FINISHES),
        (_with(finishing={"plating_per_cm2": Decimal("1.50")}), METALS, ("plated",)),
        (
            _with(
                finishing={
                    "minutes_per_cm2": CARD.finishing.minutes_per_cm2.model_copy(update={"polished": Decimal(2)})
                }
            ),
            METALS,
            ("polished",),
        ),
        (_with(engraving={"setup": Decimal(99)}), (), ()),
        (_with(terms={"rush_factor": Decimal(2)}), (), ()),
        (_with(terms={"margin": CARD.terms.margin.model_copy(update={"b2b": Decimal("0.3")})}), (), ()),
        (_with(terms={"margin": CARD.terms.margin.model_copy(update={"retail": Decimal("0.6")})}), METALS, FINISHES),
        (CARD.model_copy(update={"valid_from": date(2026, 11, 20), "stones": CARD.stones[:1]}), (), ()),
    ],
    ids=["gold", "silver", "alloy", "plating", "polishing", "engraving", "rush", "b2b", "retail", "stones"],
)
def test_a_rate_touches_the_rows_that_depend_on_it_and_no_other(
    costed: Engine, card: RateCard, metals: Iterable[str], finishes: Iterable[str]
) -> None:
    before = _table(costed, "xmin")
    _load(costed, card)
    expected = {(metal, finish) for metal in metals for finish in finishes}
    assert _refresh(costed).rows_moved == 5 * len(expected)
    assert _changed(before, _table(costed, "xmin")) == expected
    _is_right(costed)


def test_a_model_that_is_new_or_measured_anew_touches_its_own_rows(
    costed: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = _table(costed, "xmin")
    with costed.begin() as conn:
        _measure(conn, 10)
    assert _refresh(costed) == Refreshed(CARD.version, rows_new=PAIRS)
    monkeypatch.setattr(geometry_store, "KERNEL_VERSION", KERNEL_VERSION + 1)
    with costed.begin() as conn:
        (anew,) = _measure(conn, 7)
    assert _refresh(costed) == Refreshed(CARD.version, rows_measured=PAIRS)
    after = _table(costed, "xmin, kernel_version")
    written = {key for key, row in after.items() if key in before and before[key][0] != row[0]}
    assert {model_id for model_id, *_ in written} == {anew}
    assert {after[key][1] for key in written} == {KERNEL_VERSION + 1}
    _is_right(costed)


def test_a_draft_moves_nothing_until_it_is_activated(costed: Engine) -> None:
    card = _with(metals={"gold": Decimal(5000)})
    with costed.begin() as conn:
        rate_store.load(conn, [card], draft=True)
    assert _refresh(costed).rows_moved == 0
    with costed.begin() as conn:
        rate_store.activate(conn, card.version)
    assert _refresh(costed).rows_moved == 5 * 8


def test_a_card_moves_prices_on_the_day_on_which_it_begins(costed: Engine) -> None:
    _load(costed, _with(metals={"gold": Decimal(5000)}).model_copy(update={"valid_from": date(2026, 11, 21)}))
    assert _refresh(costed).rows_moved == 0
    with costed.begin() as conn:
        assert cost_table.refresh(conn, clock=lambda: NOW + timedelta(days=1)).rows_moved == 5 * 8


def test_without_a_card_nothing_is_done_and_nothing_lost(marts_engine: Engine) -> None:
    with marts_engine.begin() as conn:
        _measure(conn, 5)
    assert _refresh(marts_engine) == Refreshed(None)
    _load(marts_engine, CARD)
    assert _refresh(marts_engine).rows_new == PAIRS


def test_a_model_that_cannot_be_priced_says_why(costed: Engine) -> None:
    with costed.begin() as conn:
        (flat,) = _measure(conn, 0.0)
    _refresh(costed)
    assert _table(costed, "unit_price, problem")[flat, "gold585", "satin"] == (None, "bad_geometry")
    _is_right(costed)


@pytest.mark.parametrize("rows_at_once", [1, 10, 24])
def test_a_move_that_was_interrupted_goes_on_where_it_was(costed: Engine, rows_at_once: int) -> None:
    _load(costed, _with(metals={"gold": Decimal(5000)}))
    with costed.begin() as conn:
        first = cost_table.refresh(conn, clock=_now, rows_at_once=rows_at_once)
    assert 0 < first.rows_moved < 5 * 8
    with costed.begin() as conn:
        assert cost_audit.behind(conn, clock=_now).stale == 5 * 8 - first.rows_moved
    assert first.rows_moved + _refresh(costed, rows_at_once).rows_moved == 5 * 8
    _is_right(costed)


def test_a_second_move_before_the_first_is_through(costed: Engine) -> None:
    _load(costed, _with(metals={"gold": Decimal(5000)}))
    with costed.begin() as conn:
        cost_table.refresh(conn, clock=_now, rows_at_once=16)
    _load(costed, _with(metals={"gold": Decimal(5000)}, finishing={"plating_per_cm2": Decimal(2)}))
    _refresh(costed, 16)
    _is_right(costed)
    # back again: rows that the first move had not reached are as they should be, and are left alone
    _load(costed, _with(metals={"gold": Decimal(6000)}))
    with costed.begin() as conn:
        moved = cost_table.refresh(conn, clock=_now, rows_at_once=16).rows_moved
    _load(
        costed,
        _with(
            metals={"gold": Decimal(5000)},
            finishing={"plating_per_cm2": Decimal(2)},
            wax={"layer_mm": CARD.wax.layer_mm},
        ),
    )
    _refresh(costed, 16)
    assert moved
    _is_right(costed)


def test_steps_of_two_at_once_take_turns(costed: Engine) -> None:
    with costed.begin() as conn:
        _measure(conn, *range(10, 60))
    _load(costed, _with(metals={"gold": Decimal(5000)}))
    done: list[Refreshed] = []
    runners = [threading.Thread(target=lambda: done.append(_refresh(costed, 40))) for _ in range(3)]
    for runner in runners:
        runner.start()
    for runner in runners:
        runner.join(timeout=60)
    assert sum(each.rows_new for each in done) == 50 * PAIRS
    assert sum(each.rows_moved for each in done) == 5 * 8
    _is_right(costed)


def test_a_model_that_commits_late_is_not_forgotten(costed: Engine) -> None:
    """One that began to be measured before others, and was committed after the table was refreshed."""
    with costed.begin() as late:
        _measure(late, 10)
        with costed.begin() as conn:
            _measure(conn, 11)
        assert _refresh(costed).rows_new == PAIRS
    assert _refresh(costed).rows_new == PAIRS
    _is_right(costed)


def test_models_that_come_while_prices_move_are_costed_by_the_new_rates(costed: Engine) -> None:
    _load(costed, _with(metals={"gold": Decimal(5000)}))
    with costed.begin() as conn:
        cost_table.refresh(conn, clock=_now, rows_at_once=16)
    stop = threading.Event()

    def measure() -> None:
        for side in range(100, 140):
            with costed.begin() as conn:
                _measure(conn, side)
        stop.set()

    measuring = threading.Thread(target=measure)
    measuring.start()
    while not stop.is_set():
        _refresh(costed, 16)
    measuring.join(timeout=60)
    _refresh(costed)
    assert len(_table(costed)) == 45 * PAIRS
    _is_right(costed)


KILLED = """
import sys
from datetime import datetime
from mes.db import engine as engines
from mes.pricing.costs import cost_table
connections, now = engines.connect(sys.argv[1]), datetime.fromisoformat(sys.argv[2])
while True:
    with connections.begin() as conn:
        done = cost_table.refresh(conn, clock=lambda: now, rows_at_once=8)
        print(done.rows_moved, flush=True)
        sys.stdin.readline()  # killed here, before the commit
"""


def test_a_refresh_that_is_killed_loses_its_step_and_no_more(costed: Engine) -> None:
    _load(costed, _with(metals={"gold": Decimal(5000)}))
    url = costed.url.render_as_string(hide_password=False)
    argv = [sys.executable, "-c", KILLED, url, NOW.isoformat()]
    child = subprocess.Popen(argv, cwd=REPOSITORY, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    assert child.stdin is not None and child.stdout is not None  # noqa: PT018 - for the type checker
    with child:
        assert child.stdout.readline() == "8\n"
        child.stdin.write("\n")
        child.stdin.flush()
        assert child.stdout.readline() == "8\n"
        os.kill(child.pid, signal.SIGKILL)
    assert _refresh(costed).rows_moved == 5 * 8 - 8
    _is_right(costed)


def test_the_audit_finds_a_row_that_is_wrong(costed: Engine) -> None:
    with costed.begin() as conn:
        wrong = (
            "update ops.cost_table set unit_price = unit_price + 0.01 where (material, finish) = ('gold585', 'satin')"
        )
        conn.execute(text(wrong))
        assert len(cost_audit.differing(conn, clock=_now)) == 5
        conn.execute(text("update ops.cost_table set rates_hash = 'other' where material = 'silver925'"))
        conn.execute(text("delete from ops.cost_table where material = 'platinum950'"))
        assert cost_audit.behind(conn, clock=_now) == cost_audit.Behind(stale=20, missing=20)


def test_a_database_without_read_models_says_so(engine: Engine) -> None:
    with engine.begin() as conn, pytest.raises(cost_table.CostInputsNotBuilt):
        cost_table.refresh(conn)
