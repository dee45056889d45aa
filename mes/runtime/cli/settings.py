"""`mes config`: all settings, as they are now."""

import typer


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command(name="config")(show)


def show() -> None:
    """Show every setting: its environment variable, its value now, its default and its meaning."""
    from rich.console import Console  # noqa: PLC0415
    from rich.table import Column, Table  # noqa: PLC0415

    from mes import config  # noqa: PLC0415
    from mes.observability.redaction import redact_text  # noqa: PLC0415

    settings = config.load()
    table = Table(Column("variable", no_wrap=True), "value", "default", "meaning", show_lines=True)
    for name, field in config.Settings.model_fields.items():
        value = getattr(settings, name)
        shown = "-" if value is None else redact_text(str(value))
        default = "-" if field.default is None else str(field.default)
        table.add_row(config.variable(name), shown, default, field.description)
    Console().print(table)
