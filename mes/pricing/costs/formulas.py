"""Turns Polars expressions into plain Python for a single row, as planning a query takes longer than its sums."""

import json
import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from decimal import ROUND_HALF_EVEN, ROUND_HALF_UP, Context, Decimal
from typing import Any

import polars as pl

Row = dict[str, Any]
Content = Any
"""A node of an expression in Polars' own JSON: an object with one member, named after the node's kind."""

EXACT = Context(prec=76)
"""Wide enough for every product of two of Polars' decimals; to be the current context while rows are worked out."""

_SHOWN = 500  # characters of what is not known


class NotAFormula(Exception):
    """This expression has a part that is not known here: write it otherwise, or teach this module the part."""


def compiled(steps: Iterable[Sequence[pl.Expr]]) -> Callable[[Mapping[str, Any]], Row]:
    """A function from a row to the columns that steps of `with_columns` make of it.

    It knows what the cost model is made of: arithmetic, comparisons, `when`, casts to decimals and floats, and a few
    functions. Nulls, infinities, NaN and rounding are as in Polars, but for the last bit of a sum of three floats. A
    column divided by a number is refused: Polars divides in one row, and multiplies by the inverse in several. One
    Python statement stands for each node; calls from node to node would take twice as long.

    Args:
        steps: expressions with an alias each.

    Raises:
        NotAFormula: an expression says something else.
    """
    program = _Program()
    for step in steps:
        program.add([_named(expression) for expression in step])
    space: dict[str, Any] = {**_HELPERS}
    exec(program.source(), space)  # noqa: S102 - made of our own expressions alone, as dataclasses are of their fields
    made: Callable[[Mapping[str, Any]], Row] = space["work_out"]
    return made


@dataclass
class _Program:
    """The statements so far, and the variables that hold columns: those that are read, and those that are made."""

    lines: list[str] = field(default_factory=list)
    columns: dict[str, str] = field(default_factory=dict)
    made: dict[str, str] = field(default_factory=dict)

    def add(self, step: Iterable[tuple[str, Content]]) -> None:
        """Work a step out; what it makes can be read from the next one on."""
        new = {name: self.value(content) for name, content in step}
        self.columns |= new
        self.made |= new

    def source(self) -> str:
        """A function that makes the columns."""
        result = ", ".join(f"{name!r}: {variable}" for name, variable in self.made.items())
        return "\n    ".join(["def work_out(row):", *self.lines, f"return {{{result}}}"])

    def value(self, content: Content) -> str:
        """Where the value of a node is found: a variable, or a literal."""
        match content:
            case {"Column": str(name)}:
                if name not in self.columns:
                    self.columns[name] = self._keep(f"row[{name!r}]")
                return self.columns[name]
            case {"Literal": inside}:
                return _literal(inside)
            case {"BinaryExpr": {"left": left, "op": str(sign), "right": right}}:
                return self._binary(sign, self.value(left), self.value(right))
            case {"Ternary": {"predicate": asked, "truthy": this, "falsy": that}}:
                return self._keep(f"{self.value(this)} if {self.value(asked)} else {self.value(that)}")
            case {"Cast": {"expr": inner, "dtype": {"Literal": dtype}}}:
                return self._known(_cast(dtype), self.value(inner))
            case {"Function": {"input": inputs, "function": function}}:
                return self._function(function, [self.value(one) for one in inputs])
        raise NotAFormula(_shown(content))

    def _keep(self, expression: str) -> str:
        variable = f"v{len(self.lines)}"
        self.lines.append(f"{variable} = {expression}")
        return variable

    def _known(self, pattern: str, *operands: str) -> str:
        """What comes of operands, unless one of them is null."""
        nulls = " or ".join(f"{operand} is None" for operand in operands if operand.isidentifier())
        worked_out = pattern.format(*operands)
        return self._keep(f"None if {nulls} else {worked_out}" if nulls else worked_out)

    def _binary(self, sign: str, left: str, right: str) -> str:
        if sign == "And":
            return self._keep(f"both({left}, {right})")
        if sign not in _SIGNS or (sign == "TrueDivide" and not right.isidentifier()):
            raise NotAFormula(f"{sign} {right}")
        return self._known(_SIGNS[sign], left, right)

    def _function(self, function: Content, inputs: list[str]) -> str:
        match function:
            case "MaxHorizontal" | "MinHorizontal" | "Coalesce" | "FillNull" as name:
                return self._keep(f"{name}(({', '.join(inputs)},))")
            case "Ceil":
                return self._known("ceil({})", *inputs)
            case {"SumHorizontal": {"ignore_nulls": False}}:
                return self._known(" + ".join(["{}"] * len(inputs)), *inputs)
            case {"Boolean": "IsNull"}:
                return self._keep(f"{inputs[0]} is None")
            case {"Round": {"decimals": int(decimals), "mode": "HalfAwayFromZero"}}:
                return self._known(f"{{}}.quantize(step[{decimals}], ROUND_HALF_UP)", *inputs)
            case {"Clip": {"has_min": bool(has_min), "has_max": bool(has_max)}}:
                bounds = iter(inputs[1:])
                low, high = (next(bounds) if given else "None" for given in (has_min, has_max))
                return self._known(f"clip({{}}, {low}, {high})", inputs[0])
        raise NotAFormula(_shown(function))


def _named(expression: pl.Expr) -> tuple[str, Content]:
    match json.loads(expression.meta.serialize(format="json")):
        case {"Alias": [content, str(name)]}:
            return name, content
    raise NotAFormula(f"no alias: {expression}")


def _literal(content: Content) -> str:
    match content:
        case {"Dyn": {"Int": value} | {"Float": value}} | {"Scalar": {"String": value}}:
            return repr(value)
        case {"Scalar": {"Null": _}}:
            return "None"
    raise NotAFormula(_shown(content))


def _cast(dtype: Content) -> str:
    match dtype:
        case "Float64":
            return "float({})"
        case {"Decimal": [_, int(scale)]}:
            return f"to_decimal({{}}, {scale})"
    raise NotAFormula(_shown(dtype))


def _shown(content: Content) -> str:
    return json.dumps(content)[:_SHOWN]


def _divide(one: Any, other: Any) -> Any:  # noqa: ANN401 - numbers
    try:
        return one / other
    except ZeroDivisionError:
        no_number = not one or math.isnan(one)
        return math.nan if no_number else math.copysign(math.inf, one) * math.copysign(1.0, other)


def _to_decimal(value: float | Decimal, scale: int) -> Decimal:
    if isinstance(value, float):
        return round(value * _UNITS[scale]) * _STEPS[scale]  # as Polars: the product is a float too
    return Decimal(value).quantize(_STEPS[scale], ROUND_HALF_EVEN)


def _extreme(choose: Callable[[list[Any]], Any]) -> Callable[[Sequence[Any]], Any]:
    """Of all but nulls and NaN, which Polars leaves out."""

    def chosen(values: Sequence[Any]) -> Any:  # noqa: ANN401 - numbers
        numbers = [value for value in values if value is not None and value == value]  # noqa: PLR0124 - NaN is not
        return choose(numbers) if numbers else _first(values)

    return chosen


def _first(values: Sequence[Any]) -> Any:  # noqa: ANN401 - any
    for value in values:
        if value is not None:
            return value
    return None


def _ceil(value: float) -> float:
    return float(math.ceil(value)) if math.isfinite(value) else value


def _clip(value: Any, low: Any, high: Any) -> Any:  # noqa: ANN401 - numbers
    if low is not None and value < low:
        return low
    return high if high is not None and value > high else value


def _both(one: bool | None, other: bool | None) -> bool | None:  # noqa: FBT001 - three truth values
    """Kleene's: null where the other one does not decide."""
    if one is False or other is False:
        return False
    return None if one is None or other is None else True


_SCALES = range(39)
_STEPS = [Decimal(1).scaleb(-scale) for scale in _SCALES]
_UNITS = [10.0**scale for scale in _SCALES]
_SIGNS = {
    "Plus": "{} + {}",
    "Minus": "{} - {}",
    "Multiply": "{} * {}",
    "TrueDivide": "divide({}, {})",
    "Eq": "{} == {}",
    "Gt": "{} > {}",
    "GtEq": "{} >= {}",
    "Lt": "{} < {}",
    "LtEq": "{} <= {}",
}
_HELPERS: dict[str, Any] = {
    "ROUND_HALF_UP": ROUND_HALF_UP,
    "both": _both,
    "ceil": _ceil,
    "clip": _clip,
    "divide": _divide,
    "step": _STEPS,
    "to_decimal": _to_decimal,
    "MaxHorizontal": _extreme(max),
    "MinHorizontal": _extreme(min),
    "Coalesce": _first,
    "FillNull": _first,
}
