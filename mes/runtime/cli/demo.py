"""`mes demo`: the whole system on a generated workshop, or on real exports; and `mes ingest`: the main job alone."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from mes.config import Settings
    from mes.reports.summary import Summary
    from mes.runtime.location import Database

FeedsOption = Annotated[str | None, typer.Option("--feeds", help="Folder or object-store URL with the four feeds.")]
ModelsOption = Annotated[
    Path | None, typer.Option("--models", help="Folder below which the feeds' model paths lie.", file_okay=False)
]
JsonOption = Annotated[bool, typer.Option("--json", help="Print the summary as one JSON object.")]


def register(app: typer.Typer) -> None:
    """Add the commands."""
    app.command()(demo)
    app.command()(ingest)


def demo(
    *,
    feeds: FeedsOption = None,
    models: ModelsOption = None,
    orders: Annotated[int, typer.Option(min=1, max=1_000_000, help="Orders of the generated workshop.")] = 3000,
    seed: Annotated[int, typer.Option(help="Another seed generates another workshop.")] = 7,
    serve: Annotated[bool, typer.Option("--serve/--no-serve", help="Serve the console and Dagster afterwards.")] = True,
    as_json: JsonOption = False,
) -> None:
    """Run the main job on a generated workshop (or your feeds) and open the console; Ctrl-C stops it."""
    import time  # noqa: PLC0415

    from mes import config  # noqa: PLC0415
    from mes.runtime import embedded, run_state  # noqa: PLC0415
    from mes.runtime import up as system  # noqa: PLC0415
    from mes.runtime.cli.up import show, show_running  # noqa: PLC0415

    started = time.monotonic()
    settings = _with_sources(config.load(), feeds, models)
    if settings.feeds_url is None:
        _generate(settings, orders, seed)
    with embedded.database(settings) as database:
        system.prepare(settings, database)
        summary = _run_main_job(settings, database)
        _show(summary, time.monotonic() - started, as_json=as_json)
        if not serve:
            return
        _introduce_people(database)
        try:
            system.serve(settings, database, show)
        except run_state.AlreadyRunning as error:
            show_running(error.state)


def ingest(*, feeds: FeedsOption = None, models: ModelsOption = None, as_json: JsonOption = False) -> None:
    """Load the feeds, price, and bring the order list and the reports up to date; again changes nothing."""
    import time  # noqa: PLC0415

    from mes import config  # noqa: PLC0415
    from mes.runtime import embedded  # noqa: PLC0415
    from mes.runtime import up as system  # noqa: PLC0415

    started = time.monotonic()
    settings = _with_sources(config.load(), feeds, models)
    with embedded.database(settings) as database:
        system.prepare(settings, database)
        summary = _run_main_job(settings, database)
    _show(summary, time.monotonic() - started, as_json=as_json)


def _with_sources(settings: "Settings", feeds: str | None, models: Path | None) -> "Settings":
    from mes.config import BadConfiguration  # noqa: PLC0415

    if feeds is None and models is not None:
        raise BadConfiguration("--models needs --feeds: the generated workshop brings its own models.")
    if feeds is None:
        return settings
    location = feeds if "://" in feeds else str(Path(feeds).expanduser().resolve())
    root = models.expanduser().resolve() if models else settings.models_root
    if root is None:
        raise BadConfiguration("--feeds needs --models (or MES_MODELS_ROOT): where do the feeds' model paths begin?")
    if not root.is_dir():
        raise BadConfiguration(f"There is no folder of models at {root}; correct --models.")
    return settings.model_copy(update={"feeds_url": location, "models_root": root})


def _generate(settings: "Settings", orders: int, seed: int) -> None:
    from mes.clock import utc_now  # noqa: PLC0415
    from mes.samples import shop  # noqa: PLC0415

    folder = settings.home / "shop"
    _tell(f"a workshop with {orders:,} orders, generated in {folder}" if not folder.exists() else f"workshop {folder}")
    shop.generate(folder, seed=seed, orders=orders, now=utc_now())


def _run_main_job(settings: "Settings", database: "Database") -> "Summary":
    from mes.db import engine  # noqa: PLC0415
    from mes.reports.summary import summarize  # noqa: PLC0415
    from mes.runtime import main_job  # noqa: PLC0415

    main_job.run(settings, database, _tell)
    connections = engine.connect(database.url)
    try:
        with connections.begin() as conn:
            return summarize(conn)
    finally:
        connections.dispose()


def _introduce_people(database: "Database") -> None:
    """Say who may sign in; passwords are shown once, since only their hashes are kept."""
    from mes.db import engine  # noqa: PLC0415
    from mes.samples import people  # noqa: PLC0415

    connections = engine.connect(database.url)
    with connections.begin() as conn:
        new = people.ensure_demo_people(conn)
    connections.dispose()
    for person in new:
        typer.echo(f"sign in as {person.user_name:<6} ({person.role.value}), password {person.password}")
    if not new:
        typer.echo("People sign in as before; `mes users list` names them, `mes users set-password NAME` helps.")


def _tell(line: str) -> None:
    """Progress goes to standard error: standard output is for results."""
    typer.echo(f"  {line}", err=True)


def _show(summary: "Summary", seconds: float, *, as_json: bool) -> None:
    import json  # noqa: PLC0415
    from dataclasses import asdict  # noqa: PLC0415

    facts = asdict(summary) | {"seconds": round(seconds, 1)}
    if as_json:
        typer.echo(json.dumps(facts))
        return
    for name, value in facts.items():
        if isinstance(value, dict):
            typer.echo(f"{name}:")
            for key, count in value.items():
                typer.echo(f"  {key:<28} {count:>9,}")
        else:
            typer.echo(f"{name:<30} {value:>9,}" if isinstance(value, int) else f"{name:<30} {value}")
