"""A replica answers whom it can show all that he has seen, and is behind by what positions and our own clock say."""

import math

import pytest

from mes.db.freshness import Replica, Sample, judge, lag_s
from mes.observability.metrics import ReadReason

SYSTEM = 7
SAMPLES = [Sample(10.0, 100), Sample(11.0, 100), Sample(12.0, 250)]


@pytest.mark.parametrize(
    ("replayed", "expected"),
    [(250, 0.5), (300, 0.5), (249, 1.5), (100, 1.5), (99, math.inf)],
    ids=["all", "more than was asked", "nearly all", "all of a second ago", "older than what is known"],
)
def test_lag_is_the_age_of_the_newest_moment_that_the_replica_has_reached(replayed: int, expected: float) -> None:
    assert lag_s(SAMPLES, replayed, now=12.5) == expected


def test_nothing_is_fresh_before_the_primary_was_looked_at() -> None:
    assert lag_s([], 10**9, now=1.0) == math.inf


@pytest.mark.parametrize(
    ("replica", "must_show", "lag", "expected"),
    [
        (Replica(100, True, SYSTEM), 100, 5.0, ReadReason.FRESH),
        (Replica(100, True, SYSTEM), 101, 0.0, ReadReason.BEHIND_READER),
        (Replica(100, True, SYSTEM), 100, 5.1, ReadReason.LAG),
        (Replica(100, True, SYSTEM), 0, math.inf, ReadReason.LAG),
        (Replica(100, False, SYSTEM), 0, 0.0, ReadReason.NOT_A_REPLICA),
        (Replica(None, True, SYSTEM), 0, 0.0, ReadReason.NOT_A_REPLICA),
        (Replica(100, True, SYSTEM + 1), 0, 0.0, ReadReason.NOT_A_REPLICA),
    ],
    ids=["fresh", "own write", "lag", "unknown lag", "promoted", "replayed nothing", "another cluster"],
)
def test_a_replica_is_read_only_when_it_is_fresh_enough(
    replica: Replica, must_show: int, lag: float, expected: ReadReason
) -> None:
    assert judge(replica, SYSTEM, must_show, lag, lag_max=5.0) is expected
