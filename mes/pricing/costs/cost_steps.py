"""Works prices out in steps of expressions, which are built once and used for one row as for millions."""

import polars as pl

from mes.pricing.costs.cost_lines import (
    CM2_PER_MM2,
    CM3_PER_MM3,
    MARGIN,
    MINIMUM,
    QUANTITY_BREAK,
    QUANTITY_LINES,
    RUSH,
    Group,
    LineRule,
)
from mes.pricing.costs.rounding import EXACT, MONEY, TIE, amount, cents, quantity
from mes.pricing.options import LONGEST_SIDE_MAX_MM

EXTENTS = ("extent_x_mm", "extent_y_mm", "extent_z_mm")
BOX = ("box_length_mm", "box_width_mm", "box_height_mm")

_LAYER_SLACK = 1e-9  # of a layer: 3.2 mm in layers of 0.032 mm are 100, not 101 for the sake of a float's last bit
_MEASURES_MAX = 2 * LONGEST_SIDE_MAX_MM**3  # mm3, and all else is less: keeps quantities far from a decimal's limits
_PIECE_SIDES = ("piece_length_mm", "piece_width_mm", "piece_height_mm")
_POSITIVE = (*_PIECE_SIDES, "piece_volume_mm3", "piece_area_cm2", "print_mm")
_NULL = pl.lit(None, pl.String)
_col = pl.col

Step = tuple[pl.Expr, ...]


def _step(**columns: pl.Expr) -> Step:
    return tuple(made.alias(name) for name, made in columns.items())


def _cubed(column: str) -> pl.Expr:
    return _col(column) * _col("scale") * _col("scale") * _col("scale")


def _with_clearance(side: str) -> pl.Expr:
    return _col(side) + 2 * _col("clearance_mm")


def _fits() -> pl.Expr:
    """Whether the measures are a piece's; their sum tells at once if one is missing, infinite or no number."""
    every = pl.sum_horizontal(*_POSITIVE, "piece_support_mm3", "detail_factor", ignore_nulls=False)
    positive = (pl.min_horizontal(_POSITIVE) > 0) & (_col("piece_support_mm3") >= 0)
    return positive & (every <= _MEASURES_MAX) & (_col("piece_longest_mm") <= LONGEST_SIDE_MAX_MM * TIE)


def _sum(group: Group, stones: str) -> pl.Expr:
    """Sum of a group's lines and its stones; null if one of the lines is."""
    lines = [rule.amount_column for rule in QUANTITY_LINES if rule.group is group]
    return pl.sum_horizontal(*lines, stones, ignore_nulls=False)


def _term(rule: LineRule, base: pl.Expr) -> Step:
    return _step(**{rule.quantity_column: base, rule.amount_column: amount(base, _col(rule.rate))})


_COST = ("material_amount", "work_amount", QUANTITY_BREAK.amount_column, RUSH.amount_column)
_BEFORE_MINIMUM = _col(MARGIN.quantity_column) + _col(MARGIN.amount_column)

SIZE = (
    # what kernel 1 did not measure falls back to what prices were made of then
    _step(scale=(_col("longest_side_mm") / pl.max_horizontal(EXTENTS)).fill_null(1.0)),
    _step(
        piece_longest_mm=pl.max_horizontal(EXTENTS) * _col("scale"),
        piece_volume_mm3=_cubed("volume_mm3"),
        piece_area_cm2=_col("area_mm2") * _col("scale") * _col("scale") * CM2_PER_MM2,
        **{
            piece: pl.coalesce(box, extent) * _col("scale")
            for piece, box, extent in zip(_PIECE_SIDES, BOX, EXTENTS, strict=True)
        },
        print_mm=pl.coalesce("print_height_mm", pl.min_horizontal(EXTENTS)) * _col("scale"),
        piece_support_mm3=_cubed("support_mm3").fill_null(0.0),
        detail_factor=1 + _col("detail_share") * (_col("detail").clip(1.0, "detail_most").fill_null(1.0) - 1),
    ),
)
CHECK = (
    _step(
        problem=pl.coalesce(
            "rate_problem",
            pl.when(_fits()).then(_NULL).otherwise(pl.lit("bad_geometry")),
            pl.when("stones_priced").then(_NULL).otherwise(pl.lit("no_stone_rate")),
        )
    ),
    _step(
        pieces=pl.when(_col("problem").is_null()).then(_col("quantity").cast(pl.Float64)),
        once=pl.when(_col("problem").is_null()).then(1.0),
    ),
)
QUANTITIES = (
    _step(
        mass_g=_col("piece_volume_mm3") * CM3_PER_MM3 * _col("density_g_cm3") * _col("pieces"),
        layers=(_col("print_mm") / _col("layer_mm") - _LAYER_SLACK).ceil() * _col("once"),
        box_mm3=_with_clearance(_PIECE_SIDES[0]) * _with_clearance(_PIECE_SIDES[1]) * _with_clearance(_PIECE_SIDES[2]),
        area_cm2=_col("piece_area_cm2") * _col("pieces"),
        wax_cm3=_col("piece_volume_mm3") * CM3_PER_MM3 * (1 + _col("sprue_ratio")) * _col("pieces"),
        characters=_col("engraving_characters").fill_null(0) * _col("pieces"),
    ),
    _step(
        sprue_g=_col("mass_g") * _col("sprue_ratio"),
        flasks=_col("box_mm3") / _col("flask_capacity_mm3") * _col("pieces"),
        print_seconds=_col("layers") * _col("seconds_per_layer")
        + _col("piece_volume_mm3") / _col("mm3_per_hour") * 3600,
    ),
    _step(
        poured_g=_col("mass_g") + _col("sprue_g"),
        **{rule.quantity_column: quantity(rule.quantity) for rule in QUANTITY_LINES if rule.quantity is not None},
    ),
)
# quantity break and rush on the work, margin on all of it, then the minimum; each is a line of its own
AMOUNTS = (
    _step(**{line.amount_column: amount(_col(line.quantity_column), _col(line.rate)) for line in QUANTITY_LINES}),
    _step(
        material_amount=_sum(Group.MATERIAL, "stones_amount").cast(MONEY),
        work_amount=_sum(Group.WORK, "settings_amount").cast(MONEY),
        rush_rate=pl.when("rush").then("rush_surcharge").otherwise("zero"),
        minimum_total=cents(pl.max_horizontal(_col("minimum_piece") * _col("quantity"), "minimum_line")),
    ),
    _term(QUANTITY_BREAK, _col("work_amount")),
    _term(RUSH, _col("work_amount") + _col(QUANTITY_BREAK.amount_column)),
    _term(MARGIN, pl.sum_horizontal(*_COST, ignore_nulls=False)),
    _term(MINIMUM, (_col("minimum_total") - _BEFORE_MINIMUM).clip(lower_bound=0)),
    _step(total=(_BEFORE_MINIMUM + _col(MINIMUM.amount_column)).cast(MONEY)),
    _step(unit_price=cents(_col("total").cast(EXACT) / _col("quantity"))),
)
STEPS = (*SIZE, *CHECK, *QUANTITIES, *AMOUNTS)
