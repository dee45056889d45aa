"""Generates a whole shop - models and feeds - so that a newcomer sees the system at work before bringing own data."""

import json
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

import numpy as np

from mes.errors import MesError
from mes.samples import exports, life
from mes.samples.catalogue import sample_models
from mes.samples.demand import HISTORY_DAYS, draw_demand, draw_items

Progress = Callable[[str, int, int], None]

MANIFEST = "manifest.json"
EARLIEST_NOW = datetime(2010, 1, 1, tzinfo=UTC) + timedelta(days=HISTORY_DAYS)
SHIPPED_BEFORE_APPROVED, CANCELLED_AFTER_SHIPPING = 8, 2


class BadSampleRequest(MesError):
    """A shop like that cannot be generated."""

    code, http_status = "bad_sample_request", 422


class SampleFolderTaken(MesError):
    """The folder for the generated shop holds something else; name another folder or empty this one."""

    code, http_status = "sample_folder_taken", 409


@dataclass(frozen=True)
class SampleShop:
    """A generated shop on disk: `models` is the feeds' model root, `feeds` the folder of the four feeds.

    `orders` counts all orders in the feeds, the `bad_rows` among them that cannot land; `now` is the moment at which
    the shop's history ends.
    """

    folder: Path
    seed: int
    orders: int
    bad_rows: int
    now: datetime

    @property
    def models(self) -> Path:
        """Folder below which the feeds' model paths lie."""
        return self.folder / "models"

    @property
    def feeds(self) -> Path:
        """Folder that holds `shop/`, `crm/` and `legacy_mes/`."""
        return self.folder / "feeds"


def generate(
    folder: Path, *, seed: int = 7, orders: int = 3000, now: datetime, progress: Progress | None = None
) -> SampleShop:
    """Generate a shop into `folder`, whole or not at all; one that is there already stays as it is.

    Args:
        folder: where the shop shall lie; its parent is created.
        seed: the same seed, number of orders and `now` give the same bytes.
        orders: how many orders the feeds hold.
        now: end of the 18 months of history; nothing happens later.
        progress: called with what was done, the steps done, and all steps.

    Raises:
        BadSampleRequest: no orders, or a `now` without a zone or before July 2011 (nothing is placed before 2010).
        SampleFolderTaken: `folder` holds something that was not generated here.
    """
    _check(orders, now)
    if _has_content(folder):
        return load(folder)
    folder.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=folder.parent, prefix=f".{folder.name}-") as beside:
        draft = Path(beside) / "shop"
        shop = SampleShop(draft, seed, orders, min(exports.bad_row_count(), orders), now.astimezone(UTC))
        _write(shop, progress or _silent)
        try:
            draft.rename(folder)
        except OSError:
            if not _has_content(folder):
                raise
            # another process was faster; its shop stays
    return load(folder)


def load(folder: Path) -> SampleShop:
    """The shop that `generate` left in `folder`.

    Raises:
        SampleFolderTaken: there is no generated shop in `folder`.
    """
    try:
        facts = json.loads((folder / MANIFEST).read_text(encoding="utf-8"))
        now = datetime.fromisoformat(facts["now"])
        return SampleShop(folder, int(facts["seed"]), int(facts["orders"]), int(facts["bad_rows"]), now)
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise SampleFolderTaken(folder=folder) from error


def _check(orders: int, now: datetime) -> None:
    if orders < 1:
        raise BadSampleRequest("A generated shop needs at least one order.", orders=orders)
    if now.tzinfo is None:
        raise BadSampleRequest("`now` needs a time zone, UTC for instance.", now=now.isoformat())
    if now < EARLIEST_NOW:
        raise BadSampleRequest("`now` must leave 18 months since 2010.", now=now.isoformat(), earliest=EARLIEST_NOW)


def _has_content(folder: Path) -> bool:
    return folder.exists() and (not folder.is_dir() or any(folder.iterdir()))


def _silent(_done: str, _step: int, _steps: int) -> None:
    """Report nothing."""


def _write(shop: SampleShop, progress: Progress) -> None:
    models = sample_models(shop.seed)
    steps = len(models) + 2
    for step, model in enumerate(models, start=1):
        model.write(shop.models)
        progress(model.path, step, steps)
    rng = np.random.default_rng([shop.seed, 2])
    now_s = int(shop.now.timestamp())
    demand = draw_demand(rng, shop.orders, now_s)
    items = draw_items(rng, demand, models)
    # spread over the newest orders, so that the quarantine shows faults of several days
    bad = shop.orders - 1 - np.arange(shop.bad_rows) * max(1, shop.orders // 200)
    lives = life.draw_lives(rng, demand, now_s)
    lives = life.ship_before_approval(rng, lives, SHIPPED_BEFORE_APPROVED)
    lives = life.cancel_after_shipping(rng, lives, CANCELLED_AFTER_SHIPPING, now_s)
    lives = life.never_accepted(lives, demand, bad)
    progress("orders", steps - 1, steps)
    exports.write_feeds(exports.Shop(models, demand, items, lives, bad), shop.feeds, rng)
    facts = {"seed": shop.seed, "orders": shop.orders, "bad_rows": shop.bad_rows, "now": shop.now.isoformat()}
    (shop.folder / MANIFEST).write_text(json.dumps(facts, indent=2) + "\n", encoding="utf-8")
    progress("feeds", steps, steps)
