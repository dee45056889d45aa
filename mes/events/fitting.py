"""Makes an event fit into what a bus takes: what is too long for it is left out, and where to ask for it is said."""

import json
from collections.abc import Mapping
from typing import Any

from mes.events import snapshots


def encoded(event: Mapping[str, Any], most: int) -> bytes:
    """The CloudEvent as JSON, in UTF-8.

    One that takes more than `most` bytes comes without `data.details`; `data.details_at` then names the call that
    answers with them. Without its details, an event takes some kilobytes at most.
    """
    whole = _json(event)
    if len(whole) <= most:
        return whole
    data = dict(event["data"])
    data.pop("details", None)
    order = f"/v1/orders/{event['subject']}"
    at = order if event["type"] == f"mes.order.{snapshots.TYPE}.v1" else f"{order}/events"
    return _json({**event, "data": data | {"details_at": at}})


def _json(event: Mapping[str, Any]) -> bytes:
    return json.dumps(event, ensure_ascii=False, separators=(",", ":")).encode()
