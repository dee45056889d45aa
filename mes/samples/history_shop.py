"""Says who buys from a generated workshop and who works there: what all batches of its history share."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from mes.samples import history_words
from mes.samples.copy_rows import Bytes, Coded, Columns, Fields, IntArray, fixed, numbered, texts, times
from mes.samples.demand import DAY_S, TIERS
from mes.samples.history_plan import US, History, uuid7
from mes.samples.history_prices import Catalogue

SOURCES = ("shop", "crm")
# (share of the customers, share of the orders, exponent of Zipf, share that buys by the CRM), by tier
_CUSTOMERS = ((0.92, 0.62, 0.3, 0.08), (0.05, 0.08, 0.4, 0.2), (0.03, 0.30, 1.0, 0.6))
_DAY_US = DAY_S * US
# streams of random numbers
_IDS, _NAMES, _SOURCES_DRAWN = 4, 5, 6


@dataclass(frozen=True)
class Shop:
    """What all batches share: the history, what it sells, and who buys and works."""

    history: History
    catalogue: Catalogue

    @cached_property
    def tier_starts(self) -> IntArray:
        """Number of the first customer of each tier, and of all at the end."""
        counts = [max(1, round(share * self.history.customers)) for share, *_ in _CUSTOMERS[1:]]
        return np.cumsum([0, max(1, self.history.customers - sum(counts)), *counts])

    @cached_property
    def customer_tier(self) -> IntArray:
        """Each customer's tier, a position in `TIERS`."""
        return np.repeat(np.arange(len(TIERS)), np.diff(self.tier_starts))

    @cached_property
    def customer_source(self) -> IntArray:
        """Where each customer orders, a position in `SOURCES`."""
        shares = np.array([by_crm for *_, by_crm in _CUSTOMERS])[self.customer_tier]
        found: IntArray = (self.history.stream(_SOURCES_DRAWN).random(len(shares)) < shares).astype(np.int64)
        return found

    @cached_property
    def customer_ids(self) -> Bytes:
        """Ids, (customers, 16); all were customers before the first order."""
        return uuid7(self.history.stream(_IDS), self.customer_since_us)

    @cached_property
    def customer_since_us(self) -> IntArray:
        """When they became customers, within the year before; later numbers later."""
        count, start = int(self.tier_starts[-1]), round(self.history.since.timestamp()) * US
        spread: IntArray = start - 365 * _DAY_US + np.arange(count) * (364 * _DAY_US // count)
        return spread

    @cached_property
    def zipf(self) -> Sequence[NDArray[np.float64]]:
        """Cumulated weights of each tier's customers: a few of them order much."""
        weights = [
            1.0 / np.arange(1, size + 1) ** skew
            for size, skew in zip(np.diff(self.tier_starts), [skew for _, _, skew, _ in _CUSTOMERS], strict=True)
        ]
        return [np.cumsum(weight) / weight.sum() for weight in weights]

    @cached_property
    def operators(self) -> Fields:
        """Names of the operators; the last one is nobody."""
        return texts([*history_words.operators(self.history.operators), None])

    def customers(self) -> Columns:
        """All customers' rows."""
        count = int(self.tier_starts[-1])
        numbers = np.arange(count)
        persons, companies = history_words.people(), history_words.companies()
        rng = self.history.stream(_NAMES)
        is_company = self.customer_tier == TIERS.index("b2b")
        chosen = np.where(is_company, len(persons) + numbers % len(companies), rng.integers(0, len(persons), count))
        return {
            "customer_id": fixed(self.customer_ids),
            "source": Coded(texts(SOURCES), self.customer_source),
            "external_id": numbered(f"{self.history.prefix}C", numbers + 1, 7),
            "name": Coded(texts([*persons, *companies]), chosen),
            "tier": Coded(texts(TIERS), self.customer_tier),
            "exported_at": times(np.full(count, self.history.until_us)),
            "created_at": times(self.customer_since_us),
        }

    def buyers(self, rng: np.random.Generator, orders: int) -> IntArray:
        """Draw who places each of so many orders: customers' numbers, from 0."""
        tier = rng.choice(len(TIERS), orders, p=[share for _, share, _, _ in _CUSTOMERS])
        chance, buyer = rng.random(orders), np.empty(orders, np.int64)
        for number, (start, weights) in enumerate(zip(self.tier_starts[:-1], self.zipf, strict=True)):
            ours = tier == number
            buyer[ours] = start + np.minimum(np.searchsorted(weights, chance[ours], side="right"), len(weights) - 1)
        return buyer
