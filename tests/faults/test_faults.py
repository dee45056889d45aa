"""A short form of `make faults`: nothing that was acknowledged is lost, told twice or out of order."""

from pathlib import Path

import pytest

from tests.faults.suite import FAILURES, run


@pytest.mark.slow
def test_nothing_is_lost_twice_or_out_of_order_whatever_dies(tmp_path: Path) -> None:
    figures = run(tmp_path / "world", orders=60, seconds=25, pause_s=1.0, seed=3)
    assert {name: figures[name] for name in FAILURES} == dict.fromkeys(FAILURES, 0), figures
    assert figures["orders"] == 60
    assert int(str(figures["faults"])) >= 8
