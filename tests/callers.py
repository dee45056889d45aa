"""Gives tests a caller with a model of its own, a cube of silver as good as any."""

from sqlalchemy import Connection, text

from mes.callers.model import Caller, Scope
from mes.orders.new_order import NewOrder
from mes.pricing.geometry import KERNEL_VERSION
from mes.pricing.rates import rate_cards, rate_store
from tests.log_scan import SEEDED

SHOP = Caller("shop", Scope.SHOP, "web shop")
PARTNER = Caller("acme", Scope.PARTNER, "acme's shop")
MODEL = "a" * 64


def add_model(conn: Connection, caller: Caller = SHOP, model_id: str = MODEL, *, closed: bool = True) -> str:
    """A cube of 10 mm that the caller has uploaded, and rates to price it by."""
    values = {"id": model_id, "kernel": KERNEL_VERSION, "closed": closed, "caller": caller.name}
    for statement in (
        """insert into ops.models (model_id, bytes, format, file_name) values (:id, 684, 'stl', 'cube.stl')
            on conflict do nothing""",
        """insert into ops.geometries (model_id, kernel_version, triangles, volume_mm3, area_mm2,
                extent_x_mm, extent_y_mm, extent_z_mm, bodies, closed, open_edges, facing)
            values (:id, :kernel, 12, 1000, 600, 10, 10, 10, 1, :closed, case when :closed then 0 else 3 end, 'outward')
            on conflict do nothing""",
        """insert into ops.model_uploads (caller, model_id) values (:caller, :id) on conflict do nothing""",
    ):
        conn.execute(text(statement), values)
    rate_store.load(conn, rate_cards.load_sample())
    return model_id


def new_order(number: str = "S-1", **changes: object) -> NewOrder:
    """An order of one silver piece; `item` changes its only item."""
    item = {"line": 1, "model_id": MODEL, "material": "silver925", "finish": "polished", "quantity": 1}
    item |= changes.pop("item", {})  # type: ignore[arg-type]
    said = {"external_id": number, "customer": {"external_id": "c-1", "name": SEEDED}, "items": [item]} | changes
    return NewOrder.model_validate(said)
