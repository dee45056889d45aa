"""The rows that a suite looks at: those of the run's months, and all that were not applied yet."""

from dataclasses import dataclass
from datetime import date, datetime

from mes.feeds.check import CLOCK_TOLERANCE

# of each order the export that counts, as `mes/orders/sql/1_exports.sql` chooses it, so a corrected one mends a load
ORDERS = """
select distinct on (landed.external_id)
    landed.external_id, landed.file, landed.line, tier, currency, placed_at, due_at, updated_at,
    lower(regexp_replace(landed.external_id, '\\s', '', 'g')) as folded_number,
    extract(epoch from due_at - placed_at)::double precision / 86400 as promised_days,
    paid::double precision as paid_usd,
    status <> 'CANCELLED' as going_on,
    jsonb_array_length(items) as lines,
    items -> 0 ->> 'model' as first_model,
    count(*) over (partition by landed.external_id, updated_at) as equally_new,
    placed_at between {since} and {latest} and updated_at between {since} and {latest} as in_bounds,
    month = date_trunc('month', placed_at at time zone 'UTC')::date as in_its_month
from {table} as landed
inner join (select distinct external_id from {table} where {scope}) as loaded on loaded.external_id = landed.external_id
order by landed.external_id asc, updated_at desc, loaded_at desc, landed.file desc, landed.line desc
"""

_FACTS = """
    landed.source, landed.external_id, landed.file, landed.line, landed.occurred_at, landed.type::text as type,
    landed.type <> 'CANCELLED' as going_on,
    landed.occurred_at between {since} and {latest} as in_bounds,
    landed.month = date_trunc('month', landed.occurred_at at time zone 'UTC')::date as in_its_month
"""

CRM_EVENTS = f"""
select
    landed.sequence,
    not others.numbered_alike as numbered_once,
    landed.sequence = 1 or others.predecessor as has_predecessor,
    not others.earlier_but_later as after_predecessor,
    {_FACTS}
from {{table}} as landed
left join lateral (
    select
        bool_or(other.sequence = landed.sequence and other.event_id <> landed.event_id) as numbered_alike,
        bool_or(other.sequence = landed.sequence - 1) as predecessor,
        bool_or(other.sequence < landed.sequence and other.occurred_at > landed.occurred_at) as earlier_but_later
    from {{table}} as other
    where other.source = landed.source and other.external_id = landed.external_id
) as others on true
where {{scope}}
"""

HISTORY = f"""
select
    not others.ahead as in_step,
    {_FACTS}
from {{table}} as landed
left join lateral (
    select bool_or(other.type > landed.type and other.occurred_at < landed.occurred_at) as ahead
    from {{table}} as other
    where other.source = landed.source and other.external_id = landed.external_id
) as others on true
where {{scope}}
"""


@dataclass(frozen=True)
class Scope:
    """Which rows to look at: those of `months` (first days of the first and the last), or all where it is None.

    Rows that wait to be applied always count, whatever run landed them: they are what the next step would take.
    """

    months: tuple[date, date] | None
    since: datetime
    now: datetime

    def condition(self) -> str:
        """The rows, as SQL on the feed's table."""
        if self.months is None:
            return "true"
        first, last = self.months
        return f"(month between '{first.isoformat()}' and '{last.isoformat()}' or applied_at is null)"

    def words(self) -> str:
        """The rows, for people."""
        if self.months is None:
            return "all months"
        first, last = self.months
        return f"{first:%Y-%m} to {last:%Y-%m}, and what waits to be applied"

    def query(self, batch: str, table: str) -> str:
        """A suite's batch with its values in place: Great Expectations takes a query as text alone."""
        return batch.format(
            table=table,
            scope=self.condition(),
            since=_time(self.since),
            latest=_time(self.now + CLOCK_TOLERANCE),
        )


def _time(time: datetime) -> str:
    return f"timestamptz '{time.isoformat()}'"
