"""What comes round by itself keeps its pace."""

from datetime import UTC, datetime, timedelta

from procrastinate.jobs import Job

from ingest.jobs import Patience
from ingest.loops import Every
from mes.clock import utc_now


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


def test_a_job_is_tried_again_by_the_databases_clock() -> None:
    patience = Patience()
    patience.database_ahead = timedelta(hours=-1)  # ours is an hour ahead
    job = Job(id=1, queue="pricing", lock=None, queueing_lock=None, task_name="price_order", attempts=2)
    decision = patience.get_retry_decision(exception=OSError(), job=job)
    assert decision is not None
    assert decision.retry_at is not None
    waits = decision.retry_at - (utc_now() - timedelta(hours=1))
    assert timedelta(seconds=7) < waits <= timedelta(seconds=8)  # 2, 4, 8, ... s
