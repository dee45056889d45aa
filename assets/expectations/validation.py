"""Runs a suite with Great Expectations in Postgres itself, and says in words what did not hold."""

import logging
import warnings
from collections.abc import Callable, Mapping
from contextlib import ExitStack, closing
from dataclasses import dataclass
from types import ModuleType
from typing import TYPE_CHECKING, Any

import psycopg
from sqlalchemy import StaticPool

from assets.expectations.batches import Scope
from assets.expectations.suites import Expectation, Suite
from mes.errors import MesError
from mes.runtime import location

if TYPE_CHECKING:
    from great_expectations.data_context.data_context.abstract_data_context import AbstractDataContext

MOST_EXAMPLES = 5
_LONGEST_EXAMPLE = 160
# Great Expectations insists on a URL of this shape; connections come from `creator`, so that no password gets into it
_SHAPE_OF_A_URL = "postgresql+psycopg://mes@localhost/mes"
_PLACE = ("file", "line")


class SuiteBroken(MesError):
    """A suite could not be run to its end; nothing is known about the load."""

    code = "suite_broken"


@dataclass(frozen=True)
class Failure:
    """An expectation that does not hold: what was found instead, and some of the rows, by file and line."""

    expectation: Expectation
    blocks: bool
    found: str
    examples: tuple[str, ...] = ()


@dataclass(frozen=True)
class Verdict:
    """What a suite says of a load; `failures` begin with those that block."""

    rows: int
    failures: tuple[Failure, ...] = ()

    @property
    def blocks(self) -> bool:
        """Whether nothing may be made of the load."""
        return any(failure.blocks for failure in self.failures)


_SOMETHING_LANDED = Expectation(
    "What the load reported is in the table.",
    "Rows vanished after they had been loaded: find out who deletes from the table, then load the months again.",
    "ExpectTableRowCountToBeBetween",
    {"min_value": 1},
)


def validate(url: str, suite: Suite, scope: Scope, *, reported: int | None = None) -> Verdict:
    """Hold the rows in `scope` against the suite. `reported` is how many of them the load says that it read.

    Raises:
        SuiteBroken: an expectation cannot be tested; the message says why.
    """
    with ExitStack() as opened:

        def connect() -> psycopg.Connection:
            return opened.enter_context(closing(location.connect(url)))

        rows = _count(connect(), suite, scope)
        if not rows:
            return Verdict(0, (Failure(_SOMETHING_LANDED, blocks=True, found="no row"),) if reported else ())
        results = _results(connect, suite, scope, rows)
    failures = [_failure(suite, result) for result in results if not result["success"]]
    return Verdict(rows, tuple(sorted(failures, key=lambda failure: not failure.blocks)))


def _count(connection: psycopg.Connection, suite: Suite, scope: Scope) -> int:
    statement = f"select count(*) from {suite.feed.table} where {scope.condition()}"
    row = connection.execute(statement.encode()).fetchone()
    return int(row[0]) if row else 0


def _results(
    connect: Callable[[], psycopg.Connection], suite: Suite, scope: Scope, rows: int
) -> list[Mapping[str, Any]]:
    gx = _great_expectations()
    source = _context(gx).data_sources.add_postgres(  # type: ignore[call-arg]  # `kwargs` is missing in their stub
        "mes",
        connection_string=_SHAPE_OF_A_URL,
        create_temp_table=True,  # the batch's query runs once, not once per metric
        kwargs={"creator": connect, "poolclass": StaticPool},  # one connection: others don't see its temporary table
    )
    asset = source.add_query_asset(suite.feed.name, query=scope.query(suite.batch, suite.feed.table))
    batch = asset.add_batch_definition_whole_table("load").get_batch()
    tested = [
        getattr(gx.expectations, each.kind)(
            **each.arguments, severity="critical" if each.blocks(rows) else "warning", meta={"number": number}
        )
        for number, each in enumerate(suite.expectations)
    ]
    validated = batch.validate(
        gx.ExpectationSuite(name=suite.feed.name, expectations=tested),
        result_format={
            "result_format": "SUMMARY",
            "partial_unexpected_count": MOST_EXAMPLES,
            "unexpected_index_column_names": [*_PLACE, "external_id"],
        },
    )
    results = [result.to_json_dict() for result in validated.results]
    for result in results:
        _require_tested(result)
    return results


def _great_expectations() -> ModuleType:
    """The library, imported where a load is looked at: it takes 3 to 6 s, which other processes are spared."""
    logging.getLogger("great_expectations").setLevel(logging.WARNING)  # it tells of each function that it has
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # its own use of `sre_constants`
        import great_expectations as gx  # noqa: PLC0415
        import great_expectations.expectations  # noqa: PLC0415
    return gx


def _context(gx: ModuleType) -> "AbstractDataContext":
    """A context that leaves nothing behind; the default one makes a folder for documents below /tmp."""
    from great_expectations.data_context.types import base  # noqa: PLC0415

    defaults = base.InMemoryStoreBackendDefaults(init_temp_docs_sites=False)
    settings = base.DataContextConfig(
        store_backend_defaults=defaults,
        analytics_enabled=False,
        progress_bars=base.ProgressBarsConfig(globally=False),
    )
    context: AbstractDataContext = gx.get_context(mode="ephemeral", project_config=settings)
    return context


def _require_tested(result: Mapping[str, Any]) -> None:
    """An expectation that could not be tested comes back as one that failed."""
    told = result.get("exception_info") or {}
    errors = [told] if "raised_exception" in told else [each for each in told.values() if isinstance(each, dict)]
    for error in errors:
        if error.get("raised_exception"):
            raise SuiteBroken(expectation=result["expectation_config"]["type"], error=error.get("exception_message"))


def _failure(suite: Suite, result: Mapping[str, Any]) -> Failure:
    config = result["expectation_config"]
    return Failure(
        expectation=suite.expectations[config["meta"]["number"]],
        blocks=config["severity"] == "critical",
        found=_found(result["result"]),
        examples=tuple(_example(row) for row in result["result"].get("partial_unexpected_index_list") or ()),
    )


def _found(result: Mapping[str, Any]) -> str:
    if "unexpected_count" in result:
        return f"{result['unexpected_count']:,} of {result['element_count']:,} rows differ"
    observed = result.get("observed_value")
    return "no value" if observed is None else f"{float(observed):.4g}"


def _example(row: Mapping[str, object]) -> str:
    """File, line and what stands there; batches hold no names of customers."""
    told = ", ".join(f"{name} {value}" for name, value in sorted(row.items()) if name not in _PLACE)
    return f"{row['file']}:{row['line']}: {told}"[:_LONGEST_EXAMPLE]
