"""Profiles a load with DuckDB: rows, nulls, distinct values and ranges of each column, for the asset's metadata."""

import duckdb
import polars as pl


def profile(frame: pl.DataFrame) -> list[dict[str, str]]:
    """One entry per column of `frame`: its type, nulls (%), distinct values (estimated), least and greatest value."""
    if frame.is_empty():
        return []
    with duckdb.connect() as session:
        session.register("landed", frame.to_arrow())
        found = session.sql("select * from (summarize landed)").pl()
    return [
        {
            "column": str(row["column_name"]),
            "type": str(row["column_type"]),
            "nulls_percent": str(row["null_percentage"]),
            "distinct": str(row["approx_unique"]),
            "min": str(row["min"])[:60],
            "max": str(row["max"])[:60],
        }
        for row in found.iter_rows(named=True)
    ]
