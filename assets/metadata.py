"""Reports of the core, as metadata that Dagster's UI draws."""

from collections.abc import Mapping, Sequence

import dagster as dg

from mes.feeds.land import Landed


def table(rows: Sequence[Mapping[str, str]]) -> dg.TableMetadataValue:
    """Rows of text as a table."""
    names = list(rows[0]) if rows else ["column"]
    return dg.MetadataValue.table(
        records=[dg.TableRecord(dict(row)) for row in rows],
        schema=dg.TableSchema([dg.TableColumn(name, "string") for name in names]),
    )


def counts(title: str, numbers: Mapping[str, int]) -> dg.TableMetadataValue:
    """Counts by something, as a table."""
    return table([{title: name, "count": str(count)} for name, count in numbers.items()])


def landed_metadata(landed: Landed) -> dict[str, dg.MetadataValue]:
    """What a load did and what its rows look like."""
    return {
        "dagster/row_count": dg.MetadataValue.int(landed.rows),
        "new": dg.MetadataValue.int(landed.new),
        "changed": dg.MetadataValue.int(landed.changed),
        "repeated": dg.MetadataValue.int(landed.repeated),
        "quarantined": dg.MetadataValue.int(landed.quarantined),
        "files": dg.MetadataValue.text(", ".join(landed.files) or "none found"),
        "ignored_files": dg.MetadataValue.text(", ".join(landed.ignored_files) or "none"),
        "months": counts("month", landed.months),
        "profile": table(landed.profile),
    }
