"""`mes generate`: fills the database with a history of any length, so that anyone can try the system at full size."""

from datetime import datetime
from typing import TYPE_CHECKING, Annotated, Any

import typer

if TYPE_CHECKING:
    from sqlalchemy import Engine

    from mes.config import Settings
    from mes.runtime.location import Database
    from mes.samples.history import Written
    from mes.samples.history_plan import History

# the order list is merged, by the refreshers or by dbt, up to this many orders; filling it anew is quicker above
MERGED_AT_MOST = 20_000


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command()(generate)


def generate(
    *,
    orders: Annotated[int, typer.Option(min=1, help="How many orders.")],
    open_share: Annotated[float, typer.Option(help="Share of them that is still open, exact to the order.")] = 0.02,
    seed: Annotated[int, typer.Option(help="Another seed generates another history, beside the ones there.")] = 7,
    years: Annotated[int, typer.Option(help="Over how many years they were placed.")] = 4,
    operators: Annotated[int, typer.Option(help="How many operators have work queues (op001, op002, ...).")] = 40,
    until: Annotated[
        datetime | None,
        typer.Option(formats=["%Y-%m-%d"], help="Day at whose midnight (UTC) the history ends; by default today's."),
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print the figures as one JSON object.")] = False,
) -> None:
    """Generate orders with their whole lives, thousands a second; cut short, the same command goes on."""
    from mes import config  # noqa: PLC0415
    from mes.db import engine, migrate  # noqa: PLC0415
    from mes.runtime import embedded  # noqa: PLC0415

    settings = config.load()
    _require_disk(settings, orders)
    with embedded.database(settings) as database:
        migrate.upgrade(database.url, whole=False)
        connections = engine.connect(database.url, application="mes-generate")
        try:
            wanted = _history(connections, orders, open_share, seed, years, operators, until)
            written = _write(connections, settings, wanted)
            read_models_s = _build_read_models(settings, database, written)
            facts = _figures(connections, written, read_models_s)
        finally:
            connections.dispose()
    _show(facts, as_json=as_json)


def _require_disk(settings: "Settings", orders: int) -> None:
    """A full disk stops the database for everybody; of a server elsewhere nothing is known here."""
    from mes.samples import history_sizes  # noqa: PLC0415

    if settings.database_url is None:
        history_sizes.require_disk(settings.home, orders)


def _history(  # noqa: PLR0917 - one parameter for each option
    connections: "Engine", orders: int, open_share: float, seed: int, years: int, operators: int, until: datetime | None
) -> "History":
    from datetime import UTC  # noqa: PLC0415

    from mes.clock import utc_now  # noqa: PLC0415
    from mes.samples import history  # noqa: PLC0415
    from mes.samples.history_plan import History  # noqa: PLC0415

    # one that was cut short yesterday is finished as it was begun
    end = until.replace(tzinfo=UTC) if until else history.last_until(connections, seed)
    midnight = utc_now().replace(hour=0, minute=0, second=0, microsecond=0)
    return History(orders, seed, end or midnight, open_share=open_share, years=years, operators=operators)


def _write(connections: "Engine", settings: "Settings", wanted: "History") -> "Written":
    import time  # noqa: PLC0415

    from mes.models.sandbox import Limits  # noqa: PLC0415
    from mes.models.store import ObjectStore  # noqa: PLC0415
    from mes.samples import history  # noqa: PLC0415

    began: list[tuple[float, int]] = []

    def tell(done: int, of: int) -> None:
        now = time.monotonic()
        began.append((now, done)) if not began else None
        (since, first), speed = began[0], ""
        if done > first:
            per_s = (done - first) / (now - since)
            speed = f", {per_s:,.0f} orders/s, {(of - done) / per_s:,.0f} s left"
        typer.echo(f"  {done:,} of {of:,} orders{speed}", err=True)

    store, limits = ObjectStore(settings.objects_location), Limits.of(settings)
    mark = wanted.orders <= MERGED_AT_MOST
    return history.write(connections, wanted, store, limits, mark=mark, progress=tell)


def _build_read_models(settings: "Settings", database: "Database", written: "Written") -> float:
    """Bring the order list up to date: merge what was marked, or fill it anew."""
    import sys  # noqa: PLC0415
    import time  # noqa: PLC0415

    from mes.runtime import up  # noqa: PLC0415

    typer.echo("  building the order list and the reports", err=True)
    started = time.monotonic()
    how = "--merge" if written.marked else "--full"
    up.run_step("build-read-models", [sys.executable, "-m", "pipelines.build_read_models", how], settings, database)
    return time.monotonic() - started


def _figures(connections: "Engine", written: "Written", read_models_s: float) -> dict[str, Any]:
    from mes.samples import history_sizes  # noqa: PLC0415

    return {
        "orders": written.orders,
        "orders_there_before": written.resumed_from,
        "rows": dict(written.rows),
        "seconds": round(written.seconds, 1),
        "orders_per_s": round(written.orders / written.seconds),
        "read_models_s": round(read_models_s, 1),
        "bytes_per_order": history_sizes.bytes_per_order(connections),
    }


def _show(facts: dict[str, Any], *, as_json: bool) -> None:
    import json  # noqa: PLC0415

    if as_json:
        typer.echo(json.dumps(facts))
        return
    for name, value in facts.items():
        if isinstance(value, dict):
            typer.echo(f"{name}:")
            for key, number in value.items():
                typer.echo(f"  {key:<42} {number:>11,}")
        else:
            typer.echo(f"{name:<44} {value:>11,}")
