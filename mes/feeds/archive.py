"""Keeps every month of a feed as Parquet in the object store, and loses no row of it."""

import io
from collections.abc import Collection
from datetime import date

import polars as pl

from mes.errors import MesError
from mes.feeds.catalogue import Feed
from mes.models.store import NoSuchObject, ObjectStore

# where a row stood, and how; the rest is what it says
_PLACE = ("file", "line", "raw")


class DamagedArchive(MesError):
    """A month's Parquet file is none; restore it, or move it away, then load the month again."""

    code = "damaged_archive"


def keep(store: ObjectStore, feed: Feed, rows: pl.DataFrame, months: Collection[date]) -> None:
    """Add what a month's Parquet file does not hold yet: typed values, beside the text that stood in the file.

    A row counts as held when it says the same, wherever it stood. The caller sees to it that nobody else keeps the
    same feed meanwhile.

    Raises:
        DamagedArchive: what is kept cannot be read.
    """
    for month in sorted(set(months) & set(rows["month"])):
        key = f"raw/{feed.name}/{month:%Y-%m}.parquet"
        held = _held(store, key, rows.head(0))
        values = [name for name in rows.columns if name not in _PLACE]
        both = pl.concat([held, rows.filter(pl.col("month") == month)], how="diagonal_relaxed")
        kept = both.unique(values, keep="first", maintain_order=True)
        if kept.height > held.height:
            buffer = io.BytesIO()
            kept.write_parquet(buffer, compression="zstd")
            store.put(key, buffer.getvalue())


def _held(store: ObjectStore, key: str, nothing: pl.DataFrame) -> pl.DataFrame:
    try:
        return pl.read_parquet(io.BytesIO(store.get(key)))
    except NoSuchObject:
        return nothing
    except (pl.exceptions.PolarsError, pl.exceptions.PanicException) as error:
        raise DamagedArchive(key=key) from error
