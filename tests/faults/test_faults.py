"""A short form of `make faults`: nothing that was acknowledged is lost, told twice or out of order."""

from pathlib import Path

import pytest

from tests.faults.findings import FAILURES
from tests.faults.suite import Plan, is_sound, run


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_nothing_is_lost_twice_or_out_of_order_whatever_dies(tmp_path: Path) -> None:
    figures = run(tmp_path / "world", Plan(orders=40, seconds=10, pause_s=0.5, seed=3, once_each=True))
    assert {name: figures[name] for name in FAILURES} == dict.fromkeys(FAILURES, 0), figures
    assert is_sound(figures), figures
    assert figures["orders"] == 40
    assert (
        int(str(figures["faults"])) >= 9
    )  # of the twelve kinds, some need a broker, a compiler, or something to publish
