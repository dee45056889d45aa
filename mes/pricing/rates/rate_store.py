"""Keeps rate cards in the database, each version once, for ever: old quotes name them."""

import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, time
from typing import Any

from sqlalchemy import Connection, Row, text
from sqlalchemy.exc import IntegrityError

from mes.db import query
from mes.errors import MesError
from mes.pricing.rates.rate_card import RateCard

# cards become active one transaction after the other, so that "activated last" is the same for all; the number is ours
ACTIVATION_LOCK = 7_203_398

_KEPT: dict[str, RateCard] = {}


class NoSuchRateCard(MesError):
    """No rate card with this id is stored; `mes rates list` shows all."""

    code, http_status = "no_such_rate_card", 404


class NotADraft(MesError):
    """This rate card is active, so prices may have been made with it: it stays. Load one that takes its place."""

    code, http_status = "not_a_draft", 409


class RateCardInUse(MesError):
    """A quote names this rate card, so it stays for ever."""

    code, http_status = "rate_card_in_use", 409


class RatesMoved(MesError):
    """Other rate cards were activated while you looked at the changes. Nothing was stored; look again."""

    code, http_status = "rates_moved", 409


@dataclass(frozen=True, slots=True)
class StoredCard:
    """A card as it is kept; `activated_at` is None for a draft, which nothing is priced with."""

    card_id: str
    card: RateCard
    loaded_at: datetime
    activated_at: datetime | None


# the column tells when a card ends, as that may change after it was stored
VALID_AT = """
    select rate_card_id from ops.rate_cards
    where activated_at is not null and valid_from <= :at and coalesce(valid_to > :at, true)
    order by valid_from desc, activated_at desc, rate_card_id desc limit 1
"""
"""SQL for the version of the card that is valid at a time, in a statement of its own or in another."""

_CARD = "card || jsonb_build_object('valid_to', cast(valid_to at time zone 'UTC' as date))"
_STORED = f"select rate_card_id, {_CARD} as card, loaded_at, activated_at from ops.rate_cards"
_LOAD = text("""
    insert into ops.rate_cards as kept (rate_card_id, name, valid_from, valid_to, card, activated_at)
    select id, name, valid_from, valid_to, card, case when not :draft then clock.now end
    from (select clock_timestamp() as now) as clock
    cross join jsonb_to_recordset(cast(:cards as jsonb))
        as given (id text, name text, valid_from timestamptz, valid_to timestamptz, card jsonb)
    on conflict (rate_card_id) do update set
        valid_to = excluded.valid_to, activated_at = coalesce(kept.activated_at, excluded.activated_at)
    where kept.activated_at is null or (not :draft and kept.valid_to is distinct from excluded.valid_to)
    returning xmax = 0 as is_new
""")


def load(conn: Connection, cards: Iterable[RateCard], *, draft: bool = False) -> int:
    """Store cards and activate them, or store them as drafts; gives how many were not there yet.

    A card that is there already takes its end of validity over, and is activated if it was a draft. As a draft it
    changes nothing of a card that is active.
    """
    given = {card.version: card for card in cards}
    if not draft:
        hold_activations(conn)
    rows = [
        {
            "id": version,
            "name": card.name,
            "valid_from": _midnight(card.valid_from),
            "valid_to": _midnight(card.valid_to) if card.valid_to else None,
            "card": card.model_dump(mode="json"),
        }
        for version, card in given.items()
    ]
    stored = conn.execute(_LOAD, {"cards": json.dumps(rows, default=datetime.isoformat), "draft": draft})
    return sum(row.is_new for row in stored)


def activate(conn: Connection, *card_ids: str) -> int:
    """Let drafts be priced with from now on; gives how many were drafts, as one that is active already stays as it is.

    Quotes that were made stay as they are, even where the card's validity begins in the past.

    Raises:
        NoSuchRateCard: one of them is not stored; none was activated.
    """
    hold_activations(conn)
    for card_id in card_ids:
        stored(conn, card_id)
    return conn.execute(
        text("""
            update ops.rate_cards set activated_at = clock.now from (select clock_timestamp() as now) as clock
            where rate_card_id = any(:ids) and activated_at is null
        """),
        {"ids": list(card_ids)},
    ).rowcount


def discard(conn: Connection, card_id: str) -> None:
    """Delete a draft.

    Raises:
        NoSuchRateCard: it is not stored.
        NotADraft: it is active.
        RateCardInUse: a quote names it.
    """
    hold_activations(conn)
    if stored(conn, card_id).activated_at is not None:
        raise NotADraft(rate_card=card_id)
    try:
        with conn.begin_nested():
            conn.execute(text("delete from ops.rate_cards where rate_card_id = :id"), {"id": card_id})
    except IntegrityError as error:
        raise RateCardInUse(rate_card=card_id) from error


def drafts(conn: Connection) -> list[StoredCard]:
    """The cards that wait to be activated, oldest validity first."""
    return _read(conn, "activated_at is null")


def everything(conn: Connection) -> list[StoredCard]:
    """All cards, drafts too, oldest validity first; of two for the same day, the one activated last comes last."""
    return _read(conn, "true")


def stored(conn: Connection, card_id: str) -> StoredCard:
    """One card, which may be a draft.

    Raises:
        NoSuchRateCard: it is not stored.
    """
    row = conn.execute(text(f"{_STORED} where rate_card_id = :id"), {"id": card_id}).one_or_none()
    if row is None:
        raise NoSuchRateCard(rate_card=card_id)
    return _stored(row)


def last_activation(conn: Connection) -> tuple[str, datetime] | None:
    """Which card was activated last, and when; of several at once, the one whose validity begins last.

    The time grows with every activation that commits, so a sensor can keep it as its cursor.
    """
    row = conn.execute(
        text("""
            select rate_card_id, activated_at from ops.rate_cards where activated_at is not null
            order by activated_at desc, valid_from desc limit 1
        """)
    ).one_or_none()
    return (row.rate_card_id, row.activated_at) if row is not None else None


def hold_activations(conn: Connection) -> None:
    """Keep others from activating or discarding cards until the transaction ends."""
    conn.execute(text("select pg_advisory_xact_lock(:key)"), {"key": ACTIVATION_LOCK})


def require_unmoved(conn: Connection, last: tuple[str, datetime] | None) -> None:
    """Refuse where another activation came after `last`; from then on, hold others off until the transaction ends.

    Raises:
        RatesMoved: another card was activated since.
    """
    hold_activations(conn)
    if last_activation(conn) != last:
        raise RatesMoved


def by_id(conn: Connection, ids: Sequence[str]) -> dict[str, RateCard]:
    """The active cards with these versions."""
    rows = conn.execute(
        text(
            "select rate_card_id, card from ops.rate_cards where rate_card_id = any(:ids) and activated_at is not null"
        ),
        {"ids": list(ids)},
    )
    return {str(card_id): RateCard.model_validate(card) for card_id, card in rows}


def id_valid_at(conn: Connection, at: datetime) -> str | None:
    """The version of the active card that is valid at a time; of two, the one that began or was activated last."""
    row = conn.execute(text(VALID_AT), {"at": at}).one_or_none()
    return row.rate_card_id if row is not None else None


def kept(conn: Connection, card_id: str) -> RateCard:
    """The active card with this version; once read it is kept, since a version never changes its rates.

    Raises:
        NoSuchRateCard: no active card has it.
    """
    if card_id not in _KEPT:
        _KEPT.update(by_id(conn, [card_id]))
    if card_id not in _KEPT:
        raise NoSuchRateCard(rate_card=card_id)
    return _KEPT[card_id]


def every(conn: Connection) -> list[RateCard]:
    """All active cards, oldest validity first; of two for the same day, the one activated last comes last."""
    return [active.card for active in _read(conn, "activated_at is not null")]


def every_if_migrated(conn: Connection) -> list[RateCard]:
    """All active cards; none where the database has no tables yet, and all where its tables know no drafts yet."""
    if not query.flag(conn, "select to_regclass('ops.rate_cards') is not null"):
        return []
    knows_drafts = """
        select exists (
            select from pg_attribute where attrelid = to_regclass('ops.rate_cards') and attname = 'activated_at'
        )
    """
    if query.flag(conn, knows_drafts):
        return every(conn)
    rows = conn.execute(text(f"select {_CARD} from ops.rate_cards order by valid_from, loaded_at"))
    return [RateCard.model_validate(card) for (card,) in rows]


def is_empty(conn: Connection) -> bool:
    """Whether no card is active yet."""
    return query.flag(conn, "select not exists (select from ops.rate_cards where activated_at is not null)")


def _read(conn: Connection, which: str) -> list[StoredCard]:
    rows = conn.execute(text(f"{_STORED} where {which} order by valid_from, activated_at nulls last, rate_card_id"))
    return [_stored(row) for row in rows]


def _stored(row: Row[Any]) -> StoredCard:
    return StoredCard(row.rate_card_id, RateCard.model_validate(row.card), row.loaded_at, row.activated_at)


def _midnight(day: date) -> datetime:
    return datetime.combine(day, time(), UTC)
