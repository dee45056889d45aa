"""Tells how much of its pools of connections a process uses; who finds none free waits, and is refused in the end."""

from collections import Counter
from collections.abc import Iterator
from weakref import WeakKeyDictionary

from prometheus_client import Metric
from prometheus_client.core import GaugeMetricFamily
from prometheus_client.registry import Collector
from sqlalchemy import Engine
from sqlalchemy.pool import QueuePool

from mes.observability import metrics

OVERFLOW = 10
"""Connections beyond a pool's size, for as long as they are used."""


class Pools(Collector):
    """Connections of the engines that this process has opened, by what they are for."""

    def __init__(self) -> None:
        self._names: WeakKeyDictionary[Engine, str] = WeakKeyDictionary()

    def add(self, engine: Engine, name: str) -> None:
        """Count an engine's connections until it is gone."""
        self._names[engine] = name

    def collect(self) -> Iterator[Metric]:
        """How many there are in use and idle, and how many there can be."""
        found = GaugeMetricFamily(
            "mes_pool_connections", "Connections to the database in a pool.", labels=("pool", "state")
        )
        most = GaugeMetricFamily("mes_pool_connections_max", "So many there can be.", labels=("pool",))
        counted, most_of = Counter[tuple[str, str]](), Counter[str]()
        for engine, name in list(self._names.items()):
            if isinstance(pool := engine.pool, QueuePool):
                counted[name, "in_use"] += pool.checkedout()
                counted[name, "idle"] += pool.checkedin()
                most_of[name] += pool.size() + OVERFLOW
        for labels, number in counted.items():
            found.add_metric(labels, number)
        for name, number in most_of.items():
            most.add_metric((name,), number)
        yield found
        yield most


POOLS = Pools()
metrics.watch(POOLS)
