"""Finds orders on which two systems do not say the same: by digests of buckets, row by row where those differ."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from uuid import UUID

import duckdb
import polars as pl

from mes.reconciliation.model import Pair

BUCKETS = 256


@dataclass(frozen=True)
class Bucket:
    """A bucket of a source's orders that differs: on both sides the number, the sum of versions and a digest."""

    source: str
    bucket: int
    ours: int
    theirs: int
    our_versions: int
    their_versions: int
    our_digest: str
    their_digest: str

    def told(self) -> dict[str, object]:
        """As kept with the run."""
        return asdict(self)


@dataclass(frozen=True)
class Compared:
    """What came of it: the orders that differ, the buckets that do, of how many, and how many orders of ours."""

    pairs: Sequence[Pair]
    differing: Sequence[Bucket]
    buckets: int
    ours: int


def compare(ours: pl.DataFrame, theirs: pl.DataFrame, covered: Sequence[str]) -> Compared:
    """Orders that one side does not have, or has otherwise.

    Args:
        ours: as `snapshot` reads them.
        theirs: as `statement` reads them.
        covered: sources of which they state all orders; of others, those that they name are compared.
    """
    with duckdb.connect() as session:
        session.execute("set threads = 2")
        session.register("ours_given", ours.to_arrow())
        session.register("theirs_given", theirs.to_arrow())
        session.execute(_KEYED, {"covered": list(covered)})
        buckets = [Bucket(*row) for row in session.execute(_BUCKETS).fetchall()]
        differing = [each for each in buckets if _differs(each)]
        compared = sum(each.ours for each in buckets)
        if not differing:
            return Compared([], [], len(buckets), compared)
        session.register("differing", _places(differing).to_arrow())
        rows = session.execute(_PAIRS).fetchall()
    pairs = [
        Pair(source, number, UUID(order_id) if order_id else None, *rest) for source, number, order_id, *rest in rows
    ]
    return Compared(pairs, differing, len(buckets), compared)


def _differs(bucket: Bucket) -> bool:
    return (bucket.ours, bucket.our_versions, bucket.our_digest) != (
        bucket.theirs,
        bucket.their_versions,
        bucket.their_digest,
    )


def _places(buckets: Sequence[Bucket]) -> pl.DataFrame:
    return pl.DataFrame(
        {"source": [each.source for each in buckets], "bucket": [each.bucket for each in buckets]},
        schema={"source": pl.String, "bucket": pl.Int64},
    )


# What one side cannot tell is left out on both: a system that knows no versions is compared by the statuses, an order
# of which it only sent events by their numbers. An order that it has not heard all of ours of, and need not, is what
# the rows' own look is for. The digest is a sum, so it depends on no order of rows; MD5 is the same in every session.
_KEYED = f"""
create temporary table keyed as
select
    coalesce(ours.source, theirs.source) as source, coalesce(ours.external_id, theirs.external_id) as external_id,
    md5_number_upper(concat_ws(chr(31), coalesce(ours.source, theirs.source),
        coalesce(ours.external_id, theirs.external_id))) % {BUCKETS} as bucket,
    ours.order_id, ours.our_status, ours.our_version, ours.live_from, ours.applied,
    theirs.status as their_status, theirs.version as their_version, theirs.sent,
    ours.order_id is not null as here, theirs.source is not null as stated
from ours_given as ours
full join theirs_given as theirs on theirs.source = ours.source and theirs.external_id = ours.external_id
where not coalesce(ours.unsettled, false)
    and (theirs.source is not null or list_contains($covered, ours.source))
"""
_OURS = """here, concat_ws(chr(31), external_id, case when not stated or their_status is not null then our_status end,
    case when not stated or their_version is not null then our_version end,
    case when sent is not null then least(coalesce(applied, 0), sent) end)"""
_THEIRS = "stated, concat_ws(chr(31), external_id, their_status, their_version, sent)"


def _side(side: str) -> str:
    there, told = side.split(",", 1)
    return f"coalesce(sum(case when {there} then md5_number_lower({told}) end) % 18446744073709551616, 0)"


_BUCKETS = f"""
select source, bucket,
    count(*) filter (here), count(*) filter (stated),
    coalesce(sum(case when here and (not stated or their_version is not null) then our_version end), 0)::bigint,
    coalesce(sum(their_version), 0)::bigint,
    printf('%016x', {_side(_OURS)}::ubigint), printf('%016x', {_side(_THEIRS)}::ubigint)
from keyed group by source, bucket order by source, bucket
"""
_PAIRS = """
select keyed.source, external_id, order_id, our_status, our_version, live_from, applied,
    their_status, their_version, sent, stated
from keyed inner join differing on differing.source = keyed.source and differing.bucket = keyed.bucket
where not here or not stated
    or (their_status is not null and their_status <> our_status)
    or (their_version is not null and their_version <> our_version)
    or (sent is not null and sent > coalesce(applied, 0))
order by keyed.source, external_id
"""
