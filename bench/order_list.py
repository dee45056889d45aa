"""The order list's queries at growing numbers of orders, beside a list that joins, counts and pages by offset.

Each query is asked 1,000 times with operators, customers, statuses and words drawn at random, for its first page and
for one as deep as the hundredth, over one connection, as the console asks it. The data sets are generated under
`MES_BENCH_HOME` and used again.
"""

import argparse
import os
import random
import statistics
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any
from uuid import UUID

from sqlalchemy import Connection, text

from bench import _histories, _report
from mes.lists import counts, order_list
from mes.lists.order_list import Filter, Key, Scope
from mes.orders.life import OPEN_STATUSES, Status
from mes.samples import history_sizes

SIZES = {"10k": 10_000, "1m": 1_000_000, "10m": 10_000_000}
SEED = 1  # of what is asked
HUNDREDTH = 99 * order_list.PAGE_ROWS
# not counted: a connection, as the console keeps them for hours, plans a statement until it has come five times; and
# our server was started a moment ago, where one that runs has the pages of open orders in memory
_FIRST_RUNS = 300
_KNOWN = 2_000  # customers and words that are drawn from


@dataclass(frozen=True)
class Known:
    """What people ask for: operators, customers, words that occur in open orders, numbers of any order."""

    operators: Sequence[str]
    customers: Sequence[UUID]
    words: Sequence[str]
    numbers: Sequence[str]


Draw = Callable[[random.Random, Known], Filter]
QUERIES: dict[str, Draw] = {
    "queue": lambda chance, known: Filter(assigned_to=chance.choice(known.operators)),
    "open": lambda _chance, _known: Filter(),
    "status": lambda chance, _known: Filter(chance.choice(OPEN_STATUSES)),
    "late": lambda _chance, _known: Filter(late=True),
    "late_of_status": lambda chance, _known: Filter(chance.choice(OPEN_STATUSES), late=True),
    "held": lambda _chance, _known: Filter(held=True),
    "customer": lambda chance, known: Filter(Scope.ALL, customer_id=chance.choice(known.customers)),
    "customer_open": lambda chance, known: Filter(customer_id=chance.choice(known.customers)),
    "unassigned": lambda _chance, _known: Filter(unassigned=True),
    "words": lambda chance, known: Filter(words=(chance.choice(known.words),)),
    "finished": lambda chance, _known: Filter(chance.choice((Status.SHIPPED, Status.CLOSED, Status.CANCELLED))),
    "all": lambda _chance, _known: Filter(Scope.ALL),
}
NAIVE = """
    select orders.order_id, orders.external_id, orders.status, customers.name, items.lines, quotes.total,
        count(*) over () as found
    from ops.orders
    join ops.customers using (customer_id)
    left join (
        select order_id, count(*) as lines, string_agg(distinct material, ', ') as materials
        from ops.order_items group by order_id
    ) as items using (order_id)
    left join (select order_id, sum(total) as total from ops.quotes group by order_id) as quotes using (order_id)
    where orders.assigned_to = :operator and orders.status not in ('SHIPPED', 'CLOSED', 'CANCELLED')
    order by orders.due_at limit 25 offset :skipped
"""


def main() -> int:
    """Print the figures of each size, and how they grow."""
    parser = argparse.ArgumentParser(prog="mes bench order-list", description=__doc__)
    parser.add_argument("--orders", type=int, help="one size alone, of this many orders")
    parser.add_argument("--runs", type=int, default=1_000, help="how often each query is asked")
    parser.add_argument("--json", action="store_true", help="print one flat JSON object")
    asked = parser.parse_args()
    sizes = {str(asked.orders): asked.orders} if asked.orders else SIZES
    figures: dict[str, float] = {"runs": asked.runs}
    for name, orders in sizes.items():
        figures |= {f"{key}_{name}": value for key, value in _measured(orders, asked.runs).items()}
    if len(sizes) > 1:
        smallest, *_, largest = sizes
        figures["ratio_growth"] = round(figures[f"p50_ms_{largest}"] / figures[f"p50_ms_{smallest}"], 3)
        # as many rows on the page at both ends
        figures["ratio_growth_all"] = round(
            figures[f"all_first_p50_ms_{largest}"] / figures[f"all_first_p50_ms_{smallest}"], 3
        )
    figures["ratio_naive"] = figures[f"ratio_naive_{list(sizes)[-1]}"]
    _report.show(figures, as_json=asked.json)
    return 0


def _measured(orders: int, runs: int) -> dict[str, float]:
    with _histories.dataset(orders) as data, data.engine.connect() as conn:
        known = _known(conn)
        first = {name: _times(conn, draw, known, runs, deep=False) for name, draw in QUERIES.items()}
        deep = {name: _times(conn, draw, known, runs, deep=True) for name, draw in QUERIES.items()}
        number = _timed_each(runs, known.numbers, lambda each: order_list.find(conn, each))
        counted = _timed_each(runs, known.operators, lambda each: counts.orders(conn, each))
        naive = _naive(conn, known)
        sizes = history_sizes.bytes_per_order(data.engine)
    all_times = {
        **{f"{name}_first": times for name, times in first.items()},
        **{f"{name}_deep": times for name, times in deep.items()},
        "number": number,
        "counts": counted,
    }
    worst_p99 = max(_report.percentile(times, 0.99) for times in all_times.values())
    figures = {
        "p50_ms": statistics.median(statistics.median(times) for times in all_times.values()),
        "p99_ms": worst_p99,
        "ratio_naive": statistics.median(naive) / statistics.median(first["queue"]),
        **{f"{name}_p50_ms": statistics.median(times) for name, times in all_times.items()},
        **{f"{name}_p99_ms": _report.percentile(times, 0.99) for name, times in all_times.items()},
    }
    figures |= {
        "bytes_per_order": sum(sizes.values()),
        "list_bytes_per_order": sum(size for name, size in sizes.items() if name.startswith("marts.order_list")),
    }
    return {key: round(value, 3) for key, value in figures.items()}


def _known(conn: Connection) -> Known:
    def column(sql: str) -> list[Any]:
        return list(conn.execute(text(sql), {"limit": _KNOWN}).scalars())

    words = column("""
        select word
        from (select search_text from marts.order_list where is_open order by order_id limit :limit) as listed
        cross join lateral regexp_split_to_table(trim(search_text), ' ') as word
        where length(word) > 2
    """)
    return Known(
        operators=column("select subject from ops.list_counts where counter = 'queue' limit :limit"),
        # those with many orders as often as they order
        customers=column("select customer_id from marts.order_list where is_open order by order_id limit :limit"),
        words=words,
        numbers=column("select external_id from ops.orders order by order_id limit :limit"),
    )


def _times(conn: Connection, draw: Draw, known: Known, runs: int, *, deep: bool) -> list[float]:
    chance = random.Random(SEED)
    keys: dict[Filter, Key | None] = {}
    times = []
    for _ in range(_FIRST_RUNS + runs):
        chosen = draw(chance, known)
        if deep and chosen not in keys:
            keys[chosen] = _deep_key(conn, chosen)
        began = time.perf_counter()
        order_list.page(conn, chosen, after=keys.get(chosen))
        times.append((time.perf_counter() - began) * 1000)
    return times[_FIRST_RUNS:]


def _deep_key(conn: Connection, chosen: Filter) -> Key | None:
    """What the hundredth page comes after; of fewer pages, the last, as full as any."""
    rows = order_list.page(conn, chosen, rows=HUNDREDTH + order_list.PAGE_ROWS).rows
    before = rows[: -order_list.PAGE_ROWS]
    return order_list.key_of(before[-1], chosen) if before else None


def _timed_each(runs: int, values: Sequence[str], ask: Callable[[str], object]) -> list[float]:
    chance = random.Random(SEED)
    times = []
    for _ in range(runs):
        value = chance.choice(values)
        began = time.perf_counter()
        ask(value)
        times.append((time.perf_counter() - began) * 1000)
    return times


def _naive(conn: Connection, known: Known, repeats: int = 3) -> list[float]:
    statement = text(NAIVE)
    times = []
    for operator in known.operators[:repeats]:
        began = time.perf_counter()
        conn.execute(statement, {"operator": operator, "skipped": HUNDREDTH}).all()
        times.append((time.perf_counter() - began) * 1000)
    return times


if __name__ == "__main__":
    os.environ.setdefault("MES_LOG_LEVEL", "WARNING")
    sys.exit(main())
