"""Draws who orders what and when: growth, weeks, feasts, and customers of whom few order much."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from mes.samples.catalogue import SampleModel
from mes.samples.meshes import FloatArray, IntArray

HISTORY_DAYS = 548  # 18 months
GROWTH = 7.0  # orders a day at the end, as a multiple of those at the beginning; compound
HOUR_S, DAY_S = 3600, 86_400

TIERS = ("retail", "vip", "b2b")
TIER_SHARES = (0.62, 0.08, 0.30)
RUSH_SHARE = 0.12
# (tier, letter of its ids, orders per customer, how unequal its customers are)
_CUSTOMERS = (("retail", "R", 1.6, 0.3), ("vip", "V", 7.0, 0.4), ("b2b", "P", 36.0, 0.8))

MATERIALS = ("silver925", "gold585", "gold750", "platinum950")
MATERIAL_SHARES = (0.46, 0.30, 0.16, 0.08)
FINISHES = ("polished", "satin", "sandblasted", "plated")
FINISH_SHARES = (0.55, 0.22, 0.11, 0.12)
DENSITY_G_CM3 = (10.36, 13.07, 15.45, 20.70)
SOLD_USD_PER_G = (4.0, 95.0, 120.0, 70.0)
LABOUR_USD = 55.0
B2B_DISCOUNT = 0.85

# Monday first; partners order in the week, retail customers on Sunday evenings too
_WEEK = np.array([1.15, 1.1, 1.05, 1.0, 0.95, 0.7, 1.05])
# by hour, UTC
_HOURS = np.array([2, 1, 1, 1, 1, 2, 3, 5, 8, 10, 11, 11, 10, 10, 11, 11, 10, 10, 10, 11, 12, 11, 8, 4], dtype=float)
# (day of the year on which most is ordered, extra demand, spread in days): the feast less the time a piece takes
_FEASTS = ((336, 1.1, 13.0), (27, 0.6, 8.0), (120, 0.4, 9.0), (160, 0.25, 20.0))


@dataclass(frozen=True)
class Demand:
    """Orders as placed, oldest first; every array has one entry per order, times are seconds since 1970 UTC."""

    placed_s: IntArray
    tier: NDArray[np.str_]
    customer: NDArray[np.str_]
    source: NDArray[np.str_]
    rush: NDArray[np.bool_]


@dataclass(frozen=True)
class Items:
    """What the orders consist of: every array has one entry per item, in the orders' sequence.

    `order` is the order's index, `model`, `material` and `finish` index the catalogue, `MATERIALS` and `FINISHES`;
    `longest_side_mm` is NaN where the model is made as drawn; `paid_usd` is for the whole line.
    """

    order: IntArray
    line: IntArray
    model: IntArray
    material: IntArray
    finish: IntArray
    quantity: IntArray
    longest_side_mm: FloatArray
    paid_usd: FloatArray


def draw_demand(rng: np.random.Generator, orders: int, now_s: int) -> Demand:
    """Draw `orders` orders over the 18 months before `now_s`."""
    placed_s = _placed(rng, orders, now_s)
    tier = rng.choice(TIERS, size=orders, p=TIER_SHARES)
    customer = np.empty(orders, dtype="<U16")
    for name, letter, per_customer, skew in _CUSTOMERS:
        chosen = tier == name
        customer[chosen] = _customers(rng, int(chosen.sum()), letter, per_customer, skew)
    # partners order through sales, now and then by the shop's API; some retail customers call
    by_crm = rng.random(orders) < np.select([tier == "b2b", tier == "vip"], [0.6, 0.2], 0.08)
    rush = rng.random(orders) < RUSH_SHARE
    return Demand(placed_s, tier, customer, np.where(by_crm, "crm", "shop"), rush)


def draw_items(rng: np.random.Generator, demand: Demand, models: Sequence[SampleModel]) -> Items:
    """Draw one to three items for every order, and what was paid for them."""
    count = rng.choice([1, 2, 3], size=len(demand.placed_s), p=[0.72, 0.20, 0.08])
    order = np.repeat(np.arange(len(count)), count)
    line = np.arange(len(order)) - np.repeat(np.cumsum(count) - count, count) + 1
    popularity = np.array([model.popularity for model in models])
    model = rng.choice(len(models), size=len(order), p=popularity / popularity.sum())
    material = rng.choice(len(MATERIALS), size=len(order), p=MATERIAL_SHARES)
    finish = rng.choice(len(FINISHES), size=len(order), p=FINISH_SHARES)
    partner = demand.tier[order] == "b2b"
    quantity = np.where(partner, 1 + rng.geometric(0.3, len(order)), 1 + (rng.random(len(order)) < 0.09))
    drawn_mm = np.array([model.longest_side_mm for model in models])[model]
    asked_mm = np.round(2 * drawn_mm * rng.uniform(0.9, 1.15, len(order))) / 2
    size_mm = np.where(rng.random(len(order)) < 0.45, np.nan, asked_mm)
    scale = np.where(np.isnan(size_mm), 1.0, size_mm / drawn_mm)
    volume_mm3 = np.array([model.volume_mm3 for model in models])[model] * scale**3
    grams = volume_mm3 / 1000 * np.array(DENSITY_G_CM3)[material]
    piece_usd = (LABOUR_USD + grams * np.array(SOLD_USD_PER_G)[material]) * np.where(partner, B2B_DISCOUNT, 1.0)
    return Items(order, line, model, material, finish, quantity, size_mm, np.round(piece_usd * quantity, 2))


def _placed(rng: np.random.Generator, orders: int, now_s: int) -> IntArray:
    """Times of purchase: hours drawn by their weight, then a second within the hour."""
    starts = now_s - HOUR_S * np.arange(HISTORY_DAYS * 24, 0, -1)
    hour = rng.choice(starts, size=orders, p=hour_weights(starts))
    return np.sort(hour + rng.integers(0, HOUR_S, orders))


def hour_weights(starts_s: IntArray) -> FloatArray:
    """The share of orders that each of the hours from `starts_s` (since 1970) brings: growth, feasts, weeks, days."""
    days = starts_s // DAY_S
    dates = days.astype("datetime64[D]")
    day_of_year = (dates - dates.astype("datetime64[Y]")).astype(np.int64)
    season = np.ones(len(starts_s))
    for peak, extra, spread in _FEASTS:
        away = np.abs(day_of_year - peak)
        season += extra * np.exp(-((np.minimum(away, 365 - away) / spread) ** 2))
    growth = np.geomspace(1.0, GROWTH, len(starts_s))
    # 1970-01-01 was a Thursday
    weights = growth * season * _WEEK[(days + 3) % 7] * _HOURS[starts_s // HOUR_S % 24]
    shares: FloatArray = weights / weights.sum()
    return shares


def _customers(
    rng: np.random.Generator, orders: int, letter: str, orders_per_customer: float, skew: float
) -> NDArray[np.str_]:
    """Ids such as `P-0007`, drawn with Zipf weights of exponent `skew`: a few order much, most seldom."""
    pool = max(3, round(orders / orders_per_customer))
    weights = 1.0 / np.arange(3, pool + 3) ** skew
    numbers = rng.choice(rng.permutation(pool) + 1, size=orders, p=weights / weights.sum())
    return np.array([f"{letter}-{number:04d}" for number in numbers.tolist()], dtype="<U16")
