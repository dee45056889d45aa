"""Works out which rate card holds on which days, to show gaps and overlaps before a card is activated."""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import date
from heapq import heappop, heappush
from itertools import groupby

from mes.pricing.rates.rate_card import RateCard


@dataclass(frozen=True, slots=True)
class Span:
    """Days from `start` until before `end` (None: for ever) that `card` holds; None where no card does."""

    start: date
    end: date | None
    card: RateCard | None


def together(stored: Iterable[RateCard], cards: Iterable[RateCard]) -> list[RateCard]:
    """All cards once `cards` are active: new ones come last, known ones take their end over and keep their place."""
    return list(({card.version: card for card in stored} | {card.version: card for card in cards}).values())


def spans(cards: Sequence[RateCard]) -> list[Span]:
    """Who holds when, from the first card on: of cards that overlap, the one that began last, then the last given."""
    days = sorted({day for card in cards for day in (card.valid_from, card.valid_to) if day is not None})
    ends = [*days[1:], None]
    held = [Span(*parts) for parts in zip(days, ends, _holders(cards, days), strict=False)]  # no card: no day, an end
    same_holder = groupby(held, key=lambda span: span.card.version if span.card else None)
    return [_joined(list(pieces)) for _, pieces in same_holder]


def _holders(cards: Sequence[RateCard], days: Sequence[date]) -> Iterator[RateCard | None]:
    """The card that holds from each day on; a heap keeps the cards that began, the one that began last on top."""
    waiting = sorted(range(len(cards)), key=lambda place: cards[place].valid_from, reverse=True)
    begun: list[tuple[int, int]] = []
    for day in days:
        while waiting and cards[waiting[-1]].valid_from <= day:
            place = waiting.pop()
            heappush(begun, (-cards[place].valid_from.toordinal(), -place))
        while begun and (end := cards[-begun[0][1]].valid_to) is not None and end <= day:
            heappop(begun)
        yield cards[-begun[0][1]] if begun else None


def _joined(pieces: Sequence[Span]) -> Span:
    return Span(pieces[0].start, pieces[-1].end, pieces[0].card)
