"""Keeps rate cards in the database, each version once, for ever: old quotes name them."""

import json
from collections.abc import Iterable, Sequence
from datetime import UTC, date, datetime, time

from sqlalchemy import Connection, text

from mes.db import query
from mes.pricing.rate_card import RateCard

_KEPT: dict[str, RateCard] = {}


def load(conn: Connection, cards: Iterable[RateCard]) -> int:
    """Store cards; one that is there already only takes its end of validity over. Gives how many were new."""
    new = 0
    for card in cards:
        inserted = conn.execute(
            text("""
                insert into ops.rate_cards as kept (rate_card_id, name, valid_from, valid_to, card)
                values (:id, :name, :valid_from, :valid_to, cast(:card as jsonb))
                on conflict (rate_card_id) do update set valid_to = excluded.valid_to
                    where kept.valid_to is distinct from excluded.valid_to
                returning xmax = 0 as is_new
            """),
            {
                "id": card.version,
                "name": card.name,
                "valid_from": _midnight(card.valid_from),
                "valid_to": _midnight(card.valid_to) if card.valid_to else None,
                "card": json.dumps(card.model_dump(mode="json")),
            },
        ).one_or_none()
        new += bool(inserted and inserted.is_new)
    return new


def by_id(conn: Connection, ids: Sequence[str]) -> dict[str, RateCard]:
    """The cards with these versions."""
    rows = conn.execute(
        text("select rate_card_id, card from ops.rate_cards where rate_card_id = any(:ids)"), {"ids": list(ids)}
    )
    return {str(card_id): RateCard.model_validate(card) for card_id, card in rows}


def id_valid_at(conn: Connection, at: datetime) -> str | None:
    """The version of the card that is valid at a time; of two, the one that began or was loaded last."""
    row = conn.execute(
        text("""
            select rate_card_id from ops.rate_cards
            where valid_from <= :at and coalesce(valid_to > :at, true)
            order by valid_from desc, loaded_at desc limit 1
        """),
        {"at": at},
    ).one_or_none()
    return row.rate_card_id if row is not None else None


def kept(conn: Connection, card_id: str) -> RateCard:
    """The card with this version; once read it is kept, since a version never changes its rates."""
    if card_id not in _KEPT:
        _KEPT.update(by_id(conn, [card_id]))
    return _KEPT[card_id]


def every(conn: Connection) -> list[RateCard]:
    """All cards, oldest validity first; of two for the same day, the one loaded last comes last."""
    rows = conn.execute(text("select card from ops.rate_cards order by valid_from, loaded_at"))
    return [RateCard.model_validate(card) for (card,) in rows]


def every_if_migrated(conn: Connection) -> list[RateCard]:
    """All cards; none where the database has no tables yet."""
    return every(conn) if query.flag(conn, "select to_regclass('ops.rate_cards') is not null") else []


def is_empty(conn: Connection) -> bool:
    """Whether no card was loaded yet."""
    return query.flag(conn, "select not exists (select from ops.rate_cards)")


def _midnight(day: date) -> datetime:
    return datetime.combine(day, time(), UTC)
