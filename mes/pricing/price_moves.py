"""Says by how much prices move from one rate card to another, over pieces that the workshop really makes."""

from collections.abc import Sequence
from dataclasses import dataclass
from decimal import Decimal

import polars as pl
from sqlalchemy import Connection, text

from mes.db.copy import read_frame
from mes.orders.life import FINISHED_STATUSES, Status
from mes.pricing.costs.cost_model import price
from mes.pricing.costs.rate_frame import rate_frame
from mes.pricing.costs.stone_lines import STONES
from mes.pricing.materials import MATERIALS
from mes.pricing.options import Engraving, Finish, Tier
from mes.pricing.rates.rate_card import RateCard
from mes.pricing.rates.rate_changes import percent

PIECES_AT_MOST = 200
_ORDERS_LOOKED_AT = 5_000  # the newest: of a million orders, their pieces are found in 0.1 s
_UNAPPROVED = (Status.INITIATED, Status.SUBMITTED, Status.PRICE_CALCULATED)
_MEASURES = (
    "volume_mm3",
    "area_mm2",
    "extent_x_mm",
    "extent_y_mm",
    "extent_z_mm",
    "box_length_mm",
    "box_width_mm",
    "box_height_mm",
    "print_height_mm",
    "support_mm3",
    "detail",
)
_PIECE: dict[str, pl.DataType | type[pl.DataType]] = {
    "piece": pl.String,
    "finish": pl.String,
    "quantity": pl.Int64,
    "longest_side_mm": pl.Float64,
    "stones": pl.String,
    "engraving": pl.String,
    "rush": pl.Boolean,
    "tier": pl.String,
    **dict.fromkeys(_MEASURES, pl.Float64),
}
# a band ring and a flat pendant as catalogues show them, for a database that knows no order yet
_BUILT_IN = (
    {"piece": "a ring of 21 mm", "volume_mm3": 420.0, "area_mm2": 610.0, "extent_x_mm": 21.0, "extent_y_mm": 21.0,
     "extent_z_mm": 6.0},
    {"piece": "a pendant of 30 mm", "volume_mm3": 900.0, "area_mm2": 1100.0, "extent_x_mm": 30.0, "extent_y_mm": 20.0,
     "extent_z_mm": 3.0},
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Pieces:
    """Pieces to price, one row each without a material, and in words where they come from."""

    source: str
    frame: pl.DataFrame


@dataclass(frozen=True, slots=True)
class Example:
    """What one piece costs before and after, in USD for all pieces of its item."""

    piece: str
    finish: str
    quantity: int
    old: Decimal
    new: Decimal

    @property
    def percent(self) -> Decimal | None:
        """The move in percent."""
        return percent(self.old, self.new)


@dataclass(frozen=True, slots=True)
class MaterialMoves:
    """Moves of all pieces in one material, in percent; the examples are those that move least, in the middle and most.

    None, and no examples, where no piece has a price by both cards.
    """

    material: str
    pieces: int
    least: Decimal | None
    median: Decimal | None
    most: Decimal | None
    examples: tuple[Example, ...]


@dataclass(frozen=True, slots=True)
class Unapproved:
    """Orders before MANUFACTURING_APPROVED: those that were told a price, and those that wait for one."""

    priced: int
    unpriced: int


def reference_pieces(conn: Connection) -> Pieces:
    """What open orders ask for, most frequent first; else what was ordered last; else two built-in pieces.

    The measures are those of the newest kernel that saw a model.
    """
    open_only = f"status not in ({', '.join(repr(status.value) for status in FINISHED_STATUSES)})"
    for source, which in (("open orders", open_only), ("the latest orders", "true")):
        frame = read_frame(conn, _ORDERED.format(columns=", ".join(_PIECE), which=which), _PIECE)
        if frame.height:
            return Pieces(source, frame)
    plain = {"finish": Finish.POLISHED.value, "quantity": 1, "rush": False, "tier": Tier.RETAIL.value}
    return Pieces("no orders yet: two built-in pieces", pl.DataFrame([plain | one for one in _BUILT_IN], schema=_PIECE))


def moves(pieces: Pieces, old: RateCard, new: RateCard) -> list[MaterialMoves]:
    """Price every piece in every material by both cards, by the one cost model."""
    items = _items(pieces.frame).join(pl.DataFrame({"material": list(MATERIALS)}), how="cross")
    rates = rate_frame([old, new])
    before, after = (
        price(items.with_columns(rate_card=pl.lit(card.version)), rates, detail=False)["total"] for card in (old, new)
    )
    both = items.select("piece", "finish", "quantity", "material").with_columns(old=before, new=after)
    both = both.filter((pl.col("old") > 0) & pl.col("new").is_not_null())
    move = (pl.col("new") / pl.col("old").cast(pl.Float64) - 1) * 100
    both = both.with_columns(move=move).sort("move", maintain_order=True)
    return [_of_material(material, both.filter(pl.col("material") == material)) for material in MATERIALS]


def unapproved(conn: Connection) -> Unapproved:
    """How many orders a new price can still reach."""
    row = conn.execute(
        text("""
            select
                count(*) filter (where status = :priced) as priced,
                count(*) filter (where status <> :priced) as unpriced
            from ops.orders where status = any(cast(:unapproved as ops.order_status[]))
        """),
        {"priced": Status.PRICE_CALCULATED.value, "unapproved": [status.value for status in _UNAPPROVED]},
    ).one()
    return Unapproved(row.priced, row.unpriced)


_ORDERED = f"""
    select {{columns}}
    from (
        select
            min(models.file_name) as piece, items.model_id, finish, quantity, longest_side_mm, stones, engraving, rush,
            tier, count(*) as ordered
        from (select * from ops.orders where {{which}} order by order_id desc limit {_ORDERS_LOOKED_AT}) as orders
        join ops.order_items as items using (order_id)
        join ops.models using (model_id)
        join ops.customers using (customer_id)
        group by items.model_id, finish, quantity, longest_side_mm, stones, engraving, rush, tier
        order by ordered desc, items.model_id, finish, quantity, longest_side_mm limit {PIECES_AT_MOST}
    ) as items
    cross join lateral (
        select {", ".join(_MEASURES)} from ops.geometries where geometries.model_id = items.model_id
        order by kernel_version desc limit 1
    ) as geometries
"""


def _items(frame: pl.DataFrame) -> pl.DataFrame:
    stones = pl.col("stones").str.json_decode(STONES) if frame["stones"].count() else pl.lit(None, STONES)
    characters = pl.col("engraving").map_elements(
        lambda engraving: Engraving.model_validate_json(engraving).characters, return_dtype=pl.Int64
    )
    return frame.with_columns(stones.alias("stones"), characters.alias("engraving_characters"))


def _of_material(material: str, moved: pl.DataFrame) -> MaterialMoves:
    """`moved` is sorted by its moves."""
    if moved.is_empty():
        return MaterialMoves(material, 0, None, None, None, ())
    examples = _examples(moved)
    least, most = examples[0].percent, examples[-1].percent
    return MaterialMoves(material, moved.height, least, _rounded(moved["move"].median()), most, examples)


def _examples(moved: pl.DataFrame) -> tuple[Example, ...]:
    places = dict.fromkeys((0, (moved.height - 1) // 2, moved.height - 1))
    rows: Sequence[tuple[str, str, int, Decimal, Decimal]] = moved.select(
        "piece", "finish", "quantity", "old", "new"
    ).rows()
    return tuple(Example(*rows[place]) for place in places)


def _rounded(move: object) -> Decimal:
    return Decimal(str(move)).quantize(Decimal("0.1"))
