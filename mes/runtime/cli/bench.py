"""`mes bench`: runs a benchmark from `bench/` in a process of its own."""

from typing import Annotated

import typer


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command(context_settings={"allow_extra_args": True, "ignore_unknown_options": True})(bench)


def bench(
    context: typer.Context,
    name: Annotated[str | None, typer.Argument(help="Which benchmark; none lists them.")] = None,
    *,
    as_json: Annotated[bool, typer.Option("--json", help="Print the figures as one flat JSON object.")] = False,
) -> None:
    """Measure something side by side with a baseline; further options go to the benchmark (`--help` tells them)."""
    import subprocess  # noqa: PLC0415
    import sys  # noqa: PLC0415

    from mes.errors import MesError  # noqa: PLC0415
    from mes.runtime import paths  # noqa: PLC0415

    folder = paths.require_repository() / "bench"
    names = {path.stem.replace("_", "-"): path for path in sorted(folder.glob("[a-z]*.py"))}
    if name is None:
        for known in names:
            typer.echo(known)
        return
    if name not in names:
        raise MesError(f"There is no benchmark {name!r}; there are {', '.join(names)}.")
    argv = [sys.executable, "-m", f"bench.{names[name].stem}", *(["--json"] if as_json else []), *context.args]
    raise typer.Exit(subprocess.run(argv, cwd=paths.ROOT, check=False).returncode)
