"""What comes round by itself keeps its pace."""

from datetime import UTC, datetime, timedelta

from ingest.loops import Every


def test_what_comes_round_is_not_put_off_when_the_machines_clock_is_set_back() -> None:
    done: list[datetime] = []
    passed_s, now = [0.0], [datetime(2026, 11, 29, 12, tzinfo=UTC)]
    every = Every(timedelta(seconds=5), done.append, clock=lambda: now[0], timer_s=lambda: passed_s[0])
    every()
    every()
    assert done == now
    now[0] -= timedelta(hours=1)
    passed_s[0] = 5.0
    every()
    assert done[1:] == now
    now[0] += timedelta(days=2)
    every()
    assert len(done) == 2
