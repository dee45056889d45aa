"""Answers for machines whether a process lives (`/healthz`) and whether it can serve (`/readyz`)."""

import json
import os
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from functools import cache
from pathlib import Path
from typing import Any

from alembic.script import ScriptDirectory
from sqlalchemy import Connection
from sqlalchemy.exc import DBAPIError, ProgrammingError

from mes.db import migrate
from mes.errors import MesError
from mes.lists import refresher
from mes.models.store import ObjectStore
from mes.observability import probe
from mes.observability.time_limit import TimeLimited

LIMIT_S = 2.0
# a loop may wait for minutes, for instance while dbt builds the list anew and holds its lock
LOOP_LIMIT_S = 300.0
# a remote store charges for each question
STORE_TRUSTED_S = 30.0

_NOT_READY = 503


@dataclass(frozen=True)
class Check:
    """One thing that was looked at; `detail` says in words how it stands, without secrets."""

    name: str
    ok: bool
    detail: str


@dataclass(frozen=True)
class Report:
    """What was looked at, all of it."""

    checks: tuple[Check, ...] = ()

    @property
    def ok(self) -> bool:
        """Whether nothing is wrong."""
        return all(check.ok for check in self.checks)

    @property
    def http_status(self) -> int:
        """200, or 503 when anything is wrong."""
        return 200 if self.ok else _NOT_READY

    def json(self) -> bytes:
        """`{"ok": ..., "checks": [{"name", "ok", "detail"}]}`."""
        return json.dumps({"ok": self.ok, "checks": [asdict(check) for check in self.checks]}).encode()


@dataclass(frozen=True)
class _Loop:
    limit_s: float
    alive: Callable[[], bool]
    last_beat: float


class Heartbeat:
    """Remembers when each loop of this process last came round; safe to use from any thread."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._lock = threading.Lock()
        self._loops: dict[str, _Loop] = {}

    def expect(self, name: str, limit_s: float = LOOP_LIMIT_S, alive: Callable[[], bool] = lambda: True) -> None:
        """From now on, `name` must beat at least every `limit_s` seconds, and `alive` (of its thread) be true."""
        with self._lock:
            self._loops[name] = _Loop(limit_s, alive, self._clock())

    def beat(self, name: str) -> None:
        """The loop came round.

        Raises:
            KeyError: nobody expects it.
        """
        with self._lock:
            loop = self._loops[name]
            self._loops[name] = _Loop(loop.limit_s, loop.alive, self._clock())

    def forget(self, name: str) -> None:
        """The loop ended in good order."""
        with self._lock:
            self._loops.pop(name, None)

    def checks(self) -> tuple[Check, ...]:
        """One for each loop that is expected."""
        with self._lock:
            loops, now = dict(self._loops), self._clock()
        return tuple(_check_loop(name, loop, now - loop.last_beat) for name, loop in loops.items())


class Readiness:
    """Looks whether a process can serve: the database answers and is migrated, and whatever else the process needs.

    Args:
        database_url: None when none is configured, which is not ready.
        read_models: whether the process needs the order list.
        others: by name, what raises a `MesError` or an `OSError` while it is not usable; see `object_store`.
        limit_s: longest wait for each of these; the database's checks count as one.
    """

    def __init__(
        self,
        database_url: str | None,
        *,
        read_models: bool = False,
        others: Mapping[str, Callable[[], None]] | None = None,
        limit_s: float = LIMIT_S,
    ) -> None:
        self._read_models = read_models
        self._database = probe.connect(database_url) if database_url is not None else None
        self._looks = [("database", TimeLimited(self._look_at_database, limit_s, "health-database"))]
        for name, use in (others or {}).items():
            self._looks.append((name, TimeLimited(_look(name, use), limit_s, f"health-{name}")))

    def __call__(self) -> Report:
        """Look now. Takes at most the limit for each system that hangs; needs no event loop."""
        return Report(tuple(check for name, look in self._looks for check in _in_time(name, look)))

    def _look_at_database(self) -> tuple[Check, ...]:
        if self._database is None:
            return (Check("database", ok=False, detail="none is configured; set MES_DATABASE_URL"),)
        try:
            with self._database.connect() as conn:
                checks = (Check("database", ok=True, detail="answers"), _check_migrations(conn))
                return (*checks, _check_read_models(conn)) if self._read_models else checks
        except DBAPIError as error:
            return (Check("database", ok=False, detail=f"does not answer ({type(error.orig).__name__})"),)


def healthz(heartbeat: Heartbeat | None = None) -> Report:
    """Whether the process lives: it answers, and its loops come round."""
    return Report((Check("process", ok=True, detail="answers"), *(heartbeat.checks() if heartbeat else ())))


def object_store(location: str) -> Callable[[], None]:
    """What looks whether the object store can be used, for `Readiness`; a remote one is asked every half minute.

    The look raises a `MesError` or an `OSError` while the store cannot be used.
    """
    if "://" not in location:
        return lambda: _use_folder(Path(location))
    trusted_until = 0.0

    def ask() -> None:
        nonlocal trusted_until
        if time.monotonic() < trusted_until:
            return
        # a listing fails when the bucket is missing, which the look-up of one object cannot tell from no such object
        next(iter(ObjectStore(location).list("readyz")), None)
        trusted_until = time.monotonic() + STORE_TRUSTED_S

    return ask


def _check_loop(name: str, loop: _Loop, age_s: float) -> Check:
    if not loop.alive():
        return Check(name, ok=False, detail="has ended by itself")
    if age_s > loop.limit_s:
        return Check(name, ok=False, detail=f"stuck for {age_s:.0f} s, of {loop.limit_s:.0f} allowed")
    return Check(name, ok=True, detail=f"came round {age_s:.0f} s ago")


def _check_migrations(conn: Connection) -> Check:
    at: Any
    try:
        at = conn.exec_driver_sql("select version_num from alembic_version").scalar_one_or_none()
    except ProgrammingError:
        at = None
    if at is None:
        return Check("migrations", ok=False, detail="the database is empty; run `mes db upgrade`")
    newest, known = _revisions()
    if at == newest:
        return Check("migrations", ok=True, detail=f"at {at}")
    if at in known:
        return Check("migrations", ok=False, detail=f"at {at}, {newest} is needed; run `mes db upgrade`")
    # while a newer version is rolled out, older processes go on: migrations keep what the version before needs
    return Check("migrations", ok=True, detail=f"at {at}, newer than this program's {newest}")


@cache
def _revisions() -> tuple[str, frozenset[str]]:
    """The newest revision that this program knows, and all of them; they don't change while it runs."""
    scripts = ScriptDirectory(str(migrate.MIGRATIONS)).walk_revisions()
    return migrate.head(), frozenset(script.revision for script in scripts)


def _check_read_models(conn: Connection) -> Check:
    if refresher.is_built(conn):
        return Check("read models", ok=True, detail="built")
    return Check("read models", ok=False, detail="not built yet; `mes up` builds them when it starts")


def _look(name: str, use: Callable[[], None]) -> Callable[[], tuple[Check, ...]]:
    def look() -> tuple[Check, ...]:
        try:
            use()
        except (MesError, OSError) as error:
            code = error.code if isinstance(error, MesError) else type(error).__name__
            return (Check(name, ok=False, detail=f"cannot be used ({code})"),)
        return (Check(name, ok=True, detail="can be used"),)

    return look


def _in_time(name: str, look: Callable[[], tuple[Check, ...]]) -> tuple[Check, ...]:
    try:
        return look()
    except TimeoutError:
        return (Check(name, ok=False, detail="does not answer in time"),)


def _use_folder(folder: Path) -> None:
    if not folder.is_dir():
        raise FileNotFoundError(folder)
    if not os.access(folder, os.W_OK | os.X_OK):
        raise PermissionError(folder)
