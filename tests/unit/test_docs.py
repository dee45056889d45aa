"""Holds the pages of docs/ against the code that they speak of."""

import re
from datetime import UTC, datetime
from pathlib import Path

import pytest

from mes import config
from mes.feeds import catalogue, check
from mes.models import intake
from mes.orders import anomalies
from mes.orders.life import Status

ROOT = Path(__file__).resolve().parents[2]
PAGES = sorted([ROOT / "README.md", ROOT / "CHANGELOG.md", *(ROOT / "docs").rglob("*.md")])
NOW = datetime(2026, 1, 1, tzinfo=UTC)

_LINK = re.compile(r"\]\((?!https?://|#)([^)#\s]+)[^)]*\)")
_CODE = re.compile(r"^```\w*\n(.*?)^```|`([^`\n]+)`", re.MULTILINE | re.DOTALL)
_TARGET = re.compile(r"^make ([a-z]+)", re.MULTILINE)


def _settings_table() -> dict[str, tuple[str, str]]:
    rows = re.findall(
        r"^\| `(MES_\w+)` \| (.*?) \| (.*) \|$", (ROOT / "docs/configuration.md").read_text(), re.MULTILINE
    )
    return {name: (default, meaning) for name, default, meaning in rows}


def _default(value: object) -> str:
    return "-" if value is None else f"`{value}`"


def test_every_setting_is_described_with_its_default() -> None:
    described = {
        config.variable(name): (_default(field.default), field.description)
        for name, field in config.Settings.model_fields.items()
    }
    assert _settings_table() == described


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_links_between_pages_lead_somewhere(page: Path) -> None:
    targets = _LINK.findall(page.read_text())
    broken = [target for target in targets if not (page.parent / target).exists()]
    # the picture is taken from the running console, at a release
    assert [target for target in broken if not target.startswith("docs/images/")] == []


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_make_targets_that_pages_name_exist(page: Path) -> None:
    known = set(re.findall(r"^([a-z]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))
    code = "\n".join(block or span for block, span in _CODE.findall(page.read_text()))
    assert set(_TARGET.findall(code)) - known == set()


def test_every_kind_of_quarantine_is_explained() -> None:
    rules = [
        *check.order_rules(NOW, NOW),
        *check.item_rules(),
        *(rule for feed in catalogue.FEEDS if feed.kind is catalogue.Kind.EVENT for rule in _event_rules(feed)),
    ]
    kinds = {rule.kind for rule in rules} | set(intake._ADVICE) | set(_kinds_written_in("feeds/lines.py"))
    kinds |= set(_kinds_written_in("feeds/apply.py"))
    assert kinds - _explained("Rows in quarantine") == set()


def test_every_kind_of_anomaly_is_explained() -> None:
    assert _explained("Anomalies") == set(anomalies.KINDS)


def test_every_field_and_status_of_the_feeds_is_in_the_contract() -> None:
    contract = (ROOT / "docs/integrator.md").read_text()
    fields = {field.name for feed in catalogue.FEEDS for field in feed.schema.fields} - {"order", "customer"}
    assert {name for name in [*fields, *Status] if f"`{name}`" not in contract} == set()


def test_every_decision_is_listed() -> None:
    listed = (ROOT / "docs/adr/README.md").read_text()
    decisions = [page.name for page in (ROOT / "docs/adr").glob("0*.md")]
    assert decisions
    assert [name for name in decisions if f"({name})" not in listed] == []


def _event_rules(feed: catalogue.Feed) -> list[check.Rule]:
    return check.event_rules(feed, NOW, NOW)


def _kinds_written_in(module: str) -> list[str]:
    return re.findall(r"""["'](not_\w+|too_\w+|wrong_\w+|order_unknown)["']""", (ROOT / "mes" / module).read_text())


def _explained(heading: str) -> set[str]:
    """The names in the first column of the table below a heading of the data engineer's page."""
    text = (ROOT / "docs/data-engineer.md").read_text()
    section = text.split(f"## {heading}\n", 1)[1].split("\n## ", 1)[0]
    first_cells = re.findall(r"^\| (`.*?) \|", section, re.MULTILINE)
    return {name for cell in first_cells for name in re.findall(r"`(\w+)`", cell)}
