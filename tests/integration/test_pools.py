"""A process tells how many of its connections to the database are in use."""

import gc

from prometheus_client import Metric

from mes.db import engine as engines
from mes.db.pools import OVERFLOW, POOLS

NAME = "pool of this test"


def of_this_test() -> dict[str, float]:
    families: list[Metric] = list(POOLS.collect())
    samples = [sample for family in families for sample in family.samples if sample.labels["pool"] == NAME]
    return {sample.labels.get("state", "most"): sample.value for sample in samples}


def test_connections_are_counted_by_pool_and_state(database_url: str) -> None:
    first = engines.connect(database_url, application=NAME, pool_size=2)
    assert of_this_test() == {"in_use": 0, "idle": 0, "most": 2 + OVERFLOW}
    with first.connect(), first.connect(), first.connect():
        assert of_this_test() == {"in_use": 3, "idle": 0, "most": 2 + OVERFLOW}
    assert of_this_test() == {"in_use": 0, "idle": 2, "most": 2 + OVERFLOW}

    second = engines.connect(database_url, application=NAME, pool_size=3)
    with second.connect():
        assert of_this_test() == {"in_use": 1, "idle": 2, "most": 5 + 2 * OVERFLOW}

    first.dispose()
    second.dispose()
    assert of_this_test()["idle"] == 0
    del first, second
    gc.collect()
    assert of_this_test() == {}
