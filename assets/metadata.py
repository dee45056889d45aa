"""Reports of the core, as metadata that Dagster's UI draws."""

from collections.abc import Mapping, Sequence

import dagster as dg

from assets.expectations.validation import Failure
from mes.db import tables
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


def columns(name: str) -> dg.TableSchema:
    """The columns of a table (`raw.shop_orders`) as the database has them, with what their comments say."""
    return dg.TableSchema(
        [
            dg.TableColumn(
                column.name,
                str(column.type).lower(),
                column.comment,
                dg.TableColumnConstraints(nullable=bool(column.nullable), unique=bool(column.unique)),
            )
            for column in tables.metadata.tables[name].columns
        ]
    )


def table_metadata(name: str) -> dict[str, dg.MetadataValue]:
    """What Dagster's catalogue shows of a table beside its description."""
    return {
        "dagster/column_schema": dg.MetadataValue.table_schema(columns(name)),
        "dagster/table_name": dg.MetadataValue.text(name),
    }


def failures(found: Sequence[Failure]) -> dg.TableMetadataValue:
    """What did not hold of a load, worst first."""
    return table(
        [
            {
                "expected": failure.expectation.words,
                "found": failure.found,
                "blocks": "yes" if failure.blocks else "no",
                "for example": "; ".join(failure.examples),
                "what to do": failure.expectation.advice,
            }
            for failure in found
        ]
    )


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
