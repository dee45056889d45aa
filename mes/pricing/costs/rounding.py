"""Rounds in Polars as people do by hand, half up, so that a bulk price equals a single one and one on paper."""

import polars as pl

QUANTITY = pl.Decimal(38, 6)
EXACT = pl.Decimal(38, 12)  # a quantity x a rate, both of 6 decimals, needs 12; a rate is kept with as many
MONEY = pl.Decimal(38, 2)
TIE = 1 + 1e-12  # a float that stands for a tie (0.0000005) may lie just below it; people round the tie up


def quantity(measured: pl.Expr) -> pl.Expr:
    """A measured float as the decimal that a line shows, 6 decimals, half up."""
    return (measured * TIE).cast(QUANTITY)


def amount(units: pl.Expr, rate: pl.Expr) -> pl.Expr:
    """`units` (at most 6 decimals) x `rate` (`EXACT`), exact, then rounded once to the cent; still `EXACT`."""
    return _to_the_cent(units * rate)


def cents(exact: pl.Expr) -> pl.Expr:
    """Half up to the cent, away from zero where negative, as `MONEY`."""
    return _to_the_cent(exact).cast(MONEY)


def _to_the_cent(exact: pl.Expr) -> pl.Expr:
    return exact.round(2, mode="half_away_from_zero")  # Polars by itself rounds half to even
