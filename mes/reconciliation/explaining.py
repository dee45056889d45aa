"""Says why an order differs, as far as our own tables know: quarantine, inbox, landed exports, anomalies."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

from sqlalchemy import Connection, Row, text

from mes.reconciliation.model import Finding, Kind, Pair, Remedy

_NAMED = 10
_EXPLAINED_AT_ONCE = 10_000
_HERE = (Kind.MISSING_HERE, Kind.BEHIND_HERE)


@dataclass(frozen=True)
class _Known:
    """What is known of an order: in words, and whether the inbox can go on with it by itself."""

    words: str
    can_wake: bool


def explain(conn: Connection, system: str, findings: Sequence[Finding]) -> list[Finding]:
    """The findings with what is known of each; those that the inbox may mend by itself are left to it."""
    return [
        each
        for first in range(0, len(findings), _EXPLAINED_AT_ONCE)
        for each in _explain(conn, system, findings[first : first + _EXPLAINED_AT_ONCE])
    ]


def _explain(conn: Connection, system: str, findings: Sequence[Finding]) -> list[Finding]:
    known = {
        (row.source, row.external_id): row
        for row in conn.execute(
            _KNOWN,
            {
                "system": system,
                "sources": [each.pair.source for each in findings],
                "numbers": [each.pair.external_id for each in findings],
            },
        )
    }
    return [_explained(each, known.get((each.pair.source, each.pair.external_id))) for each in findings]


def _explained(finding: Finding, row: Row[Any] | None) -> Finding:
    if row is None:
        return finding
    if finding.kind in _HERE:
        known = _why_not_here(finding.pair, row)
        remedy = Remedy.WAKE if known.can_wake and finding.kind is Kind.BEHIND_HERE else finding.remedy
        return replace(finding, remedy=remedy, explanation=f"{finding.explanation} {known.words}")
    if row.anomaly is not None:
        return replace(finding, explanation=f"{finding.explanation} Known as an anomaly: {row.anomaly}.")
    return finding


def _why_not_here(pair: Pair, row: Row[Any]) -> _Known:
    if row.quarantined is not None:
        return _Known(f"In quarantine: {row.quarantined}", can_wake=False)
    if row.parked is not None:
        parked = f"The next event is parked, since {row.parked}: see the console's page Messages."
        return _Known(parked, can_wake=False)
    missing = _missing(pair, row.waiting_numbers or ())
    if missing:
        waiting = f"{row.waiting} later ones wait for them." if row.waiting else "Have them sent again."
        return _Known(f"Never came: {_spans(missing)}. {waiting}", can_wake=row.waiting > 0)
    return _on_its_way(row)


def _on_its_way(row: Row[Any]) -> _Known:
    if row.waiting:
        outcome = row.outcome or "not looked at yet"
        return _Known(f"{row.waiting} of its events wait in the inbox: {outcome}.", can_wake=True)
    if row.landed:
        return _Known("Its export has landed and waits to be applied: see the feeds' last run.", can_wake=False)
    return _Known("Nothing of it came here: have it sent again, or exported.", can_wake=False)


def _missing(pair: Pair, waiting: Sequence[int]) -> list[int]:
    """Numbers of events that they have sent, and that are neither applied nor in the inbox."""
    if pair.sent is None or pair.order_id is None:
        return []
    here = set(waiting)
    first = (pair.applied or 0) + 1
    # a number of millions is no gap of millions that anyone wants to read
    return [number for number in range(first, min(pair.sent, first + 10_000) + 1) if number not in here]


def _spans(numbers: Sequence[int]) -> str:
    """1, 3 to 5 and so on."""
    found = list(_runs(numbers))
    told = [str(first) if first == last else f"{first} to {last}" for first, last in found[:_NAMED]]
    more = f" and {len(found) - _NAMED} more gaps" if len(found) > _NAMED else ""
    return f"event {', '.join(told)}{more}"


def _runs(numbers: Sequence[int]) -> Iterator[tuple[int, int]]:
    first = last = numbers[0]
    for number in numbers[1:]:
        if number != last + 1:
            yield first, last
            first = number
        last = number
    yield first, last


# a row in quarantine names its order in its text alone; it may not even be JSON
_KNOWN = text(r"""
with asked as (
    select * from unnest(cast(:sources as text[]), cast(:numbers as text[])) as asked (source, external_id)
), named as (
    select distinct on (numbers.found[1]) numbers.found[1] as external_id,
        format('%s, line %s: %s. %s', file, line, rtrim(reason, '.'), advice) as words
    from ops.quarantine
    cross join lateral regexp_matches(content, '"?external_id"?\s*:\s*"([^"]+)"', 'g') as numbers (found)
    where resolved_at is null and starts_with(feed, :system)
    order by numbers.found[1], last_seen_at desc
)
select asked.source, asked.external_id, named.words as quarantined, heard.parked_reason as parked,
    coalesce(waiting.events, 0) as waiting, waiting.numbers as waiting_numbers, waiting.outcome,
    (
        asked.source = :system and (
            exists (
                select from raw.shop_orders as landed where :system = 'shop'
                    and landed.external_id = asked.external_id and landed.applied_at is null
            ) or exists (
                select from raw.crm_orders as landed where :system = 'crm'
                    and landed.external_id = asked.external_id and landed.applied_at is null
            )
        )
    ) as landed,
    (
        select string_agg(anomalies.kind || ' (' || anomalies.reason || ')', '; ' order by anomalies.kind)
        from ops.anomalies inner join ops.orders using (order_id)
        where orders.source = asked.source and orders.external_id = asked.external_id
    ) as anomaly
from asked
left join named using (external_id)
left join ops.inbox_orders as heard
    on heard.sender = :system and heard.source = asked.source and heard.external_id = asked.external_id
left join lateral (
    select count(*) as events, array_agg(sequence) as numbers, min(outcome) as outcome
    from ops.inbox
    where inbox.sender = :system and inbox.source = asked.source and inbox.external_id = asked.external_id
        and state in ('waiting', 'parked')
) as waiting on true
""")
