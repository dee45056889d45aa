"""Reads all that is known about one order from the tables of truth, so that its page is never behind."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from uuid import UUID

from sqlalchemy import Connection, Row, RowMapping, text

from mes.orders import repository
from mes.orders.model import Event, NoSuchOrder, Order
from mes.pricing import geometry_store
from mes.pricing.findings import Finding, of_piece
from mes.pricing.geometry import Geometry, scaled


@dataclass(frozen=True)
class PriceLine:
    """One line of a price, with decimals kept as the quote wrote them."""

    label: str
    driver: str
    quantity: Decimal
    unit: str
    rate: Decimal
    amount: Decimal


@dataclass(frozen=True)
class Lever:
    """What would have made an item cheaper: by how many grams of metal, and by how much money, both below zero."""

    label: str
    mass_change_g: float
    price_change: Decimal


@dataclass(frozen=True)
class ItemPrice:
    """The quote that an item's price comes from; without levers where nobody looked for any."""

    total: Decimal
    currency: str
    rate_card: str
    valid_until: datetime
    lines: Sequence[PriceLine]
    levers: Sequence[Lever]


@dataclass(frozen=True)
class Item:
    """One line of the order; `geometry` (the piece's, at the size that was ordered) and `price` are None until known.

    `findings` tells what is doubtful about the piece, the worst first.
    """

    line: int
    model_id: str
    file_name: str
    material: str
    finish: str
    quantity: int
    longest_side_mm: Decimal | None
    stones: Sequence[dict[str, object]]
    engraving: dict[str, object] | None
    geometry: Geometry | None
    findings: Sequence[Finding]
    price: ItemPrice | None


@dataclass(frozen=True)
class Anomaly:
    """What the sources say about the order that cannot be true together."""

    kind: str
    reason: str
    advice: str
    feed: str
    file: str
    line: int


@dataclass(frozen=True)
class OrderDetails:
    """An order with its customer, items, history and anomalies, all of one moment."""

    order: Order
    placed_at: datetime
    due_at: datetime | None
    rush: bool
    paid: Decimal | None
    currency: str
    customer_id: UUID
    customer: str
    customer_name: str | None
    tier: str
    items: Sequence[Item]
    events: Sequence[Event]
    anomalies: Sequence[Anomaly]

    @property
    def total(self) -> Decimal | None:
        """Sum of the items' prices; None while one is missing."""
        prices = [item.price.total for item in self.items if item.price is not None]
        return sum(prices, Decimal(0)) if prices and len(prices) == len(self.items) else None


def read(conn: Connection, order_id: UUID) -> OrderDetails:
    """Everything about one order.

    Raises:
        NoSuchOrder: there is none with this id.
    """
    order = repository.get(conn, order_id)
    head = conn.execute(
        text("""
            select placed_at, due_at, rush, paid, currency, customers.customer_id, customers.external_id as customer,
                customers.name as customer_name, tier
            from ops.orders join ops.customers using (customer_id) where order_id = :order_id
        """),
        {"order_id": order_id},
    )
    return OrderDetails(
        order=order,
        **head.mappings().one(),
        items=_items(conn, order_id),
        events=repository.events(conn, order_id),
        anomalies=_anomalies(conn, order_id),
    )


def customer_name(conn: Connection, customer_id: UUID) -> str | None:
    """What a customer is called, by name or else by number; None where there is no such customer."""
    name: str | None = conn.execute(
        text("select coalesce(name, external_id) from ops.customers where customer_id = :id"), {"id": customer_id}
    ).scalar_one_or_none()
    return name


def version(conn: Connection, order_id: UUID) -> int:
    """The order's version, to see whether anything changed.

    Raises:
        NoSuchOrder: there is none with this id.
    """
    found = conn.execute(
        text("select version from ops.orders where order_id = :order_id"), {"order_id": order_id}
    ).one_or_none()
    if found is None:
        raise NoSuchOrder(order_id=order_id)
    return int(found.version)


def _items(conn: Connection, order_id: UUID) -> Sequence[Item]:
    rows = conn.execute(
        text("""
            select items.line, items.model_id, models.file_name, items.material, items.finish, items.quantity,
                items.longest_side_mm, items.stones, items.engraving,
                geometries.kernel_version, geometries.measures, geometries.triangles, geometries.volume_mm3,
                geometries.area_mm2, geometries.extent_x_mm, geometries.extent_y_mm, geometries.extent_z_mm,
                geometries.bodies, geometries.closed, geometries.open_edges, geometries.facing, geometries.unit,
                quotes.total, quotes.currency, quotes.breakdown, quotes.levers, quotes.valid_until,
                rate_cards.name as rate_card
            from ops.order_items as items
            join ops.models using (model_id)
            left join lateral (
                select geometries.* from ops.geometries where geometries.model_id = items.model_id
                order by geometries.kernel_version desc limit 1
            ) as geometries on true
            left join ops.quotes on items.quote_id = quotes.quote_id
            left join ops.rate_cards using (rate_card_id)
            where items.order_id = :order_id order by items.line
        """),
        {"order_id": order_id},
    )
    return [_item(row, _measured(row)) for row in rows]


def _measured(row: Row[tuple[object, ...]]) -> Geometry | None:
    stored = geometry_store.stored(row) if row.kernel_version is not None else None
    return stored.geometry if stored is not None else None


def _item(columns: Row[tuple[object, ...]], model: Geometry | None) -> Item:
    row = columns._mapping  # noqa: SLF001 - SQLAlchemy's public name for the row as a mapping
    size = float(row["longest_side_mm"]) if row["longest_side_mm"] is not None else None
    return Item(
        line=row["line"],
        model_id=row["model_id"],
        file_name=row["file_name"],
        material=row["material"],
        finish=row["finish"],
        quantity=row["quantity"],
        longest_side_mm=row["longest_side_mm"],
        stones=row["stones"] or (),
        engraving=row["engraving"],
        geometry=scaled(model, size) if model is not None and size and max(model.extents_mm) > 0 else model,
        findings=of_piece(model, row["material"], size) if model is not None else (),
        price=_price(row) if row["total"] is not None else None,
    )


def _price(row: RowMapping) -> ItemPrice:
    return ItemPrice(
        total=row["total"],
        currency=row["currency"],
        rate_card=row["rate_card"],
        valid_until=row["valid_until"],
        lines=[_price_line(line) for line in row["breakdown"]],
        levers=[
            Lever(lever["label"], float(lever["mass_change_g"]), Decimal(lever["price_change"]["amount"]))
            for lever in row["levers"] or ()
        ],
    )


def _price_line(line: dict[str, str]) -> PriceLine:
    return PriceLine(
        label=line["label"],
        driver=line["driver"],
        quantity=Decimal(line["quantity"]),
        unit=line["unit"],
        rate=Decimal(line["rate"]),
        amount=Decimal(line["amount"]),
    )


def _anomalies(conn: Connection, order_id: UUID) -> Sequence[Anomaly]:
    rows = conn.execute(
        text("""
            select kind, reason, advice, feed, file, line from ops.anomalies
            where order_id = :order_id order by anomaly_id
        """),
        {"order_id": order_id},
    )
    return [Anomaly(**row) for row in rows.mappings()]
