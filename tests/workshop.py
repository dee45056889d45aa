"""Loads feeds as the pipeline does, step by step, without Dagster around it."""

import json
from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import UTC, date, datetime
from pathlib import Path

from sqlalchemy import Engine, text

from mes.clock import utc_now
from mes.feeds import apply as applying
from mes.feeds import land
from mes.feeds.apply import Report
from mes.feeds.catalogue import FEEDS, Feed
from mes.feeds.files import FeedFolder
from mes.feeds.land import Landed
from mes.models import intake
from mes.models.sandbox import Limits
from mes.models.store import ObjectStore
from mes.reports.summary import summarize

SINCE = datetime(2010, 1, 1, tzinfo=UTC)
LIMITS = Limits(max_bytes=200 * 1024 * 1024, time_limit_s=60, memory_limit_mb=4096)
# the models that the real feeds name, once each
REAL_MODELS = (
    "meshes/classic/fish.obj",
    "meshes/classic/goathead.obj",
    "meshes/classic/koala.obj",
    "meshes/classic/koala_low_resolution.obj",
    "meshes/classic/nefertiti-lowres.obj",
    "meshes/classic/penguin_hr.obj",
    "meshes/classic/spot_low_resolution.obj",
    "meshes/classic/torus.obj",
    "meshes/classic/wingnut.obj",
    "meshes/jewelry/gpl3_guacanati_pendant.stl",
    "meshes/jewelry/gpl3_guacanati_pendant2.stl",
    "meshes/jewelry/gpl3_guacanati_pendant3.stl",
    "meshes/jewelry/gpl3_jmarsik_geometry_bracelet_ring_1-70mmID_8mmT_40mmW_3x20deg_360deg_31scale.3mf",
    "meshes/jewelry/gpl3_jmarsik_geometry_bracelet_ring_1-70mmID_8mmT_40mmW_3x20deg_360deg_31scale.stl",
    "meshes/jewelry/mit_franout_bracelet.stl",
    "meshes/jewelry/mit_ringshowcase_ring.stl",
)


@dataclass
class Workshop:
    """A database, an object store and a folder of models to load feeds into."""

    engine: Engine
    home: Path
    models: Path
    now: datetime = field(default_factory=utc_now)

    def __post_init__(self) -> None:
        self.store = ObjectStore(str(self.home / "objects"))

    def load(self, feeds: Path, *, only: Iterable[Feed] = FEEDS, months: set[date] | None = None) -> dict[str, Landed]:
        """Land the feeds (of all their months, or of `months`), each in a transaction of its own."""
        landed = {}
        folder = FeedFolder(str(feeds))
        for feed in only:
            wanted = months or land.months_in(feed, folder, now=self.now, since=SINCE)
            with self.engine.begin() as conn:
                landed[feed.name] = land.load(conn, feed, folder, self.store, wanted, now=self.now, since=SINCE)
        return landed

    def measure(self) -> None:
        """Measure the models that landed orders name."""
        with self.engine.begin() as conn:
            names = intake.names_wanted(conn)
            intake.take_in(conn, names, store=self.store, root=self.models, limits=LIMITS)

    def apply(self) -> Report:
        """Measure what is named, then apply what landed."""
        self.measure()
        return applying.apply(self.engine, now=self.now)

    def main(self, feeds: Path) -> Report:
        """Land everything, then apply it."""
        self.load(feeds)
        return self.apply()

    def rows(self, sql: str, **values: object) -> list[tuple[object, ...]]:
        """What a query gives, as tuples."""
        with self.engine.begin() as conn:
            return [tuple(row) for row in conn.execute(text(sql), values)]

    def statuses(self) -> dict[str, int]:
        """How many orders stand in each status."""
        return dict(self.rows("select status::text, count(*) from ops.orders group by 1"))  # type: ignore[arg-type]

    def content(self) -> str:
        """A digest of everything that the feeds say, whatever ids the database gave."""
        with self.engine.begin() as conn:
            return summarize(conn).digest


def some_orders(feeds: Path, target: Path, *, step: int) -> Path:
    """Every `step`-th order of the feeds, with all of its events."""
    chosen: set[tuple[str, str]] = set()
    for source in ("shop", "crm"):
        lines = (feeds / source / "orders.jsonl").read_text().splitlines()[::step]
        chosen |= {(source, json.loads(line)["external_id"]) for line in lines}
        write_lines(target / source / "orders.jsonl", lines)
    for name in ("crm/order_events.jsonl", "legacy_mes/status_history.jsonl"):
        events = ((line, json.loads(line)["order"]) for line in (feeds / name).read_text().splitlines())
        write_lines(
            target / name, [line for line, order in events if (order["source"], order["external_id"]) in chosen]
        )
    return target


def write_lines(path: Path, lines: Iterable[bytes | str]) -> None:
    """One line each, in a folder that is made if need be."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(b"".join((line if isinstance(line, bytes) else line.encode()) + b"\n" for line in lines))
