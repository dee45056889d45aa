"""One suite per feed: sentences that hold of every sound load, and that no row breaks by itself.

Rows were judged one by one when they were read (`mes.feeds.check`). What remains are faults that show in the load only:
a column that the sender renamed, a mapping that cancels every order, times that are all the export's own.
"""

from collections.abc import Mapping
from dataclasses import dataclass

from assets.expectations import batches
from mes.feeds.catalogue import CRM_ORDER_EVENTS, CRM_ORDERS, LEGACY_STATUS_HISTORY, SHOP_ORDERS, Feed
from mes.feeds.check import SOURCES, TIERS
from mes.orders.life import MOVES, Status, System

# a share of fewer rows says little: a month of eight orders has had one that was updated before it was placed
ENOUGH_ROWS = 50


@dataclass(frozen=True)
class Expectation:
    """One sentence about a load, and the class of `great_expectations.expectations` that tests it.

    Failing, it blocks what stands downstream if it is `critical`, and warns otherwise. One about `shares` of the rows
    never blocks a load of fewer than ENOUGH_ROWS.
    """

    words: str
    advice: str
    kind: str
    arguments: Mapping[str, object]
    critical: bool = True
    shares: bool = False

    def blocks(self, rows: int) -> bool:
        """Whether a load of so many rows may not go on when it fails."""
        return self.critical and (not self.shares or rows >= ENOUGH_ROWS)


@dataclass(frozen=True)
class Suite:
    """What is expected of one feed's loads; `batch` is the query of the rows, see `batches`."""

    feed: Feed
    batch: str
    expectations: tuple[Expectation, ...]


def _always(words: str, advice: str, column: str, *allowed: object) -> Expectation:
    arguments = {"column": column, "value_set": list(allowed or (True,))}
    return Expectation(words, advice, "ExpectColumnValuesToBeInSet", arguments)


def _mostly(
    words: str, advice: str, column: str, share: float, allowed: tuple[object, ...] = (True,), *, critical: bool = True
) -> Expectation:
    arguments = {"column": column, "value_set": list(allowed), "mostly": share}
    return Expectation(words, advice, "ExpectColumnValuesToBeInSet", arguments, critical, shares=True)


def _measure(kind: str, words: str, advice: str, column: str, *, critical: bool, **bounds: float) -> Expectation:
    return Expectation(words, advice, kind, {"column": column, **bounds}, critical, shares=True)


_WRITTEN_PAST_US = "Something wrote to the table past the rules of reading: find it, delete its rows, load again."
_MAPPING = "Ask the sender whether its mapping of statuses changed; the orders are untouched until the load is right."
_WRONG_FILE = "Look whether another feed's file lies in this one's place; move it, and delete its rows from the table."
_RENAMED = "Ask the sender whether the column was renamed or left out of the export, and for a new export."
_OWN_TIMES = "Ask whether the export stamps its own time instead of the time when it happened."

_COMMON = (
    _always("All times lie between MES_FEEDS_SINCE and now.", _WRITTEN_PAST_US, "in_bounds"),
    _always("Every row stands in the month of its own time.", _WRITTEN_PAST_US, "in_its_month"),
)
_NOT_ALL_CANCELLED = _mostly("At most half of the rows are cancellations.", _MAPPING, "going_on", 0.5)


def _distinct_times(column: str) -> Expectation:
    return _measure(
        "ExpectColumnProportionOfUniqueValuesToBeBetween",
        f"At least a tenth of the rows have a time (`{column}`) of their own.",
        _OWN_TIMES,
        column,
        critical=False,
        min_value=0.1,
    )


_ORDERS = (
    *_COMMON,
    _always("Tiers are those that prices and priorities know.", _WRITTEN_PAST_US, "tier", *TIERS),
    _always("Amounts are in USD.", _WRITTEN_PAST_US, "currency", "USD"),
    Expectation(
        "Every order has between 1 and 1,000 items.",
        _WRITTEN_PAST_US,
        "ExpectColumnValuesToBeBetween",
        {"column": "lines", "min_value": 1, "max_value": 1000},
    ),
    Expectation(
        "No two orders differ by capitals or blanks of their number alone.",
        "Ask the sender which of the two is the order; cancel the other one before it is made twice.",
        "ExpectColumnValuesToBeUnique",
        {"column": "folded_number"},
        critical=False,
    ),
    Expectation(
        "An order is updated no earlier than it was placed (95 %).",
        "Ask the sender whether the two columns were exchanged, or their clocks differ.",
        "ExpectColumnPairValuesAToBeGreaterThanB",
        {"column_A": "updated_at", "column_B": "placed_at", "or_equal": True, "mostly": 0.95},
        shares=True,
    ),
    _NOT_ALL_CANCELLED,
    _measure(
        "ExpectColumnProportionOfNonNullValuesToBeBetween",
        "At least half of the orders have a due date.",
        f"Without due dates the work queue has no order. {_RENAMED}",
        "due_at",
        critical=True,
        min_value=0.5,
    ),
    _measure(
        "ExpectColumnProportionOfNonNullValuesToBeBetween",
        "At least half of the orders say what was paid.",
        _RENAMED,
        "paid_usd",
        critical=False,
        min_value=0.5,
    ),
    _measure(
        "ExpectColumnMedianToBeBetween",
        "Half of the orders are promised within 730 days, and half for later than half a day.",
        "Ask whether day and month, or two columns, were exchanged in the export.",
        "promised_days",
        critical=False,
        min_value=0.5,
        max_value=730,
    ),
    _measure(
        "ExpectColumnMedianToBeBetween",
        "The median of what was paid lies between 1 and 50,000 USD.",
        "Ask whether amounts came in cents, or in another currency.",
        "paid_usd",
        critical=False,
        min_value=1,
        max_value=50_000,
    ),
    _measure(
        "ExpectColumnUniqueValueCountToBeBetween",
        "The orders name more than one 3D model.",
        "Ask whether the export names a placeholder instead of the customers' models.",
        "first_model",
        critical=False,
        min_value=2,
    ),
    _mostly(
        "Two exports of an order tell by `updated_at` which is newer (99 %).",
        "The one that came later counts. Ask the sender to raise `updated_at` with every change.",
        "equally_new",
        0.99,
        allowed=(1,),
        critical=False,
    ),
    _distinct_times("placed_at"),
)


def _told_by(system: System) -> list[str]:
    return [status for status in Status if any(move.to is status and system in move.by for move in MOVES)]


_EVENTS = (
    *_COMMON,
    _always("Events are about orders of the shop or the CRM.", _WRITTEN_PAST_US, "source", *SOURCES),
    _distinct_times("occurred_at"),
)
_CRM_EVENTS = (
    *_EVENTS,
    _mostly("The CRM tells what the CRM decides (95 %).", _WRONG_FILE, "type", 0.95, (*_told_by(System.CRM),)),
    _NOT_ALL_CANCELLED,
    Expectation(
        "Sequences count from 1.",
        _WRITTEN_PAST_US,
        "ExpectColumnValuesToBeBetween",
        {"column": "sequence", "min_value": 1},
    ),
    _mostly(
        "No two events of an order have the same sequence (99 %).",
        "Events are applied in sequence; ask the sender to number each order's events anew.",
        "numbered_once",
        0.99,
    ),
    _mostly(
        "Each event's predecessor is there (90 %).",
        "Load the months before this one; if they are loaded, ask the sender for the missing events.",
        "has_predecessor",
        0.9,
        critical=False,
    ),
    _mostly(
        "Times grow with the sequence (90 %).",
        "Ask the sender whether sequences or times were mixed up in the export.",
        "after_predecessor",
        0.9,
    ),
)
_HISTORY = (
    *_EVENTS,
    _mostly("The old system tells what production does (90 %).", _WRONG_FILE, "type", 0.9, (*_told_by(System.MES),)),
    _mostly(
        "Steps follow each other in the order of an order's life (80 %).",
        "Ask the sender whether its mapping of statuses, or the times, were mixed up. Rework alone is no such share.",
        "in_step",
        0.8,
    ),
)

SUITES: tuple[Suite, ...] = (
    Suite(SHOP_ORDERS, batches.ORDERS, _ORDERS),
    Suite(CRM_ORDERS, batches.ORDERS, _ORDERS),
    Suite(CRM_ORDER_EVENTS, batches.CRM_EVENTS, _CRM_EVENTS),
    Suite(LEGACY_STATUS_HISTORY, batches.HISTORY, _HISTORY),
)


def suite(feed: Feed) -> Suite:
    """What is expected of a feed."""
    return next(each for each in SUITES if each.feed is feed)
