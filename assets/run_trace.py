"""Makes each Dagster run a trace, whose id is the run's without its hyphens, and its steps spans."""

from collections.abc import Iterator
from contextlib import contextmanager
from uuid import UUID

import dagster as dg
import structlog

from mes.observability import traces

_NS = 1_000_000_000

log = structlog.get_logger(__name__)


@contextmanager
def of_run(context: dg.InitResourceContext) -> Iterator[None]:
    """Trace what is done meanwhile as the run's; its steps are told at the end, as Dagster has noted them."""
    run = context.run
    if run is None or not traces.records():
        yield
        return
    trace_id = UUID(run.run_id).hex
    cause = f"00-{trace_id}-{trace_id[16:]}-01"
    about = {"dagster.run.id": run.run_id, "dagster.job.name": run.job_name}
    with traces.span(f"run {run.job_name}", causes=[cause], attributes=about):
        try:
            yield
        finally:
            _tell_steps(context, run.run_id)


def _tell_steps(context: dg.InitResourceContext, run_id: str) -> None:
    if context.instance is None:
        return
    try:
        steps = context.instance.get_run_step_stats(run_id)
    except Exception as error:  # noqa: BLE001 - Dagster's storage: what the run itself came to must not be lost by it
        log.warning("a run's steps are not in its trace", run_id=run_id, error=type(error).__name__)
        return
    for step in steps:
        if step.start_time and step.end_time:
            began_ns, ended_ns = int(step.start_time * _NS), int(step.end_time * _NS)
            failed = step.status is not None and step.status.value == "FAILURE"
            traces.past(f"step {step.step_key}", began_ns, ended_ns, failed=failed)
