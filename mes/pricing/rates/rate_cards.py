"""Reads rate cards from a workshop's files and writes them, says in words what is wrong with one, picks one by date."""

import csv
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import UTC, date, datetime
from decimal import Decimal
from enum import StrEnum
from itertools import pairwise
from pathlib import Path
from typing import Any

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator
from pydantic_core import ErrorDetails

from mes.errors import MesError
from mes.pricing.options import fault_in_words
from mes.pricing.rates.rate_card import MetalPrices, RateCard

__all__ = ["BadRateCard", "NoRateCard", "RateCard", "as_yaml", "load_file", "load_sample", "valid_at", "with_metals"]

SAMPLE_FILE = Path(__file__).parent / "cards" / "sample.yaml"
CSV_COLUMNS = {"gold_usd_ozt": "gold", "silver_usd_ozt": "silver", "platinum_usd_ozt": "platinum"}
_MONTH = re.compile(r"(\d{4})M(\d{2})")  # the World Bank's way to write a month: 1960M01
_CURE = "Correct the file and load it again; nothing of it was used."


class BadRateCard(MesError):
    """This file of rate cards cannot be used."""

    code, http_status = "bad_rate_card", 422


class NoRateCard(MesError):
    """No rate card is valid at that time."""

    code = "no_rate_card"


class _DatedPrices(MetalPrices):
    model_config = ConfigDict(extra="forbid", frozen=True, populate_by_name=True)

    start: date = Field(alias="from")


class _BaseAndPrices(BaseModel):
    model_config = ConfigDict(extra="forbid")

    base: dict[str, Any]
    metal_prices: list[_DatedPrices] = Field(min_length=1)

    @field_validator("base")
    @classmethod
    def _leaves_dates_to_the_prices(cls, base: dict[str, Any]) -> dict[str, Any]:
        if given := sorted({"metals", "valid_from", "valid_to"} & base.keys()):
            raise ValueError(f"{', '.join(given)} must not stand here, as metal_prices gives it; remove it")
        return base


def load_file(path: Path, *, base: RateCard | None = None) -> list[RateCard]:
    """Read the rate cards of one file, oldest first.

    `.yaml`, `.yml`: one card; or a `base` (a card without dates and metal prices) with a list `metal_prices` of
    `{from, gold, silver, platinum}`, which makes one card per date, each valid until the next. `.csv`: columns `month`
    (`1960M01`) or `date` (`1960-01-01`), and `gold_usd_ozt`, `silver_usd_ozt`, `platinum_usd_ozt`; one card per row,
    with the other rates of `base`, or of the shipped sample card where there is none.

    Raises:
        BadRateCard: naming the file, the line or field, and the cure.
    """
    try:
        text = path.read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        raise BadRateCard(f"{path}: cannot be read as UTF-8 text: {error}. Give a readable file.") from error
    match path.suffix.lower():
        case ".yaml" | ".yml":
            return _from_yaml(path, text)
        case ".csv":
            return _from_csv(path, text, base or load_sample()[-1])
        case _:
            raise BadRateCard(f"{path}: rate cards are read from .yaml, .yml or .csv files; rename or convert it.")


def as_yaml(card: RateCard) -> str:
    """The card as a file that `load_file` reads again, to the same version."""
    return yaml.dump(card.model_dump(exclude_none=True), Dumper=_CardDumper, sort_keys=False, allow_unicode=True)


def with_metals(card: RateCard, prices: Mapping[str, str], valid_from: date) -> RateCard:
    """A copy of the card from `valid_from` on, with these market prices by metal (USD per troy ounce).

    Raises:
        BadRateCard: a price or the date cannot be; says which.
    """
    changed = {"metals": {**card.metals.model_dump(), **prices}, "valid_from": valid_from}
    try:
        return RateCard.model_validate({**card.model_dump(), **changed})
    except ValidationError as error:
        words = "; ".join(fault_in_words(fault) for fault in error.errors(include_url=False))
        raise BadRateCard(
            f"These market prices make no rate card. {words}. Correct them; nothing was stored."
        ) from None


def load_sample() -> list[RateCard]:
    """The cards shipped with this system, 2010 until open end, to try it with; a workshop loads its own instead."""
    return load_file(SAMPLE_FILE)


def valid_at(cards: Iterable[RateCard], when: datetime) -> RateCard:
    """The card that holds at `when` (with its zone); of several, the one that began last, then the last of `cards`.

    Raises:
        NoRateCard: none holds then.
    """
    day = when.astimezone(UTC).date()
    holding = [card for card in cards if card.valid_from <= day and (card.valid_to is None or day < card.valid_to)]
    if not holding:
        raise NoRateCard("No rate card is valid on that day; load one that covers it.", day=day.isoformat())
    return max(reversed(holding), key=lambda card: card.valid_from)  # `max` takes the first of equals


class _CardDumper(yaml.SafeDumper):
    """Writes amounts as plain numbers, as people do."""

    def decimal(self, value: Decimal) -> yaml.ScalarNode:
        """Digits as they are: the tag must be the one that readers see in them, or it is written out."""
        digits = format(value, "f")
        return self.represent_scalar(f"tag:yaml.org,2002:{'float' if '.' in digits else 'int'}", digits)

    def code(self, value: StrEnum) -> yaml.ScalarNode:
        """Settings and cuts by their codes."""
        return self.represent_str(value.value)


_CardDumper.add_representer(Decimal, _CardDumper.decimal)
_CardDumper.add_multi_representer(StrEnum, _CardDumper.code)


def _from_yaml(path: Path, text: str) -> list[RateCard]:
    try:
        root = yaml.compose(text, Loader=yaml.SafeLoader)
        _refuse_repeated_keys(path, root)
        content = yaml.safe_load(text)
    except yaml.YAMLError as error:
        raise BadRateCard(f"{path}: is not valid YAML: {' '.join(str(error).split())}. {_CURE}") from error
    if not isinstance(content, dict):
        raise BadRateCard(f"{path}: must hold a rate card (fields and values). {_CURE}")
    try:
        if "metal_prices" not in content:
            return [RateCard.model_validate(content)]
        parts = _BaseAndPrices.model_validate(content)
    except ValidationError as error:
        raise _bad_fields(path, error, root) from None
    where = [f"line {_line_of(root, ('metal_prices', index))}" for index in range(len(parts.metal_prices))]
    _refuse_disorder(path, parts.metal_prices, where)
    try:
        return _one_card_per_date(parts.base, parts.metal_prices)
    except ValidationError as error:
        raise _bad_fields(path, error, root, below="base") from None


def _from_csv(path: Path, text: str, base: RateCard) -> list[RateCard]:
    reader = csv.DictReader(text.splitlines(), strict=True)
    columns = set(reader.fieldnames or ())
    missing = [column for column in CSV_COLUMNS if column not in columns]
    missing += [] if columns & {"month", "date"} else ["month (or date)"]
    if missing:
        raise BadRateCard(f"{path}: line 1: column {', '.join(missing)} is missing. {_CURE}")
    prices, where = [], []
    for row in _rows(path, reader):
        where.append(f"line {reader.line_num}")
        prices.append(_dated_prices(path, row, where[-1]))
    if not prices:
        raise BadRateCard(f"{path}: holds no prices below its header. {_CURE}")
    _refuse_disorder(path, prices, where)
    rates = base.model_dump(exclude={"metals", "valid_from", "valid_to"})
    return _one_card_per_date({**rates, "name": path.stem}, prices)


def _rows(path: Path, reader: "csv.DictReader[str]") -> Iterator[dict[str, str]]:
    try:
        yield from reader
    except csv.Error as error:
        raise BadRateCard(f"{path}: line {reader.line_num}: is not valid CSV: {error}. {_CURE}") from error


def _dated_prices(path: Path, row: Mapping[str, str], where: str) -> _DatedPrices:
    day = row.get("month") or row.get("date") or ""
    month = _MONTH.fullmatch(day.strip())
    fields = {"from": f"{month[1]}-{month[2]}-01" if month else day.strip()}
    fields |= {metal: (row[column] or "").strip() for column, metal in CSV_COLUMNS.items()}
    try:
        return _DatedPrices.model_validate(fields)
    except ValidationError as error:
        names = {metal: column for column, metal in CSV_COLUMNS.items()} | {"from": "month or date"}
        faults = [{**fault, "loc": (names[str(fault["loc"][0])],)} for fault in error.errors(include_url=False)]
        words = "; ".join(fault_in_words(fault) for fault in faults)  # type: ignore[arg-type]  # loc alone changed
        raise BadRateCard(f"{path}: {where}: {words}. {_CURE}") from None


def _one_card_per_date(base: Mapping[str, Any], prices: Sequence[_DatedPrices]) -> list[RateCard]:
    ends = [later.start for later in prices[1:]] + [None]
    return [
        RateCard.model_validate(
            {**base, "metals": price.model_dump(exclude={"start"}), "valid_from": price.start, "valid_to": end}
        )
        for price, end in zip(prices, ends, strict=True)
    ]


def _refuse_disorder(path: Path, prices: Sequence[_DatedPrices], where: Sequence[str]) -> None:
    for (earlier, later), line in zip(pairwise(prices), where[1:], strict=True):
        if later.start <= earlier.start:
            raise BadRateCard(f"{path}: {line}: {later.start} does not follow {earlier.start}; sort by date. {_CURE}")


def _refuse_repeated_keys(path: Path, node: yaml.Node | None) -> None:
    if isinstance(node, yaml.SequenceNode):
        for item in node.value:
            _refuse_repeated_keys(path, item)
    if isinstance(node, yaml.MappingNode):
        seen: set[str] = set()
        for key, value in node.value:
            if str(key.value) in seen:
                line = key.start_mark.line + 1
                raise BadRateCard(f"{path}: line {line}: {key.value} is given twice; keep one of them. {_CURE}")
            seen.add(str(key.value))
            _refuse_repeated_keys(path, value)


def _bad_fields(path: Path, error: ValidationError, root: yaml.Node | None, below: str | None = None) -> BadRateCard:
    prefix = (below,) if below else ()
    faults = "; ".join(_fault(fault, root, prefix) for fault in error.errors(include_url=False))
    return BadRateCard(f"{path}: {faults}. {_CURE}")


def _fault(fault: ErrorDetails, root: yaml.Node | None, prefix: tuple[str, ...]) -> str:
    return f"line {_line_of(root, (*prefix, *fault['loc']))}: {fault_in_words(fault)}"


def _line_of(node: yaml.Node | None, location: Sequence[str | int]) -> int:
    """Line of the deepest node on the way to `location` that the file has."""
    line = node.start_mark.line + 1 if node else 1
    for part in location:
        if isinstance(node, yaml.MappingNode):
            node = next((value for key, value in node.value if key.value == part), None)
        elif isinstance(node, yaml.SequenceNode) and isinstance(part, int) and part < len(node.value):
            node = node.value[part]
        else:
            return line
        if node is None:
            return line
        line = node.start_mark.line + 1
    return line
