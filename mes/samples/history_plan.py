"""Plans a long generated history: who is asked for what, which order comes when, and which are still open."""

from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from mes.errors import MesError
from mes.samples.copy_rows import Bytes, IntArray
from mes.samples.demand import DAY_S, HOUR_S, hour_weights

# ten transactions at 500,000 orders; what a batch needs of memory, some 150 MB, and loses with a crash stays small
BATCH = 50_000
ORDERS_PER_CUSTOMER = 8
US = 1_000_000
LONGEST_YEARS, MOST_ORDERS, MOST_OPERATORS = 15, 50_000_000, 999
# the open ones are among the newest: how many times their number the newest are from which they are taken
_WINDOW = 1.6
# streams of random numbers: a run's own, beside those of its batches
_OPEN, _BATCH = 1, 3


class BadHistoryRequest(MesError):
    """A history like that cannot be generated."""

    code, http_status = "bad_history_request", 422


@dataclass(frozen=True)
class History:
    """What is to be generated; the same one gives the same rows. Nothing happens after `until`."""

    orders: int
    seed: int
    until: datetime
    open_share: float = 0.02
    years: int = 4
    operators: int = 40

    def __post_init__(self) -> None:
        """Refuse what cannot be.

        Raises:
            BadHistoryRequest: naming the option at fault.
        """
        wrong = {
            f"--orders must lie between 1 and {MOST_ORDERS:,}": not 1 <= self.orders <= MOST_ORDERS,
            "--seed must lie between 0 and 9999": not 0 <= self.seed <= 9999,
            "--open-share must lie between 0 and 1": not 0 <= self.open_share <= 1,
            f"--years must lie between 1 and {LONGEST_YEARS}": not 1 <= self.years <= LONGEST_YEARS,
            f"--operators must lie between 1 and {MOST_OPERATORS}": not 1 <= self.operators <= MOST_OPERATORS,
            "--until needs a time zone": self.until.tzinfo is None,
        }
        if faults := [words for words, is_so in wrong.items() if is_so]:
            raise BadHistoryRequest(f"{'; '.join(faults)}.")

    @property
    def prefix(self) -> str:
        """What the numbers of its orders and customers begin with; the seed is in it, so that seeds never meet."""
        return f"G{self.seed}-"

    @property
    def batches(self) -> int:
        """How many transactions its orders take."""
        return -(-self.orders // BATCH)

    @property
    def customers(self) -> int:
        """How many customers order."""
        return max(3, self.orders // ORDERS_PER_CUSTOMER)

    @property
    def open_orders(self) -> int:
        """How many orders are neither shipped nor closed nor cancelled."""
        return round(self.orders * self.open_share)

    @property
    def until_us(self) -> int:
        """The end, microseconds since 1970."""
        return round(self.until.timestamp()) * US

    @property
    def since(self) -> datetime:
        """Before the first order."""
        return self.until - timedelta(hours=self._hours)

    def stream(self, *of: int) -> np.random.Generator:
        """Random numbers of this history's own, other ones for each part of it."""
        share = round(self.open_share * 10**9)
        shape = (self.seed, self.orders, round(self.until.timestamp()), share, self.years, self.operators)
        return np.random.default_rng([*shape, *of])

    def rows(self, batch: int) -> IntArray:
        """The numbers of a batch's orders, from 0; the older, the lower."""
        return np.arange(batch * BATCH, min(self.orders, (batch + 1) * BATCH))

    def placed_us(self, batch: int) -> IntArray:
        """When a batch's orders are placed, oldest first, after the batches before: microseconds since 1970."""
        rows = self.rows(batch)
        share = (rows + self.batch_stream(batch, 0).random(len(rows))) / self.orders
        hour = np.clip(np.searchsorted(self._reached, share, side="right") - 1, 0, self._hours - 1)
        within = (share - self._reached[hour]) / (self._reached[hour + 1] - self._reached[hour])
        since_us = self.until_us - self._hours * HOUR_S * US
        return since_us + ((hour + np.minimum(within, 0.999)) * HOUR_S * US).astype(np.int64)

    def order_ids(self, batch: int, placed_us: IntArray) -> Bytes:
        """Ids of a batch's orders, (orders, 16), ascending."""
        return uuid7(self.batch_stream(batch, 1), placed_us)

    def is_open(self, batch: int) -> NDArray[np.bool_]:
        """Which of a batch's orders are open."""
        rows = self.rows(batch)
        window = self.orders - len(self._open)
        found = np.zeros(len(rows), np.bool_)
        newest = rows >= window
        found[newest] = self._open[rows[newest] - window]
        return found

    def batch_stream(self, batch: int, part: int) -> np.random.Generator:
        """Random numbers for a part of a batch."""
        return self.stream(_BATCH, batch, part)

    @cached_property
    def _open(self) -> NDArray[np.bool_]:
        """Of the newest orders: whether they are open; the newer, the likelier."""
        window = min(self.orders, max(self.open_orders, round(self.open_orders * _WINDOW)))
        age = np.arange(window)[::-1] / max(1, window)
        wait = age + self.stream(_OPEN).random(window) * 0.8
        found = np.zeros(window, np.bool_)
        found[np.argsort(wait, kind="stable")[: self.open_orders]] = True
        return found

    @property
    def _hours(self) -> int:
        return round(self.years * 365.25 * DAY_S / HOUR_S)

    @cached_property
    def _reached(self) -> NDArray[np.float64]:
        """The share of all orders that is placed before each hour, and at the end."""
        starts_s = round(self.until.timestamp()) - HOUR_S * np.arange(self._hours, 0, -1)
        return np.concatenate([[0.0], np.cumsum(hour_weights(starts_s))])


def uuid7(rng: np.random.Generator, at_us: IntArray, line: IntArray | None = None) -> Bytes:
    """UUIDs of version 7 (RFC 9562), (rows, 16): milliseconds, 12 bits of their fraction, then chance.

    Those of one moment ascend with `line`, from 0 to 3.
    """
    milliseconds, rest_us = np.divmod(at_us, 1000)
    high = (milliseconds.astype(np.uint64) << np.uint64(16)) | np.uint64(0x7000)
    high |= (rest_us * 4096 // 1000).astype(np.uint64)
    low = rng.integers(0, 2**60, len(at_us), dtype=np.uint64) | np.uint64(0x8000_0000_0000_0000)
    if line is not None:
        low |= line.astype(np.uint64) << np.uint64(60)
    parts = np.empty((len(at_us), 2), ">u8")
    parts[:, 0], parts[:, 1] = high, low
    return parts.view(np.uint8).reshape(len(at_us), 16)
