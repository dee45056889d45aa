"""Decides whether two statements of an order differ, and how; knows no database, so that all cases can be tried."""

from functools import cache

from mes.orders.life import MOVES, Status, System, find_move
from mes.reconciliation.model import Finding, Kind, Pair, Remedy

_NAMES = {"shop": "the shop", "crm": "the CRM"}
_Told = tuple[Kind, Remedy, str] | None


def judge(system: str, pair: Pair, *, expected_there: bool) -> Finding | None:
    """How the two differ; None when they agree, or when what they say cannot be compared.

    Args:
        system: who states it.
        pair: both sides.
        expected_there: whether the system states all orders of this source.
    """
    name = _NAMES.get(system, system)
    told = _presence(name, pair, expected_there=expected_there) if not (pair.order_id and pair.stated) else None
    if pair.order_id and pair.stated:
        told = _heard(name, pair) or _version(name, pair) or _status(system, name, pair)
    if told is None:
        return None
    kind, remedy, explanation = told
    return Finding(pair, kind, remedy, explanation)


def _presence(name: str, pair: Pair, *, expected_there: bool) -> _Told:
    if pair.order_id is None:
        stands = f"as {pair.their_status}" if pair.their_status else "and sent events about it"
        return Kind.MISSING_HERE, Remedy.PERSON, f"{_upper(name)} has this order {stands}; we do not know it."
    if not expected_there or pair.live_from is None:
        return None  # nobody told them of it: it is theirs to know, or history
    return (
        Kind.MISSING_THERE,
        Remedy.SNAPSHOT,
        f"We have this order as {pair.our_status}, version {pair.our_version}; {name} does not know it.",
    )


def _heard(name: str, pair: Pair) -> _Told:
    if pair.sent is None or pair.sent <= (pair.applied or 0):
        return None
    return (
        Kind.BEHIND_HERE,
        Remedy.PERSON,
        f"{_upper(name)} has sent {pair.sent} events about this order; we have applied {pair.applied or 0} of them.",
    )


def _version(name: str, pair: Pair) -> _Told:
    if pair.their_version is None or pair.our_version is None:
        return None
    if pair.their_version > pair.our_version:
        lost = f"{_upper(name)} has applied our event {pair.their_version}; our last one is {pair.our_version}."
        return Kind.AHEAD_THERE, Remedy.PERSON, f"{lost} Was our database restored from a backup?"
    if pair.their_version < pair.our_version and pair.live_from is not None:
        return (
            Kind.BEHIND_THERE,
            Remedy.SNAPSHOT,
            f"{_upper(name)} has applied our event {pair.their_version}; the last one is {pair.our_version}.",
        )
    return None


def _status(system: str, name: str, pair: Pair) -> _Told:
    if pair.their_status is None or pair.our_status is None or pair.their_status == pair.our_status:
        return None
    ours, theirs = Status(pair.our_status), Status(pair.their_status)
    said = f"{_upper(name)} has this order as {theirs}; we have it as {ours}"
    if pair.their_version is not None:
        # history that was never told cannot be known there
        known = pair.their_version >= (pair.our_version or 0)
        same = f"{said}, at the same version {pair.our_version}."
        return (Kind.STATUS_DIFFERS, Remedy.PERSON, same) if known else None
    if leads_to(theirs, ours) or find_move(theirs, ours) is not None:  # rework leads back
        earlier = f"{said}: an earlier stage of its life."
        return (Kind.BEHIND_THERE, Remedy.SNAPSHOT, earlier) if pair.live_from is not None else None
    return _beyond(system, said, ours, theirs)


def _beyond(system: str, said: str, ours: Status, theirs: Status) -> _Told:
    """They have a status that ours does not lead from."""
    if not leads_to(ours, theirs):
        return Kind.STATUS_DIFFERS, Remedy.PERSON, f"{said}; neither leads to the other."
    if _sets(system, theirs):
        return Kind.BEHIND_HERE, Remedy.PERSON, f"{said}. They set that status: its event did not come."
    return Kind.AHEAD_THERE, Remedy.PERSON, f"{said}, which comes later; they do not set that status."


@cache
def leads_to(start: Status, end: Status) -> bool:
    """Whether an order's life leads from one status to the other; rework, which goes back, does not count."""
    places = {status: place for place, status in enumerate(Status)}
    reached, growing = {start}, True
    while growing:
        further = {move.to for move in MOVES if move.start in reached and places[move.to] > places[move.start]}
        growing = not further <= reached
        reached |= further
    return end in reached and end is not start


@cache
def _sets(system: str, status: Status) -> bool:
    return any(System(system) in move.by for move in MOVES if move.to is status)


def _upper(name: str) -> str:
    return f"{name[:1].upper()}{name[1:]}"
