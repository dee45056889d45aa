"""Walks generated orders through their life, so that the export shows a workshop at work and not a table of noise."""

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from mes.samples.demand import DAY_S, HOUR_S, Demand
from mes.samples.meshes import FloatArray, IntArray

# in the sequence of an order's life; an order is placed SUBMITTED
STAGES = (
    "SUBMITTED",
    "PRICE_CALCULATED",
    "MANUFACTURING_APPROVED",
    "MANUFACTURING_STARTED",
    "MANUFACTURING_COMPLETED",
    "PACKAGING",
    "SHIPPED",
    "CLOSED",
)
CANCELLED = "CANCELLED"
PRICED, APPROVED, STARTED, COMPLETED, PACKED, SHIPPED, CLOSED = range(1, 8)
NOT_YET = np.iinfo(np.int64).max

OPEN_SHARE = 0.165  # of all orders; by Little's law the lead time follows from it and from the demand
CANCELLED_SHARE = 0.033
# medians of the times from one stage to the next up to SHIPPED, as shares of the lead time, and their sigmas (log)
_STAGE_SHARES = (0.0002, 0.10, 0.42, 0.26, 0.08, 0.06)
_STAGE_SIGMAS = (0.9, 0.7, 0.3, 0.35, 0.5, 0.5)
# a model that somebody has to look at first is not priced within minutes but within days
_HARD_TO_PRICE, _HARD_SHARE = 0.18, 0.07
_CLOSING_DAYS, _CLOSING_SIGMA = 12.0, 0.4
_RUSH_FACTOR = 0.6
_PROMISED = np.array([0.75, 0.85, 0.95, 1.1])  # promised lead times, as shares of the usual one
_PACE = 0.9  # the workshop plans to be ready a little before the promised day
_SHIFT_START_H, _SHIFT_END_H = 7, 17
_SUNDAY = 6


@dataclass(frozen=True)
class Lives:
    """What became of the orders; times are seconds since 1970 UTC, `NOT_YET` where it has not happened.

    `reached_s` is (orders, stages); `status` is where each order really is.
    """

    reached_s: IntArray
    cancelled_s: IntArray
    due_s: IntArray
    status: NDArray[np.str_]

    @property
    def updated_s(self) -> IntArray:
        """Time of each order's last fact."""
        known = np.concatenate([self.reached_s, self.cancelled_s[:, None]], axis=1)
        latest: IntArray = np.where(known == NOT_YET, 0, known).max(axis=1)
        return latest


def draw_lives(rng: np.random.Generator, demand: Demand, now_s: int) -> Lives:
    """Draw every order's life up to `now_s`; nothing happens later than that."""
    lead_s = float(np.quantile(now_s - demand.placed_s, OPEN_SHARE))
    promised_s = lead_s * rng.choice(_PROMISED, size=len(demand.rush)) * np.where(demand.rush, _RUSH_FACTOR, 1.0)
    planned = _planned(rng, demand, promised_s)
    cancelled_s = _cut_short(rng, planned, lead_s, now_s)
    reached_s = np.where(planned <= now_s, planned, NOT_YET)
    last = (reached_s != NOT_YET).sum(axis=1) - 1
    status = np.where(cancelled_s == NOT_YET, np.array(STAGES)[last], CANCELLED)
    due_day = (demand.placed_s + promised_s.astype(np.int64)) // DAY_S + 2
    return Lives(reached_s, cancelled_s, due_day * DAY_S, status)


def ship_before_approval(rng: np.random.Generator, lives: Lives, count: int) -> Lives:
    """The same lives, but sales approved `count` of the closed orders only after they had been shipped."""
    spare_s = lives.reached_s[:, CLOSED] - lives.reached_s[:, SHIPPED]
    closed = np.flatnonzero((lives.status == "CLOSED") & (spare_s > DAY_S))
    chosen = rng.choice(closed, size=min(count, len(closed)), replace=False)
    reached_s = lives.reached_s.copy()
    reached_s[chosen, APPROVED] = reached_s[chosen, SHIPPED] + rng.integers(HOUR_S, 20 * HOUR_S, len(chosen))
    return replace(lives, reached_s=reached_s)


def cancel_after_shipping(rng: np.random.Generator, lives: Lives, count: int, now_s: int) -> Lives:
    """The same lives, but for `count` shipped orders sales wrote a cancellation that came too late to count."""
    shipped_s = lives.reached_s[:, SHIPPED]
    shipped = np.flatnonzero((lives.status == "SHIPPED") & (shipped_s < now_s - DAY_S))
    chosen = rng.choice(shipped, size=min(count, len(shipped)), replace=False)
    cancelled_s = lives.cancelled_s.copy()
    cancelled_s[chosen] = shipped_s[chosen] + rng.integers(HOUR_S, DAY_S, len(chosen))
    return replace(lives, cancelled_s=cancelled_s)


def never_accepted(lives: Lives, demand: Demand, orders: IntArray) -> Lives:
    """The same lives, but `orders` (indexes) got no further than being placed."""
    reached_s, cancelled_s, status = lives.reached_s.copy(), lives.cancelled_s.copy(), lives.status.copy()
    reached_s[orders] = NOT_YET
    reached_s[orders, 0] = demand.placed_s[orders]
    cancelled_s[orders], status[orders] = NOT_YET, STAGES[0]
    return replace(lives, reached_s=reached_s, cancelled_s=cancelled_s, status=status)


def _planned(rng: np.random.Generator, demand: Demand, promised_s: FloatArray) -> IntArray:
    """When each stage would be reached if nobody cancelled: (orders, stages)."""
    orders = len(demand.placed_s)
    # one factor for the whole order: a difficult piece is slow at every bench
    pace = _PACE * promised_s * _lognormal(rng, 0.15, orders)
    planned = np.empty((orders, len(STAGES)), dtype=np.int64)
    planned[:, 0] = demand.placed_s
    for stage, (share, sigma) in enumerate(zip(_STAGE_SHARES, _STAGE_SIGMAS, strict=True), start=1):
        shares = np.where(rng.random(orders) < _HARD_TO_PRICE, _HARD_SHARE, share) if stage == PRICED else share
        done = planned[:, stage - 1] + _at_least_a_minute(shares * pace * _lognormal(rng, sigma, orders))
        planned[:, stage] = _within_shift(rng, done) if stage >= APPROVED else done
    closing = _at_least_a_minute(_CLOSING_DAYS * DAY_S * _lognormal(rng, _CLOSING_SIGMA, orders))
    planned[:, CLOSED] = _within_shift(rng, planned[:, SHIPPED] + closing)
    return planned


def _cut_short(rng: np.random.Generator, planned: IntArray, lead_s: float, now_s: int) -> IntArray:
    """Cancel some orders, in place: stages after the cancellation are never reached; gives the times of it."""
    orders = len(planned)
    after = rng.choice([0, PRICED, APPROVED, STARTED], size=orders, p=[0.25, 0.4, 0.25, 0.1])
    wait_s = _at_least_a_minute(0.08 * lead_s * _lognormal(rng, 0.7, orders))
    at = planned[np.arange(orders), after] + wait_s
    meant = rng.random(orders) < CANCELLED_SHARE
    planned[meant[:, None] & (np.arange(len(STAGES)) > after[:, None])] = NOT_YET
    return np.where(meant & (at <= now_s), at, NOT_YET)


def _lognormal(rng: np.random.Generator, sigma: float, size: int) -> FloatArray:
    return np.exp(rng.normal(0.0, sigma, size))


def _at_least_a_minute(seconds: FloatArray) -> IntArray:
    return np.maximum(seconds, 60.0).astype(np.int64)


def _within_shift(rng: np.random.Generator, times_s: IntArray) -> IntArray:
    """Move times to the next working moment, Monday to Saturday, and a little on, so that not all fall on the bell."""
    days, second = times_s // DAY_S, times_s % DAY_S
    early, late = second < _SHIFT_START_H * HOUR_S, second >= _SHIFT_END_H * HOUR_S
    day = days + late
    sunday = (day + 3) % 7 == _SUNDAY  # 1970-01-01 was a Thursday
    opening = (day + sunday) * DAY_S + _SHIFT_START_H * HOUR_S
    moved = np.where(early | late | sunday, opening, times_s)
    return moved + rng.integers(0, HOUR_S, len(times_s))
