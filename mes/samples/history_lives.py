"""Walks a batch of orders through their lives: every event with its time, up to the moment at which history ends."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from mes.orders.life import EventType, Status
from mes.samples.copy_rows import IntArray
from mes.samples.demand import DAY_S, RUSH_SHARE
from mes.samples.history_plan import US
from mes.samples.life import APPROVED, CANCELLED_SHARE, CLOSED, COMPLETED, PACKED, PRICED, SHIPPED, STARTED

Flags = NDArray[np.bool_]
Floats = NDArray[np.float64]

# what may happen to an order, in the sequence of its events
EVENTS: tuple[Status | EventType, ...] = (
    Status.SUBMITTED,
    Status.PRICE_CALCULATED,
    EventType.HELD,
    EventType.RELEASED,
    Status.MANUFACTURING_APPROVED,
    EventType.ASSIGNED,
    EventType.CLAIMED,
    Status.MANUFACTURING_STARTED,
    Status.MANUFACTURING_COMPLETED,
    Status.MANUFACTURING_STARTED,
    Status.MANUFACTURING_COMPLETED,
    Status.PACKAGING,
    Status.SHIPPED,
    Status.CLOSED,
    EventType.HELD,
    Status.CANCELLED,
)
(HELD_ONCE, RELEASED, ASSIGNED, CLAIMED, REWORK, REWORKED, HELD, CANCELLED) = (2, 3, 5, 6, 9, 10, 14, 15)
# of the stages of mes.samples.life, from SUBMITTED to CLOSED
_STAGE_EVENTS = (0, 1, 4, 7, 8, 11, 12, 13)
IS_MOVE = np.array([isinstance(event, Status) for event in EVENTS])

DAY_US = DAY_S * US
_PROMISED_DAYS, _PROMISED_SHARES = (14.0, 21.0, 28.0), (0.25, 0.55, 0.20)
_RUSH_FACTOR = 0.6
# medians of the times between stages as shares of the promised one, and their sigmas (log); a fifth comes too late
_SHARES, _SIGMAS = (0.0004, 0.10, 0.36, 0.24, 0.08, 0.05), (1.0, 0.7, 0.3, 0.35, 0.5, 0.5)
_CLOSING_DAYS, _CLOSING_SIGMA = 12.0, 0.4
_CANCELLED_AFTER = ((0, PRICED, APPROVED, STARTED), (0.25, 0.40, 0.25, 0.10))
# an open order that would have been shipped by now stands somewhere on the way
_STUCK_AT = ((PRICED, APPROVED, STARTED, COMPLETED, PACKED), (0.10, 0.30, 0.36, 0.12, 0.12))
_REWORKED_SHARE, _ONCE_HELD_SHARE = 0.03, 0.015
UNPRICED_SHARE, HELD_SHARE, UNASSIGNED_SHARE, CLAIMED_SHARE = 0.01, 0.03, 0.10, 0.80
_OPENING, _SHIFT = 7 / 24, 10 / 24


@dataclass(frozen=True)
class Lives:
    """What became of a batch's orders; times are microseconds since 1970.

    `at_us` is (orders, events) of `EVENTS`, `happened` says which of them did. `stage` is the last one reached of
    those of `mes.samples.life`; a cancelled order has `CANCELLED` on top.
    """

    at_us: IntArray
    happened: Flags
    due_us: IntArray
    rush: Flags
    stage: IntArray

    @property
    def version(self) -> IntArray:
        """Number of each order's events."""
        count: IntArray = self.happened.sum(axis=1)
        return count

    @property
    def last_event(self) -> IntArray:
        """The last event of each order, of `EVENTS`."""
        return _last(self.happened)

    @property
    def last_move(self) -> IntArray:
        """The event that led to each order's status, of `EVENTS`."""
        return _last(self.happened & IS_MOVE)

    def time_of(self, event: IntArray) -> IntArray:
        """When this event of each order happened."""
        times: IntArray = self.at_us[np.arange(len(event)), event]
        return times


def draw(rng: np.random.Generator, placed_us: IntArray, is_open: Flags, until_us: int) -> Lives:
    """Draw the lives of orders placed at these times, `is_open` the ones that shall be open at the end."""
    orders = len(placed_us)
    rush = rng.random(orders) < RUSH_SHARE
    promised_us = rng.choice(_PROMISED_DAYS, orders, p=_PROMISED_SHARES) * np.where(rush, _RUSH_FACTOR, 1.0) * DAY_US
    planned = _planned(rng, placed_us, promised_us, is_open, until_us)
    stage = _stages(rng, planned, is_open, until_us)
    at_us = np.zeros((orders, len(EVENTS)), np.int64)
    happened = np.zeros((orders, len(EVENTS)), np.bool_)
    at_us[:, _STAGE_EVENTS] = planned
    cancelled = ~is_open & (rng.random(orders) < CANCELLED_SHARE)
    stage = np.where(cancelled, rng.choice(_CANCELLED_AFTER[0], orders, p=_CANCELLED_AFTER[1]), stage)
    happened[:, _STAGE_EVENTS] = np.arange(CLOSED + 1) <= stage[:, None]
    happened[:, CANCELLED] = cancelled
    at_us[:, CANCELLED] = _between(planned, stage, rng.random(orders))
    _detours(rng, at_us, happened, planned, stage)
    _open_ones(rng, at_us, happened, planned, stage, is_open, until_us)
    due_us = (placed_us + promised_us.astype(np.int64)) // DAY_US * DAY_US + DAY_US
    return Lives(at_us, happened, due_us, rush, stage)


def _planned(
    rng: np.random.Generator, placed_us: IntArray, promised_us: Floats, is_open: Flags, until_us: int
) -> IntArray:
    """When each stage is reached, (orders, stages); finished orders are shipped before the end."""
    orders = len(placed_us)
    # one factor for the whole order: a difficult piece is slow at every bench
    pace_us = promised_us * _lognormal(rng, 0.15, orders)
    gaps = np.stack(
        [pace_us * share * _lognormal(rng, sigma, orders) for share, sigma in zip(_SHARES, _SIGMAS, strict=True)],
        axis=1,
    )
    room = 0.98 * (until_us - placed_us) / gaps.sum(axis=1)
    gaps *= np.where(is_open, 1.0, np.minimum(1.0, room))[:, None]
    planned = np.empty((orders, CLOSED + 1), np.int64)
    planned[:, 0] = placed_us
    planned[:, 1 : SHIPPED + 1] = placed_us[:, None] + np.cumsum(gaps, axis=1).astype(np.int64)
    closing_us = (_CLOSING_DAYS * DAY_US * _lognormal(rng, _CLOSING_SIGMA, orders)).astype(np.int64)
    planned[:, CLOSED] = planned[:, SHIPPED] + closing_us
    # a priced order is approved, made and shipped in working hours of the day
    day, rest = np.divmod(planned[:, APPROVED:], DAY_US)
    in_shift = day * DAY_US + (rest * _SHIFT + DAY_US * _OPENING).astype(np.int64)
    planned[:, APPROVED:] = np.where(planned[:, APPROVED:] < until_us, np.minimum(in_shift, until_us), in_shift)
    return np.maximum.accumulate(planned, axis=1)


def _stages(rng: np.random.Generator, planned: IntArray, is_open: Flags, until_us: int) -> IntArray:
    """The stage that each order has reached at the end."""
    orders = len(planned)
    finished = np.where(planned[:, CLOSED] <= until_us, CLOSED, SHIPPED)
    reached = (planned <= until_us).sum(axis=1) - 1
    stuck = rng.choice(_STUCK_AT[0], orders, p=_STUCK_AT[1])
    standing = np.where(reached >= SHIPPED, stuck, np.clip(reached, PRICED, PACKED))
    standing[rng.random(orders) < UNPRICED_SHARE] = 0
    # priced in its first minutes, were it ever so new
    planned[is_open, PRICED] = np.minimum(planned[is_open, PRICED], until_us)
    return np.where(is_open, standing, finished)


def _detours(rng: np.random.Generator, at_us: IntArray, happened: Flags, planned: IntArray, stage: IntArray) -> None:
    """Add rework and holds that are over, in place."""
    orders = len(stage)
    again = (stage >= PACKED) & (rng.random(orders) < _REWORKED_SHARE)
    happened[:, REWORK] = happened[:, REWORKED] = again
    at_us[:, REWORK] = _share_of(planned, COMPLETED, 0.3)
    at_us[:, REWORKED] = _share_of(planned, COMPLETED, 0.8)
    held = (stage >= APPROVED) & (rng.random(orders) < _ONCE_HELD_SHARE)
    happened[:, HELD_ONCE] = happened[:, RELEASED] = held
    at_us[:, HELD_ONCE] = _share_of(planned, PRICED, 0.2)
    at_us[:, RELEASED] = _share_of(planned, PRICED, 0.7)


def _open_ones(  # noqa: PLR0917 - what was drawn, and where it goes
    rng: np.random.Generator,
    at_us: IntArray,
    happened: Flags,
    planned: IntArray,
    stage: IntArray,
    is_open: Flags,
    until_us: int,
) -> None:
    """Add what stands in queues, is worked on or waits, in place; what is not priced waits for a person."""
    orders = len(stage)
    priced = is_open & (stage >= PRICED)
    assigned = priced & (rng.random(orders) >= UNASSIGNED_SHARE)
    happened[:, ASSIGNED] = assigned
    at_us[:, ASSIGNED] = np.where(stage >= APPROVED, planned[:, APPROVED], planned[:, PRICED])
    happened[:, CLAIMED] = assigned & (stage >= STARTED) & (rng.random(orders) < CLAIMED_SHARE)
    at_us[:, CLAIMED] = planned[:, STARTED]
    happened[:, HELD] = is_open & ((stage == 0) | (rng.random(orders) < HELD_SHARE))
    standing_us = planned[np.arange(orders), stage]
    at_us[:, HELD] = standing_us + ((until_us - standing_us) * 0.3).astype(np.int64)


def _between(planned: IntArray, stage: IntArray, share: Floats) -> IntArray:
    rows = np.arange(len(stage))
    start, end = planned[rows, stage], planned[rows, np.minimum(stage + 1, CLOSED)]
    between: IntArray = start + ((end - start) * share).astype(np.int64)
    return between


def _share_of(planned: IntArray, stage: int, share: float) -> IntArray:
    between: IntArray = planned[:, stage] + ((planned[:, stage + 1] - planned[:, stage]) * share).astype(np.int64)
    return between


def _last(flags: Flags) -> IntArray:
    last: IntArray = flags.shape[1] - 1 - np.argmax(flags[:, ::-1], axis=1)
    return last


def _lognormal(rng: np.random.Generator, sigma: float, size: int) -> Floats:
    return np.exp(rng.normal(0.0, sigma, size))
