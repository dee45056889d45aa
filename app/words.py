"""Says in words what the system knows in codes: statuses, steps, events, and why an order is next."""

import re
from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from decimal import Decimal

from app.queries import (
    Event,
    EventType,
    Geometry,
    ListedOrder,
    Measure,
    Order,
    Queue,
    Scope,
    Severity,
    Status,
    Waiting,
)

_STATUS = {
    Status.INITIATED: "Being placed",
    Status.SUBMITTED: "New",
    Status.PRICE_CALCULATED: "Priced",
    Status.MANUFACTURING_APPROVED: "Approved",
    Status.MANUFACTURING_STARTED: "In production",
    Status.MANUFACTURING_COMPLETED: "Made",
    Status.PACKAGING: "Packing",
    Status.SHIPPED: "Shipped",
    Status.CLOSED: "Closed",
    Status.CANCELLED: "Cancelled",
}
_STEP = {
    Status.MANUFACTURING_STARTED: "Start production",
    Status.MANUFACTURING_COMPLETED: "Production done",
    Status.PACKAGING: "Start packing",
    Status.SHIPPED: "Ship",
}
_WAITS = {
    Status.INITIATED: "Waits for the shop: the customer is still placing it.",
    Status.SUBMITTED: "Waits for its price, which is calculated by itself.",
    Status.PRICE_CALCULATED: "Waits for the CRM's approval.",
    Status.SHIPPED: "Waits for the CRM to close it.",
    Status.CLOSED: "Finished: nothing is left to do.",
    Status.CANCELLED: "Cancelled: nothing is left to do.",
}
_EVENT = {
    Status.INITIATED: "Customer began to place it",
    Status.SUBMITTED: "Placed",
    Status.PRICE_CALCULATED: "Price set",
    Status.MANUFACTURING_APPROVED: "Approved for production",
    Status.MANUFACTURING_STARTED: "Production started",
    Status.MANUFACTURING_COMPLETED: "Production done",
    Status.PACKAGING: "Packing started",
    Status.SHIPPED: "Shipped",
    Status.CLOSED: "Closed",
    Status.CANCELLED: "Cancelled",
    EventType.HELD: "Put on hold",
    EventType.RELEASED: "Released",
    EventType.EDITED: "Note changed",
    EventType.ASSIGNED: "Assigned to {to}",
    EventType.CLAIMED: "Claimed by {actor}",
    EventType.GIVEN_BACK: "Given back by {actor}",
    EventType.LEASE_ENDED: "Lease of {from} ended",
    EventType.TAKEN_OVER: "Taken over from {from}",
    EventType.REPRICED: "Price changed",
    EventType.CORRECTED: "Corrected",
}
_MATERIAL = {
    "silver925": "Silver 925",
    "gold585": "Gold 585",
    "gold750": "Gold 750",
    "platinum950": "Platinum 950",
}
_SEVERITY = {
    Severity.ERROR: ":red[:material/error: Error]",
    Severity.WARNING: ":orange[:material/warning: Warning]",
    Severity.INFO: ":blue[:material/info: Note]",
}
_FACING = {"inward": "inside out", "mixed": "partly inside out"}
_TIER = {"vip": "VIP", "b2b": "B2B", "retail": "Retail"}
_SYSTEM = {"shop": "Shop", "crm": "CRM", "mes": "MES"}
_MARKDOWN = re.compile(r"([\\`*_{}\[\]()<>#+\-!|~$:&.])")
_TWO_YEARS = 730


DRIFT_KINDS = {
    "missing_here": "Not known here",
    "missing_there": "Not known there",
    "behind_here": "We are behind",
    "behind_there": "They are behind",
    "ahead_there": "They are ahead of us",
    "status_differs": "Another status",
}


def status(of: Status) -> str:
    """`In production` for `MANUFACTURING_STARTED`."""
    return _STATUS[of]


def scope(of: Scope | Status) -> str:
    """The name of a part of the list."""
    if isinstance(of, Status):
        return _STATUS[of]
    return "Open" if of is Scope.OPEN else "All orders"


def step(start: Status, to: Status) -> str:
    """What the button says that makes a move."""
    rework = start is Status.MANUFACTURING_COMPLETED and to is Status.MANUFACTURING_STARTED
    return "Rework" if rework else _STEP[to]


def waits_for(of: Status) -> str | None:
    """Whom an order waits for, when the next step is not the workshop's."""
    return _WAITS.get(of)


def event(of: Event) -> str:
    """What happened: `Production started`, `Taken over from Jonas`."""
    data = of.data or {}
    if of.type == EventType.ASSIGNED and data.get("to") is None:
        return "Returned, to be shared out"
    facts = {"actor": of.actor, "from": data.get("from") or "somebody", "to": data.get("to")}
    for kind in (*Status, *EventType):
        if kind.value == of.type:
            return _EVENT[kind].format(**facts)
    return of.type


def whose(order: ListedOrder) -> str | None:
    """Who has an order of the list: `Vera, claimed` while she works on it, `Vera` when it stands in her queue."""
    return f"{order.claimed_by}, claimed" if order.claimed_by is not None else order.assigned_to


def holder(order: Order, user: str) -> str | None:
    """Who has an order and until when, in a sentence of Markdown to `user`; None when nobody has it."""
    if order.claimed_by == user:
        begin = f" Begin by {moment(order.lease_until)}, or it goes to somebody else." if order.lease_until else ""
        return f"You have claimed this order.{begin}"
    if order.claimed_by is not None:
        begin = f" The claim ends at {moment(order.lease_until)} unless work begins." if order.lease_until else ""
        return f"**{plain(order.claimed_by)}** has claimed this order.{begin}"
    if order.assigned_to is not None:
        return "In your queue." if order.assigned_to == user else f"In the queue of **{plain(order.assigned_to)}**."
    return None


def nothing_to_do(waiting: Waiting) -> str:
    """Why there is no next job, and for whom orders wait."""
    reasons = [
        _of_orders(waiting.begun, "you have begun", "you have begun"),
        _of_orders(waiting.approval, "waits for the CRM's approval", "wait for the CRM's approval"),
        _of_orders(waiting.held, "is on hold", "are on hold"),
    ]
    own = ", ".join(reason for reason in reasons if reason) or "nothing"
    others = _of_orders(waiting.colleagues, "is in a colleague's queue", "are in colleagues' queues")
    return f"There is no next job for you now. In your queue: {own}." + (f" Besides, {others}." if others else "")


def queue(of: Queue) -> str:
    """`Vera: 12 orders, 80 h`."""
    return f"{of.operator}: {of.orders:,} {'order' if of.orders == 1 else 'orders'}, {of.remaining_h:,.0f} h"


def marks(of: Event) -> str:
    """How an event came to be known, when not as it happened."""
    known = (("history", not of.live), ("inferred", of.inferred), ("late", of.late))
    return ", ".join(mark for mark, holds in known if holds)


def material(of: str | None) -> str:
    """`Gold 585` for `gold585`; a list of several as it is kept, with commas."""
    return ", ".join(_MATERIAL.get(part, part) for part in (of or "").split(", "))


def tier(of: str) -> str:
    """`VIP` for `vip`."""
    return _TIER.get(of, of)


def system(of: str) -> str:
    """`CRM` for `crm`."""
    return _SYSTEM.get(of, of)


def stones(of: Sequence[dict[str, object]]) -> str | None:
    """`12 x round 1.5 mm, pave`, several with a semicolon between; None without stones."""
    each = "{count} \N{MULTIPLICATION SIGN} {cut} {size_mm} mm, {setting}"
    return "; ".join(each.format_map(stone) for stone in of) or None


def engraving(of: Mapping[str, object] | None) -> str | None:
    """The text and the side that it goes to; None without an engraving."""
    return (
        f"\N{LEFT DOUBLE QUOTATION MARK}{of.get('text')}\N{RIGHT DOUBLE QUOTATION MARK}, {of.get('side')}"
        if of
        else None
    )


def kind(of: str) -> str:
    """`Shipped before approved` for `shipped_before_approved`."""
    return of.replace("_", " ").capitalize()


def severity(of: Severity) -> str:
    """How bad a finding is, with its colour and icon, as Markdown."""
    return _SEVERITY[of]


def measure(of: Measure) -> str:
    """`0.42 mm, should be 0.6 mm`, `12 edges`."""
    said = f"{of.value:,.4g} {of.unit}"
    return f"{said}, should be {of.limit:,.4g} {of.unit}" if of.limit else said


def measures(of: Geometry) -> Mapping[str, str]:
    """What a person wants to know of a piece's shape, by name; what was not measured is left out."""
    cubic, square = "mm\N{SUPERSCRIPT THREE}", "mm\N{SUPERSCRIPT TWO}"
    walls, printing = of.walls, of.printing
    said = {
        "Extents": _sides(of.extents_mm),
        "Smallest box": _sides(of.box_mm) if of.box_mm else None,
        "Volume": f"{of.volume_mm3:,.1f} {cubic}",
        "Surface": f"{of.area_mm2:,.1f} {square}",
        "Thinnest wall": f"{walls.thinnest_mm:.2f} mm" if walls else None,
        "Median wall": f"{walls.median_mm:.2f} mm: half of the surface is thinner" if walls else None,
        "Print height": f"{printing.height_mm:.1f} mm, as it stands best" if printing else None,
        "Support": f"{printing.support_mm3:,.1f} {cubic} under {printing.overhang_mm2:,.1f} {square} of overhang"
        if printing
        else None,
        "Detail": f"{of.detail:.2f} (a smooth ball is 1)" if of.detail is not None else None,
        "Triangles": f"{of.triangles:,}",
        "Bodies": f"{of.bodies:,}",
        "Closed": "yes" if of.closed else f"no: {of.open_edges:,} open edges",
        "Facing": _FACING.get(of.facing),
        "Unit of the file": of.unit,
    }
    return {name: value for name, value in said.items() if value is not None}


def why(order: ListedOrder, now: datetime) -> str:
    """Why an order stands where it does: `due in 2 days, needs 18 h, rush, VIP`; how it ended, when it has."""
    if not order.is_open:
        return f"{_STATUS[order.status].lower()} {_ago(now - order.status_since)}"
    reasons = [due(order.due_at, now), f"needs {order.remaining_h.normalize():f} h"]
    reasons += ["rush"] if order.rush else []
    reasons += [tier(order.tier)] if order.tier != "retail" else []
    return ", ".join(reasons)


def due(at: datetime | None, now: datetime) -> str:
    """`due in 2 days`, `3 h late`, or `no due date`."""
    if at is None:
        return "no due date"
    return f"due in {_span(at - now)}" if at >= now else f"{_span(now - at)} late"


def moment(at: datetime | None) -> str:
    """`22 Nov 2026, 16:05 UTC`, or a dash."""
    return f"{at:%-d %b %Y, %H:%M} UTC" if at is not None else "\N{EN DASH}"


def lasting(seconds: float) -> str:
    """`12 s`, `5 min`, `3 h` or `2 days`."""
    return f"{seconds:.0f} s" if seconds < 2 * 60 else _span(timedelta(seconds=seconds))


def money(amount: Decimal | None, currency: str) -> str:
    """`$1,234.50`, or `not priced yet`."""
    if amount is None:
        return "not priced yet"
    return f"${amount:,.2f}" if currency == "USD" else f"{amount:,.2f} {currency}"


def plain(text: str) -> str:
    """Text from outside, so that Markdown shows it as it is: no links, pictures or colours from a customer's name."""
    return _MARKDOWN.sub(r"\\\1", " ".join(text.split()))


def _sides(of: tuple[float, float, float]) -> str:
    return " \N{MULTIPLICATION SIGN} ".join(f"{side:.1f}" for side in of) + " mm"


def _of_orders(number: int, one: str, several: str) -> str:
    """`1 order is on hold`, `3 orders are on hold`; nothing for none."""
    if not number:
        return ""
    return f"1 order {one}" if number == 1 else f"{number:,} orders {several}"


def _ago(span: timedelta) -> str:
    return f"{_span(span)} ago" if span > timedelta(minutes=1) else "just now"


def _span(span: timedelta) -> str:
    hours = int(span.total_seconds() // 3600)
    if hours < 1:
        return f"{max(1, int(span.total_seconds() // 60))} min"
    if hours < 48:  # noqa: PLR2004 - hours are worth telling up to two days
        return f"{hours} h"
    days = hours // 24
    return f"{days} days" if days < _TWO_YEARS else f"{days // 365} years"
