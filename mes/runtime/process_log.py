"""Keeps what a child process prints as JSON lines in a file of bounded size."""

import json
import logging.handlers
import re
import threading
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import IO

from mes.observability.redaction import redact, redact_text

MAX_BYTES = 20 * 1024 * 1024  # some days of a quiet shop; times (1 + BACKUPS) per process
BACKUPS = 3
MAX_LINE_BYTES = 64 * 1024  # a longer line is cut into pieces, so that one child cannot take our memory

_ANSI = re.compile(r"\x1b\[[0-9;]*m")
# `2026-11-22 10:00:00.000 UTC [42] ERROR:  ...` (Postgres), `... - dagster - ERROR - ...`, `WARNING: ...`
_LEVEL = re.compile(r"\b(DEBUG|WARNING|ERROR|CRITICAL|FATAL|PANIC)(?::| - )")
_LEVEL_WITHIN = 120  # characters; further on it is somebody's text
_LEVELS = {
    "DEBUG": "debug",
    "WARNING": "warning",
    "ERROR": "error",
    "FATAL": "error",
    "CRITICAL": "critical",
    "PANIC": "critical",
}


class ProcessLog:
    """The log file of one process: one JSON object per line, rotated by size, without secrets."""

    def __init__(
        self,
        path: Path,
        process: str,
        max_bytes: int = MAX_BYTES,
        on_line: Callable[[str], None] = lambda _line: None,
    ) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        self.path = path
        self._process = process
        self._on_line = on_line
        self._file = logging.handlers.RotatingFileHandler(
            path, maxBytes=max_bytes, backupCount=BACKUPS, encoding="utf-8", errors="backslashreplace"
        )

    def write(self, line: str) -> None:
        """Add one line; what is no JSON object becomes the `event` of one, and an object gets what it lacks."""
        text = line.strip()
        if text:
            kept = self._as_json(text)
            self._file.emit(logging.makeLogRecord({"msg": kept}))
            self._on_line(kept)

    def follow(self, stream: IO[bytes]) -> threading.Thread:
        """Start a thread that writes all lines of the stream until its end."""
        thread = threading.Thread(target=self._follow, args=(stream,), name=f"log-{self._process}", daemon=True)
        thread.start()
        return thread

    def close(self) -> None:
        """Close the file; `write` would open it again."""
        self._file.close()

    def _follow(self, stream: IO[bytes]) -> None:
        with stream:
            while line := stream.readline(MAX_LINE_BYTES):
                self.write(line.decode("utf-8", "backslashreplace"))

    def _as_json(self, text: str) -> str:
        known = _object(text)
        if known is None:
            plain = _ANSI.sub("", text)
            return json.dumps(self._common(_level_of(plain)) | {"event": redact_text(plain)}, ensure_ascii=False)
        missing = {name: value for name, value in self._common("info").items() if name not in known}
        missing |= {} if "event" in known else {"event": str(known.get("msg", known.get("message", "")))}
        # a line that has all of it is one of ours, which has been redacted where it was written
        return json.dumps(redact(None, "", missing | known), ensure_ascii=False, default=str) if missing else text

    def _common(self, level: str) -> dict[str, object]:
        """What every record has; `mes logs` sorts and filters by it."""
        now = datetime.now(UTC).isoformat().replace("+00:00", "Z")
        return {"timestamp": now, "level": level, "logger": self._process, "process": self._process}


def _object(text: str) -> dict[str, object] | None:
    if not text.startswith("{"):
        return None
    try:
        found: dict[str, object] = json.loads(text)
    except ValueError:
        return None
    return found


def _level_of(text: str) -> str:
    """The level that Postgres or a Python program wrote into a plain line; info where there is none."""
    named = _LEVEL.search(text[:_LEVEL_WITHIN])
    return _LEVELS.get(named[1], "info") if named else "info"


def tail(path: Path, lines: int = 15) -> str:
    """The last lines of a log file as plain text, for an error message; empty when there is no such file."""
    if not path.is_file():
        return ""
    with path.open("rb") as file:
        file.seek(max(0, path.stat().st_size - 64 * 1024))
        last = file.read().decode("utf-8", "replace").splitlines()[-lines:]
    return "\n".join(_plain(line) for line in last)


def _plain(line: str) -> str:
    try:
        record = json.loads(line)
    except ValueError:
        return line
    return str(record.get("event", record.get("msg", line))) if isinstance(record, dict) else line
