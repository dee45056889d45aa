"""Repricing a million unit costs after one metal's move, beside a bare SQL update of the same rows."""

import argparse
import os
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from pathlib import Path

from sqlalchemy import Connection, Engine, text

from bench import _report
from mes.config import Settings
from mes.db import engine as engines
from mes.db import migrate, query
from mes.pricing.costs import cost_audit, cost_table
from mes.pricing.geometry import KERNEL_VERSION
from mes.pricing.materials import MATERIALS, Metal
from mes.pricing.options import Finish
from mes.pricing.rates import rate_cards, rate_store
from mes.pricing.rates.rate_card import RateCard
from mes.runtime import up
from mes.runtime.embedded import database

PAIRS = len(MATERIALS) * len(Finish)
GOLD = [material.code for material in MATERIALS.values() if material.metal is Metal.GOLD]
FIRST_DAY = datetime(2027, 1, 1, tzinfo=UTC)
AFFECTED_SHARE, SMALLER = 0.01, 10  # growth: as many rows at the full size, and in a table a tenth of it
SAMPLED_MODELS = 200


def main() -> int:
    """Print the medians of all repeats."""
    parser = argparse.ArgumentParser(prog="mes bench reprice", description=__doc__)
    parser.add_argument("--rows", type=int, default=1_000_000, help="rows of the cost table")
    parser.add_argument("--repeats", type=int, default=5, help="moves of the gold price")
    parser.add_argument("--json", action="store_true", help="print one flat JSON object")
    asked = parser.parse_args()
    few = round(asked.rows * AFFECTED_SHARE)
    with _workshop(asked.rows, asked.repeats) as big:
        moves = [big.move_gold() for _ in range(asked.repeats)]
        growth = {"large": big.change_few(few, asked.repeats)}
        differing = big.differing()
        filled_ms = big.filled_ms
    with _workshop(asked.rows // SMALLER, asked.repeats) as small:
        growth["small"] = small.change_few(few, asked.repeats)
    ours, bare = ([move[name] for move in moves] for name in ("ours_ms", "bare_ms"))
    figures = {
        "rows": asked.rows,
        "repeats": asked.repeats,
        "affected_rows": moves[0]["rows"],
        "update_ms": round(statistics.median(ours), 1),
        "bare_update_ms": round(statistics.median(bare), 1),
        "ratio_update": round(statistics.median(a / b for a, b in zip(ours, bare, strict=True)), 3),
        "other_rows_touched": sum(move["others"] for move in moves),
        "parity": not differing,
        "few_rows": few,
        **{f"{what}_{size}_ms": round(times[what], 1) for size, times in growth.items() for what in times},
        "ratio_growth": round(max(growth["large"][what] / growth["small"][what] for what in growth["large"]), 3),
        "fill_ms": round(filled_ms, 1),
    }
    _report.show(figures, as_json=asked.json)
    return 0


class Workshop:
    """A database with a cost table of so many rows, and a copy of the table to update barely."""

    def __init__(self, connections: Engine, rows: int) -> None:
        self._connections = connections
        self._day = 0
        models = rows // PAIRS
        with connections.begin() as conn:
            _add_models(conn, models)
        self.filled_ms = _timed(self._refresh)
        with connections.begin() as conn:
            conn.execute(text("create table public.bare (like ops.cost_table including all) with (fillfactor = 65)"))
            conn.execute(
                text("insert into public.bare select * from ops.cost_table order by model_id, material, finish")
            )

    def move_gold(self) -> dict[str, float]:
        """One move of the gold price by our refresh, and one by a bare update, each in milliseconds."""
        self._settle()
        bare_ms = _timed(self._update_barely)
        self._settle()
        self._day += 1
        ours_ms = _timed(self._refresh)
        with self._connections.begin() as conn:
            touched = conn.execute(
                text("""
                    select count(*) filter (where material = any(:gold)) as gold,
                        count(*) filter (where material <> all(:gold)) as others
                    from ops.cost_table where refreshed_at = :now
                """),
                {"gold": GOLD, "now": self._now()},
            ).one()
        print(f"  {touched.gold:,} rows: {ours_ms:,.0f} ms, bare {bare_ms:,.0f} ms", file=sys.stderr)
        return {"ours_ms": ours_ms, "bare_ms": bare_ms, "rows": touched.gold, "others": touched.others}

    def change_few(self, rows: int, repeats: int) -> dict[str, float]:
        """Milliseconds until `rows` rows are right again: of models measured anew, and at the end of a move."""
        measured, moved = [], []
        for repeat in range(repeats):
            with self._connections.begin() as conn:
                _measure_anew(conn, rows // PAIRS, KERNEL_VERSION + 1 + repeat)
            self._settle()
            measured.append(_timed(self._refresh))
            self._day += 1
            self._refresh_all_but(rows)
            self._settle()
            moved.append(_timed(self._refresh))
        return {"measured": statistics.median(measured), "moved": statistics.median(moved)}

    def differing(self) -> list[str]:
        """Which of some rows are not what single quotes say."""
        with self._connections.begin() as conn:
            return cost_audit.differing(conn, models=SAMPLED_MODELS, clock=self._now)

    def _refresh(self) -> None:
        finished = False
        while not finished:
            with self._connections.begin() as conn:
                finished = cost_table.refresh(conn, clock=self._now).finished

    def _refresh_all_but(self, rows: int) -> None:
        with self._connections.begin() as conn:
            gold = query.number(conn, "select count(*) from ops.cost_table where material = any(:gold)", gold=GOLD)
            if gold > rows:
                cost_table.refresh(conn, clock=self._now, rows_at_once=gold - rows)

    def _update_barely(self) -> None:
        with self._connections.begin() as conn:
            conn.execute(
                text("""
                    update public.bare set
                        material_cost = round(material_cost * 1.01, 2), unit_price = round(unit_price * 1.01, 2),
                        rates_hash = 'moved', rate_card_id = 'moved', refreshed_at = now()
                    where material = any(:gold)
                """),
                {"gold": GOLD},
            )

    def _settle(self) -> None:
        """Both begin alike: no dead rows, nothing that waits to be written."""
        with self._connections.connect().execution_options(isolation_level="AUTOCOMMIT") as conn:
            for statement in ("vacuum analyze ops.cost_table", "vacuum analyze public.bare", "checkpoint"):
                conn.execute(text(statement))

    def _now(self) -> datetime:
        return FIRST_DAY + timedelta(days=self._day)


@contextmanager
def _workshop(rows: int, repeats: int) -> Iterator[Workshop]:
    with tempfile.TemporaryDirectory(prefix="mes-bench-") as folder:
        settings = Settings(home=Path(folder) / "home")
        with database(settings) as found:
            migrate.upgrade(found.url)
            argv = [sys.executable, "-m", "pipelines.build_read_models"]
            up.run_step("build-read-models", argv, settings, found)
            connections = engines.connect(found.url, application="bench")
            with connections.begin() as conn:
                rate_store.load(conn, _cards(2 * repeats + 1))
            try:
                yield Workshop(connections, rows)
            finally:
                connections.dispose()


def _cards(days: int) -> list[RateCard]:
    """A card a day, which differs from the day before in the gold price."""
    card = rate_cards.load_sample()[-1]
    return [
        card.model_copy(
            update={
                "valid_from": (FIRST_DAY + timedelta(days=day)).date(),
                "metals": card.metals.model_copy(update={"gold": card.metals.gold + Decimal(day)}),
            }
        )
        for day in range(days)
    ]


def _add_models(conn: Connection, models: int) -> None:
    """So many models of rings and pendants, each with its own measures."""
    conn.execute(text("select setseed(0.5)"))
    conn.execute(
        text("""
            insert into ops.models (model_id, bytes, format, file_name)
            select encode(sha256(cast(number as text)::bytea), 'hex'), 1, 'stl', 'ring.stl'
            from generate_series(1, :models) as number
        """),
        {"models": models},
    )
    _measure(conn, "select model_id from ops.models", KERNEL_VERSION)
    conn.execute(text("analyze ops.models, ops.geometries"))


def _measure_anew(conn: Connection, models: int, kernel_version: int) -> None:
    """Measures of every so-manieth model by a newer kernel."""
    every = max(query.number(conn, "select count(*) from ops.models") // models, 1)
    _measure(
        conn,
        f"""
            select model_id
            from (select model_id, row_number() over (order by model_id) as number from ops.models) as numbered
            where number % {every} = 0 limit {models}
        """,
        kernel_version,
    )


def _measure(conn: Connection, models: str, kernel_version: int) -> None:
    conn.execute(
        text(f"""
            insert into ops.geometries (
                model_id, kernel_version, triangles, volume_mm3, area_mm2, extent_x_mm, extent_y_mm, extent_z_mm,
                bodies, closed, open_edges, facing, box_length_mm, box_width_mm, box_height_mm, print_height_mm,
                support_mm3, detail, measures
            )
            select model_id, :kernel, 10000, volume, area, x, y, z, 1, true, 0, 'outward', x, y, z, height, support,
                detail, jsonb_build_object(
                    'triangles', 10000, 'volume_mm3', volume, 'area_mm2', area, 'extents_mm', array[x, y, z],
                    'bodies', 1, 'closed', true, 'open_edges', 0, 'facing', 'outward', 'box_mm', array[x, y, z],
                    'detail', detail, 'printing', jsonb_build_object(
                        'height_mm', height, 'support_mm3', support, 'overhang_mm2', 10, 'up', array[0, 0, 1],
                        'layer_areas_mm2', array[10, 10]
                    )
                )
            from ({models}) as chosen
            cross join lateral (
                select 200 + 3000 * random() as volume, 300 + 4500 * random() as area, 20 + 30 * random() as x,
                    15 + 5 * random() as y, 2 + 10 * random() as z, 3 + 10 * random() as height,
                    100 * random() as support, 1 + random() as detail
                where chosen.model_id is not null  -- drawn for each model anew
            ) as drawn
        """),
        {"kernel": kernel_version},
    )


def _timed(work: Callable[[], None]) -> float:
    start = time.perf_counter()
    work()
    return 1000 * (time.perf_counter() - start)


if __name__ == "__main__":
    os.environ.setdefault("MES_LOG_LEVEL", "WARNING")
    sys.exit(main())
