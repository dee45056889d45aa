"""Says in words what is wrong with the system now, by the numbers and bounds that alerts go by."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum

from prometheus_client.registry import Collector

DAY_S = 86_400.0


class Urgency(StrEnum):
    """Whether somebody is woken for it, or looks at it in the morning."""

    PAGE = "page"
    TICKET = "ticket"


@dataclass(frozen=True)
class Condition:
    """When a gauge lies beyond its bound.

    Attributes:
        alert: the alert's name, which is the runbook's section too.
        gauge: what is looked at, where its labels are `where`.
        bound: above it something is wrong; below it, where `below`.
        says: in words; `{age}` or `{number}` stands for the gauge's value, any label for itself.
        do: what to do first.
    """

    alert: str
    urgency: Urgency
    gauge: str
    bound: float
    says: str
    do: str
    where: Mapping[str, str] = field(default_factory=dict)
    below: bool = False


@dataclass(frozen=True)
class Sample:
    """A gauge's value."""

    gauge: str
    labels: Mapping[str, str]
    value: float


@dataclass(frozen=True)
class Wrong:
    """A condition that holds, and for which value."""

    condition: Condition
    sample: Sample


_WORKER = "Start a worker with the role `{role}`; `mes logs --process worker` says why it is away."
_PAGE, _TICKET = Urgency.PAGE, Urgency.TICKET
CONDITIONS = (
    Condition(
        "DatabaseDown",
        _PAGE,
        *("mes_database_up", 1),
        "The database does not answer.",
        "`mes doctor` says what is wrong with it. Nothing is lost.",
        below=True,
    ),
    Condition(
        "GaugesUnreadable",
        _TICKET,
        *("mes_database_group_up", 1),
        "The numbers of {group} cannot be read.",
        "A migration or a lock is in the way: wait for it, or end what holds it.",
        below=True,
    ),
    Condition(
        "ListBehind",
        _PAGE,
        *("mes_refresh_oldest_mark_age_seconds", 15),
        "The order list is {age} behind.",
        _WORKER.format(role="refresh"),
    ),
    Condition(
        "PricingBehind",
        _PAGE,
        *("mes_queue_oldest_job_age_seconds", 15),
        "An order has waited for its price for {age}.",
        _WORKER.format(role="pricing"),
        where={"queue": "pricing"},
    ),
    Condition(
        "MeasuringBehind",
        _TICKET,
        *("mes_queue_oldest_job_age_seconds", 600),
        "A model has waited to be measured for {age}.",
        "Another worker with the role `pricing` helps.",
        where={"queue": "measuring"},
    ),
    Condition(
        "OrderStuck",
        _TICKET,
        *("mes_orders_oldest_in_status_seconds", 600),
        "An order has been without a price for {age}.",
        "`mes logs --order NUMBER` says why; releasing it has it tried again.",
        where={"status": "SUBMITTED"},
    ),
    Condition(
        "OutboxStuck",
        _PAGE,
        *("mes_outbox_oldest_age_seconds", 15),
        "Nobody has been told of changes for {age}.",
        _WORKER.format(role="relay"),
    ),
    Condition(
        "BusBehind",
        _PAGE,
        *("mes_carrier_oldest_age_seconds", 30),
        "{carrier} is told of changes {age} late.",
        "`mes bus status` says whether it is there; once it is, all is told in order.",
    ),
    Condition(
        "InboxBehind",
        _PAGE,
        *("mes_inbox_oldest_due_age_seconds", 30),
        "What shop and CRM told has waited for {age}.",
        _WORKER.format(role="inbox"),
    ),
    Condition(
        "EventMissing",
        _TICKET,
        *("mes_inbox_oldest_gap_age_seconds", 30),
        "An event of shop or CRM has been missing for {age}; its order waits.",
        'Ask the sender for it: `mes logs --text "an event is missing"` names it.',
    ),
    Condition(
        "OrdersParked",
        _TICKET,
        *("mes_inbox_parked_orders", 0),
        "Orders wait for a person, {number} of them: what was told of them cannot be applied.",
        "The page Messages shows them.",
    ),
    Condition(
        "WebhooksBehind",
        _TICKET,
        *("mes_webhook_oldest_due_age_seconds", 120),
        "A call to a webhook has been due for {age}.",
        _WORKER.format(role="webhooks"),
    ),
    Condition(
        "SystemsDiffer",
        _PAGE,
        *("mes_drift_oldest_age_seconds", 3_600),
        "{system} and we have said different things of an order for {age}.",
        "The page Drift shows which, and what to do.",
    ),
    Condition(
        "ReconciliationFails",
        _TICKET,
        *("mes_reconciliation_failed", 0),
        "The last comparison with {system} failed.",
        "`mes drift check` says why; ask for a whole statement.",
    ),
    Condition(
        "FeedLate",
        _TICKET,
        *("mes_feed_last_load_age_seconds", 26 * 3_600),
        "The feed {feed} was last loaded {age} ago.",
        "Ask its sender for the export, then load it.",
    ),
    Condition(
        "WaitingForLocks",
        _PAGE,
        *("mes_postgres_waiting_for_locks", 10),
        "{number} connections wait for locks.",
        "An import that is about to end explains it; else end what holds the lock.",
    ),
    Condition(
        "TransactionOpenLong",
        _TICKET,
        *("mes_postgres_oldest_transaction_seconds", 3_600),
        "A transaction has been open for {age}.",
        "End it, unless you know what it is.",
    ),
)


def samples(collector: Collector) -> Sequence[Sample]:
    """What a collector, such as `DatabaseGauges`, says now."""
    return [
        Sample(sample.name, sample.labels, float(sample.value))
        for family in collector.collect()
        for sample in family.samples
    ]


def wrong(found: Iterable[Sample]) -> Sequence[Wrong]:
    """All that is beyond its bound, what wakes somebody first."""
    by_gauge: dict[str, list[Sample]] = {}
    for sample in found:
        by_gauge.setdefault(sample.gauge, []).append(sample)
    beyond = [
        Wrong(condition, sample)
        for condition in CONDITIONS
        for sample in by_gauge.get(condition.gauge, ())
        if condition.where.items() <= sample.labels.items() and _is_beyond(condition, sample.value)
    ]
    return sorted(beyond, key=lambda each: each.condition.urgency is not Urgency.PAGE)


def _is_beyond(condition: Condition, value: float) -> bool:
    return value < condition.bound if condition.below else value > condition.bound
