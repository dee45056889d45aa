"""Describes the bus as AsyncAPI 3.0, from the same names and shapes that the code uses."""

from importlib.metadata import version
from typing import Any

from mes.events import snapshots, subjects
from mes.orders.life import MOVES, EventType, Status, System

Document = dict[str, Any]

_CONTENT_TYPE = "application/cloudevents+json"
_TITLE = "Atelier MES, events"
_DESCRIPTION = (
    "Events as CloudEvents 1.0. `id` and `source` together name an event for ever; `sequence` counts an order's "
    "events: by it, a receiver leaves out what it knows already."
)
_MOMENT = {"type": "string", "format": "date-time"}
_NAME = {"type": "string", "minLength": 1, "maxLength": 200}


def document() -> Document:
    """The AsyncAPI document."""
    senders = {sender: _told_by(System(sender)) for sender in subjects.SENDERS}
    return {
        "asyncapi": "3.0.0",
        "info": {"title": _TITLE, "version": version("atelier-mes"), "description": _DESCRIPTION},
        "defaultContentType": _CONTENT_TYPE,
        "channels": {
            "orders": {
                "address": f"{subjects.OUT}.{{partition}}.{{order_id}}",
                "description": "What happened to an order, each event once and in sequence (JetStream stream MES).",
                "parameters": {
                    "partition": {
                        "description": "CRC-32 of the order's id modulo 16.",
                        "enum": [str(number) for number in range(subjects.PARTITIONS)],
                    },
                    "order_id": {"description": "The order's id."},
                },
                "messages": {"event": {"$ref": "#/components/messages/orderEvent"}},
            },
            **{
                sender: {
                    "address": f"{sender}.v1.order.{{token}}",
                    "description": f"What {sender} tells of an order (JetStream stream {sender.upper()}).",
                    "parameters": {
                        "token": {
                            "description": "`<source>.<external_id>`, percent-encoded to [A-Za-z0-9_-], with = for %."
                        }
                    },
                    "messages": {"event": {"$ref": f"#/components/messages/{sender}Event"}},
                }
                for sender in senders
            },
        },
        "operations": {
            "sendOrderEvents": {
                "action": "send",
                "channel": {"$ref": "#/channels/orders"},
                "summary": "We tell of every change of an order.",
                "messages": [{"$ref": "#/channels/orders/messages/event"}],
            },
            **{
                f"receive{sender.capitalize()}Events": {
                    "action": "receive",
                    "channel": {"$ref": f"#/channels/{sender}"},
                    "summary": f"We apply what {sender} tells, once and in its sequence.",
                    "messages": [{"$ref": f"#/channels/{sender}/messages/event"}],
                }
                for sender in senders
            },
        },
        "components": {
            "messages": {
                "orderEvent": _message("An order's event", _event(_order_data(), sequence_needed=True)),
                **{
                    f"{sender}Event": _message(
                        f"An event of {sender}", _event(_sender_data(statuses), sequence_needed=False)
                    )
                    for sender, statuses in senders.items()
                },
            }
        },
    }


def _message(title: str, payload: Document) -> Document:
    return {"title": title, "contentType": _CONTENT_TYPE, "payload": payload}


def _event(data: Document, *, sequence_needed: bool) -> Document:
    needed = ["specversion", "id", "source", "type", "data", *(["sequence"] if sequence_needed else [])]
    return {
        "type": "object",
        "required": needed,
        "properties": {
            "specversion": {"type": "string", "enum": ["1.0"]},
            "id": {"type": "string", "minLength": 1, "maxLength": 255},
            "source": {"type": "string", "minLength": 1, "maxLength": 255},
            "type": {"type": "string", "minLength": 1},
            "subject": {"type": "string"},
            "time": _MOMENT,
            "datacontenttype": {"type": "string", "enum": ["application/json"]},
            "sequence": {
                "type": "string",
                "pattern": "^[1-9][0-9]*$",
                "description": "Counts from 1 per order and sender; who cannot number leaves it out.",
            },
            "traceparent": {
                "type": "string",
                "pattern": "^00-[0-9a-f]{32}-[0-9a-f]{16}-[0-9a-f]{2}$",
                "description": "W3C Trace Context of the work that made it: what goes on from it belongs to its trace.",
            },
            "data": data,
        },
    }


def _order_data() -> Document:
    kinds = sorted([*(status.lower() for status in Status), *(kind.value for kind in EventType), snapshots.TYPE])
    return {
        "type": "object",
        "description": f"Types are mes.order.<kind>.v1, where kind is one of {', '.join(kinds)}. A snapshot is no "
        "change: it tells in `details` how the order stands at `version`, to those who have missed an event; whoever "
        "is at that version or a later one leaves it out.",
        "required": ["order", "status", "version", "held", "system", "actor"],
        "properties": {
            "order": {
                "type": "object",
                "required": ["order_id", "source", "external_id"],
                "properties": {"order_id": {"type": "string", "format": "uuid"}, "source": _NAME, "external_id": _NAME},
            },
            "status": {"type": "string", "enum": [status.value for status in Status]},
            "version": {"type": "integer", "minimum": 1},
            "held": {"type": "boolean"},
            "system": {"type": "string", "enum": [system.value for system in System]},
            "actor": {"type": "string"},
            "reason": {"type": "string"},
            "details": {"type": "object"},
            "details_at": {
                "type": "string",
                "description": "In place of `details` that are longer than the bus takes: the call that answers them.",
            },
        },
    }


def _sender_data(statuses: list[str]) -> Document:
    return {
        "type": "object",
        "required": ["order", "type", "occurred_at"],
        "properties": {
            "order": {
                "type": "object",
                "required": ["source", "external_id"],
                "properties": {"source": _NAME, "external_id": _NAME},
            },
            "type": {"type": "string", "enum": statuses},
            "occurred_at": _MOMENT,
            "reason": {"type": "string", "maxLength": 1000},
        },
    }


def _told_by(sender: System) -> list[str]:
    """The statuses that a sender may set, in the order of life."""
    told = {move.to for move in MOVES if sender in move.by}
    told |= {Status.INITIATED} if sender is System.SHOP else set()
    return [status.value for status in Status if status in told]
