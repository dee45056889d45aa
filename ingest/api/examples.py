"""Gives the documentation one story, in requests that work as they stand, sent in their order."""

import hashlib
import json
from typing import Any

from mes.pricing.geometry import KERNEL_VERSION

_CORNERS = (
    ((0, 0, 0), (0, 20, 0), (20, 0, 0)),
    ((0, 0, 0), (20, 0, 0), (0, 0, 20)),
    ((0, 0, 0), (0, 0, 20), (0, 20, 0)),
    ((20, 0, 0), (0, 20, 0), (0, 0, 20)),
)
_FACET = "facet normal 0 0 0\nouter loop\n{}endloop\nendfacet\n"

STL = "solid pendant\n{}endsolid pendant\n".format(
    "".join(_FACET.format("".join(f"vertex {x} {y} {z}\n" for x, y, z in corners)) for corners in _CORNERS)
)
"""A pendant: a corner of a cube, 20 mm along each axis (1333.33 mm3)."""

OBJ = "v 0 0 0\nv 20 0 0\nv 0 20 0\nv 0 0 20\nf 1 3 2\nf 1 2 4\nf 1 4 3\nf 2 3 4\n"
"""The same pendant."""

MODEL_ID = hashlib.sha256(STL.encode()).hexdigest()
ORDER_ID = "019ac2f4-7b1e-7cc3-9d51-2f6f0e5b8a10"
QUOTE_ID = "019ac2f3-02aa-7f0e-8a77-64f4f5a3c9d2"
REQUEST_ID = "9f1c7d52c1e94c4c8f5e2f0a6b7d8e90"

STONE = {"cut": "round", "size_mm": 1.5, "count": 3, "setting": "pave", "supplied_by": "workshop"}
ENGRAVING = {"text": "Ada & Alan", "side": "back"}

QUOTE_REQUEST: dict[str, Any] = {
    "model_id": MODEL_ID,
    "material": "silver925",
    "finish": "polished",
    "quantity": 2,
    "longest_side_mm": 18.5,
    "rush": False,
    "stones": [STONE],
    "engraving": ENGRAVING,
}
SMALL_QUOTE_REQUEST: dict[str, Any] = {
    "model_id": MODEL_ID,
    "material": "gold585",
    "finish": "satin",
    "quantity": 1,
}
NEW_ORDER: dict[str, Any] = {
    "external_id": "B-10482",
    "due_at": "2099-12-18T17:00:00Z",
    "customer": {"external_id": "C-77", "name": "Lovelace & Co", "tier": "b2b"},
    "rush": False,
    "items": [
        {
            "line": 1,
            "model_id": MODEL_ID,
            "material": "silver925",
            "finish": "polished",
            "quantity": 2,
            "longest_side_mm": 18.5,
            "stones": [STONE],
            "engraving": ENGRAVING,
        }
    ],
}
SMALL_ORDER: dict[str, Any] = {
    "external_id": "B-10483",
    "customer": {"external_id": "C-77"},
    "items": [{"line": 1, "model_id": MODEL_ID, "material": "gold585", "finish": "satin", "quantity": 1}],
}
TRANSITION: dict[str, Any] = {"to": "CANCELLED", "expected_version": 1, "reason": "The customer changed her mind."}
SMALL_TRANSITION: dict[str, Any] = {"to": "CANCELLED"}

_MONEY = {"amount": "129.40", "currency": "USD"}
_CUSTOMER = {"external_id": "C-77", "name": "Lovelace & Co", "tier": "b2b"}

UPLOADED: dict[str, Any] = {"model_id": MODEL_ID, "bytes": len(STL), "format": "stl", "findings": []}
DOUBTFUL_UPLOAD: dict[str, Any] = {
    "model_id": hashlib.sha256(b"an open model").hexdigest(),
    "bytes": 68484,
    "format": "obj",
    "findings": [
        {
            "kind": "open_edges",
            "severity": "error",
            "message": "3 edges are open, so the volume and the price are a guess.",
            "advice": "Close the holes at these places and export the model again.",
            "measure": {"value": 84.85, "unit": "mm", "limit": None},
            "coordinates": [[10.0, 10.0, 0.0], [10.0, 0.0, 10.0], [0.0, 10.0, 10.0]],
        }
    ],
}
MODEL: dict[str, Any] = UPLOADED | {
    "geometry": {
        "kernel_version": KERNEL_VERSION,
        "triangles": 4,
        "volume_mm3": 1333.3333333333333,
        "area_mm2": 946.4101615137754,
        "extents_mm": [20.0, 20.0, 20.0],
        "bodies": 1,
        "closed": True,
        "open_edges": 0,
        "facing": "outward",
        "unit": None,
        "box_mm": [20.0, 20.0, 20.0],
        "hull_mm3": 1333.3333333333333,
        "detail": 1.2826558460362518,
        "printing": {
            "height_mm": 20.0,
            "support_mm3": 0.0,
            "overhang_mm2": 0.0,
            "up": [0.0, 0.0, 1.0],
            "layer_areas_mm2": [196.9, 190.7],
        },
        "walls": {
            "thinnest_mm": 4.7,
            "median_mm": 4.7,
            "distribution": [[4.6, 0.0], [4.7, 1.0]],
            "places": [{"thickness_mm": 4.7, "at": [12.9, 2.7, 4.3]}],
            "rays": 20000,
        },
        "faults": [],
    }
}
QUOTE: dict[str, Any] = QUOTE_REQUEST | {
    "quote_id": QUOTE_ID,
    "status": "priced",
    "tier": "b2b",
    "price": _MONEY,
    "unit_price": {"amount": "64.70", "currency": "USD"},
    "breakdown": [
        {
            "code": "metal",
            "label": "Pure silver",
            "driver": "21.86 g cast, fineness 0.925",
            "quantity": "0.650",
            "unit": "ozt",
            "rate": "199.0769",
            "amount": "129.40",
        }
    ],
    "levers": [
        {
            "code": "thinner_walls",
            "label": "0.2 mm thinner walls: -1.1 g, -6.20 USD",
            "mass_change_g": -1.1,
            "price_change": {"amount": "-6.20", "currency": "USD"},
        }
    ],
    "rate_card": {"version": "3f7a9c21", "name": "Autumn 2026"},
    "kernel_version": KERNEL_VERSION,
    "created_at": "2026-11-22T08:15:00Z",
    "valid_until": "2026-12-06T08:15:00Z",
    "findings": [],
    "superseded_by": None,
}
PROGRESS = {"state": "queued", "ahead": 3, "since": "2026-11-22T08:15:00Z"}
PENDING: dict[str, Any] = {"quote_id": QUOTE_ID, "status": "pending", "progress": PROGRESS}
PENDING_MODEL: dict[str, Any] = {
    "model_id": MODEL_ID,
    "status": "measuring",
    "bytes": 180_000_084,
    "progress": PROGRESS | {"state": "measuring", "ahead": 0},
}
ORDER: dict[str, Any] = {
    "order_id": ORDER_ID,
    "source": "brilliant-rings",
    "external_id": "B-10482",
    "status": "SUBMITTED",
    "status_since": "2026-11-22T08:16:00Z",
    "version": 1,
    "held": False,
    "hold_reason": None,
    "placed_at": "2026-11-22T08:16:00Z",
    "due_at": "2099-12-18T17:00:00Z",
    "rush": False,
    "customer": _CUSTOMER,
    "items": [NEW_ORDER["items"][0] | {"quote_id": None, "price": None}],
    "total": None,
    "created_at": "2026-11-22T08:16:00Z",
    "updated_at": "2026-11-22T08:16:00Z",
}
PRICED_ORDER: dict[str, Any] = ORDER | {
    "status": "PRICE_CALCULATED",
    "version": 2,
    "items": [NEW_ORDER["items"][0] | {"quote_id": QUOTE_ID, "price": _MONEY}],
    "total": _MONEY,
}
CANCELLED_ORDER: dict[str, Any] = ORDER | {"status": "CANCELLED", "version": 2}
ORDER_PAGE: dict[str, Any] = {"orders": [PRICED_ORDER], "next_cursor": None}
EVENTS: dict[str, Any] = {
    "events": [
        {
            "sequence": 1,
            "type": "SUBMITTED",
            "occurred_at": "2026-11-22T08:16:00Z",
            "recorded_at": "2026-11-22T08:16:00Z",
            "system": "shop",
            "actor": "Brilliant Rings",
            "reason": None,
            "data": None,
            "live": True,
            "inferred": False,
            "late": False,
        }
    ]
}
CLOUD_EVENT: dict[str, Any] = {
    "specversion": "1.0",
    "id": f"{ORDER_ID}/1",
    "type": "mes.order.submitted.v1",
    "source": "/mes",
    "subject": ORDER_ID,
    "time": "2026-11-22T08:16:00.000000Z",
    "datacontenttype": "application/json",
    "sequence": "1",
    "data": {
        "order": {"order_id": ORDER_ID, "source": "brilliant-rings", "external_id": "B-10482"},
        "status": "SUBMITTED",
        "version": 1,
        "held": False,
        "system": "shop",
        "actor": "Brilliant Rings",
    },
}
FEED_PAGE: dict[str, Any] = {"events": [CLOUD_EVENT], "next_after": "WyJicmlsbGlhbnQtcmluZ3MiLCA0MTdd"}
WEBHOOK_ID = "019ac2f5-1c2d-7e1a-b5c4-7b1f3f0a9d21"
NEW_WEBHOOK: dict[str, Any] = {"url": "https://shop.example/hooks/mes"}
NARROW_WEBHOOK: dict[str, Any] = {
    "url": "https://shop.example/hooks/shipping",
    "event_types": ["mes.order.shipped.v1", "mes.order.cancelled.v1"],
}
WEBHOOK: dict[str, Any] = NEW_WEBHOOK | {
    "webhook_id": WEBHOOK_ID,
    "event_types": None,
    "created_at": "2026-11-22T08:15:00Z",
    "disabled_at": None,
    "disabled_reason": None,
}
CREATED_WEBHOOK: dict[str, Any] = WEBHOOK | {"secret": "whsec_C2FVsBQIhrscChlQIMV+b5sSYspob7oD"}
WEBHOOK_LIST: dict[str, Any] = {"webhooks": [WEBHOOK]}
WEBHOOK_SECRET: dict[str, Any] = {
    "secret": "whsec_C2FVsBQIhrscChlQIMV+b5sSYspob7oD",
    "old_used_until": "2026-11-23T08:15:00Z",
}
DELIVERY: dict[str, Any] = {
    "delivery_id": 417,
    "order_id": ORDER_ID,
    "sequence": 1,
    "event_type": "mes.order.submitted.v1",
    "state": "waiting",
    "attempts": 1,
    "next_at": "2026-11-22T08:16:07Z",
    "created_at": "2026-11-22T08:16:01Z",
    "finished_at": None,
    "last_at": "2026-11-22T08:16:02Z",
    "last_status": 503,
    "last_error": None,
    "last_duration_ms": 12.5,
}
DELIVERY_PAGE: dict[str, Any] = {"deliveries": [DELIVERY], "next_cursor": None}
BATCH = "".join(json.dumps(SMALL_ORDER | {"external_id": number}) + "\n" for number in ("B-20001", "B-20002"))
BATCH_ANSWER = (
    f'{{"line": 1, "status": 201, "order_id": "{ORDER_ID}", "external_id": "B-20001", "order_status": "SUBMITTED"}}\n'
)
HEALTHY: dict[str, Any] = {"ok": True, "checks": [{"name": "process", "ok": True, "detail": "answers"}]}
UNREADY: dict[str, Any] = {
    "ok": False,
    "checks": [{"name": "database", "ok": False, "detail": "does not answer (OperationalError)"}],
}
