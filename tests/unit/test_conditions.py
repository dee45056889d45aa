"""What the console calls wrong is what alerts call so."""

import re
from pathlib import Path
from typing import Any

import pytest
import yaml

from mes.observability import conditions
from mes.observability.conditions import CONDITIONS, Condition, Sample, Urgency

RULES = Path(__file__).resolve().parents[2] / "deploy/prometheus/rules/causes.yml"
ALERTS: dict[str, dict[str, Any]] = {
    rule["alert"]: rule for group in yaml.safe_load(RULES.read_text())["groups"] for rule in group["rules"]
}


def _bound(expression: str, condition: Condition) -> float:
    """The number that the rule compares this gauge with."""
    selector = "".join(f'{{{name}="{value}"}}' for name, value in condition.where.items())
    found = re.search(rf"{condition.gauge}{re.escape(selector)}\)* (?:>|==) ([\d* ]+)", expression)
    assert found, expression
    product = 1.0
    for factor in found[1].split("*"):
        product *= float(factor)
    return product


@pytest.mark.parametrize("condition", CONDITIONS, ids=lambda condition: condition.alert)
def test_a_condition_is_an_alert_with_the_same_bound_and_urgency(condition: Condition) -> None:
    rule = ALERTS[condition.alert]
    assert rule["labels"]["severity"] == condition.urgency.value
    assert _bound(rule["expr"], condition) == (0 if condition.below else condition.bound)


@pytest.mark.parametrize("condition", CONDITIONS, ids=lambda condition: condition.alert)
def test_a_condition_holds_beyond_its_bound_alone(condition: Condition) -> None:
    inside, beyond = (
        (condition.bound, condition.bound - 1) if condition.below else (condition.bound, condition.bound + 1)
    )
    labels = dict.fromkeys(("group", "carrier", "system", "feed"), "x") | dict(condition.where)
    assert condition not in _wrong(Sample(condition.gauge, labels, inside))
    assert condition in _wrong(Sample(condition.gauge, labels, beyond))
    if condition.where:
        assert condition not in _wrong(Sample(condition.gauge, dict.fromkeys(condition.where, "other"), beyond))


def test_what_wakes_somebody_comes_first() -> None:
    found = [Sample("mes_inbox_parked_orders", {}, 2), Sample("mes_outbox_oldest_age_seconds", {}, 99)]
    assert [each.condition.urgency for each in conditions.wrong(found)] == [Urgency.PAGE, Urgency.TICKET]
    assert conditions.wrong([]) == []


def _wrong(sample: Sample) -> list[Condition]:
    return [each.condition for each in conditions.wrong([sample])]
