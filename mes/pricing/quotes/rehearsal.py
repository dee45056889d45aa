"""Prices a piece that nobody asked for, so that what is made at first use is there before the first customer waits."""

from sqlalchemy import Connection

from mes.clock import Clock, utc_now
from mes.pricing.costs.single_prices import price_few
from mes.pricing.geometry import Geometry
from mes.pricing.options import Cut, Finish, ItemOptions, Setting, Stone, SuppliedBy
from mes.pricing.rates import rate_store

_CUBE = Geometry(
    triangles=12,
    volume_mm3=1000.0,
    area_mm2=600.0,
    extents_mm=(10.0, 10.0, 10.0),
    bodies=1,
    closed=True,
    open_edges=0,
    facing="outward",
)
_STONE = Stone(cut=Cut.ROUND, size_mm=1.5, count=1, setting=Setting.PAVE, supplied_by=SuppliedBy.CUSTOMER)
_OPTIONS = ItemOptions(material="silver925", finish=Finish.POLISHED, quantity=1, stones=(_STONE,))


def rehearse(conn: Connection, *, clock: Clock = utc_now) -> None:
    """Read today's rate card and find its rates; without a card there is nothing to rehearse.

    Raises:
        ValueError: the card is not one that this version can read.
    """
    card_id = rate_store.id_valid_at(conn, clock())
    if card_id is not None:
        price_few([(_CUBE, _OPTIONS)], rate_store.kept(conn, card_id))
