"""Reads the log files of all processes: backwards from their ends, so that the newest come first, or as they grow."""

import heapq
import json
import os
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import IO, Any

_BLOCK_BYTES = 256 * 1024
# lines of one file come from several programs and threads, so they are out of order by moments
DISORDER = timedelta(seconds=60)
_ROTATED = re.compile(r"(?P<process>.+)\.jsonl(?:\.(?P<age>\d+))?")


@dataclass(frozen=True)
class Record:
    """One line of a log: when, by which process, from which process's file, its facts, and the line itself."""

    at: datetime
    process: str
    file: str
    facts: dict[str, Any]
    line: str


# whether bytes, one line or many, may hold what is wanted: asked before they are parsed, which takes most of the time
Prefilter = Callable[[bytes], bool]
# how far files have been read by a `Tail`, by device and inode, which a rotation keeps
Ends = Mapping[tuple[int, int], int]


def processes(folder: Path) -> dict[str, list[Path]]:
    """The log files in a folder by process, each process's newest first."""
    found: dict[str, list[tuple[int, Path]]] = {}
    for path in folder.glob("*.jsonl*"):
        if (named := _ROTATED.fullmatch(path.name)) and path.is_file():
            found.setdefault(named["process"], []).append((int(named["age"] or 0), path))
    return {process: [path for _, path in sorted(files)] for process, files in sorted(found.items())}


@dataclass(frozen=True)
class Wanted:
    """Which records are worth reading; some others may come, too.

    Attributes:
        since, until: the time in which they lie.
        prefilter: gives, for a process's files, what its lines must pass.
        ends: of a `Tail`, whose records are left out.
    """

    since: datetime | None = None
    until: datetime | None = None
    prefilter: Callable[[str], Prefilter] = lambda _process: lambda _bytes: True
    ends: Ends | None = None

    def is_over(self, at: datetime) -> bool:
        """Whether all that is wanted came after this."""
        return self.since is not None and at < self.since - DISORDER

    def is_ahead(self, at: datetime) -> bool:
        """Whether all that is wanted came before this."""
        return self.until is not None and at > self.until + DISORDER


def newest_first(folder: Path, wanted: Wanted | None = None) -> Iterator[Record]:
    """The records of all processes, the newest first; memory is bounded by a block per process, whatever the files'."""
    wanted = wanted or Wanted()
    streams = [_backwards(process, files, wanted) for process, files in processes(folder).items()]
    return heapq.merge(*streams, key=lambda record: record.at, reverse=True)


class Tail:
    """What is added to the log files from now on, through rotations and with files that appear later."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._open: dict[Path, _Growing] = {}
        self._look_for_files(from_end=True)

    def new(self) -> Sequence[Record]:
        """The records added since the last call, in the order of their times."""
        self._look_for_files(from_end=False)
        records = [record for growing in self._open.values() for record in growing.read()]
        return sorted(records, key=lambda record: record.at)

    def ends(self) -> Ends:
        """How far each file has been read."""
        return dict(growing.end() for growing in self._open.values())

    def close(self) -> None:
        """Close the files."""
        for growing in self._open.values():
            growing.close()

    def _look_for_files(self, *, from_end: bool) -> None:
        for path in self._folder.glob("*.jsonl"):
            if path not in self._open:
                self._open[path] = _Growing(path, from_end=from_end)


class _Growing:
    """One file that grows, is renamed when it is full, and appears anew."""

    def __init__(self, path: Path, *, from_end: bool) -> None:
        self._path = path
        self._file = path.open("rb")
        if from_end:
            self._file.seek(0, os.SEEK_END)
        self._rest = b""

    def read(self) -> Iterator[Record]:
        yield from self._added()
        if self._was_rotated():
            yield from self._added()  # what came between reading and renaming
            self._file.close()
            self._file = self._path.open("rb")
            yield from self._added()

    def end(self) -> tuple[tuple[int, int], int]:
        return _identity(self._file), self._file.tell() - len(self._rest)

    def close(self) -> None:
        self._file.close()

    def _added(self) -> Iterator[Record]:
        while block := self._file.read(_BLOCK_BYTES):
            *lines, self._rest = (self._rest + block).split(b"\n")
            now = datetime.now(UTC)
            yield from (_record(line, self._path.stem, now) for line in lines if line.strip())

    def _was_rotated(self) -> bool:
        try:
            there = self._path.stat()
        except FileNotFoundError:  # at this moment; the next look finds the new one
            return False
        return (there.st_dev, there.st_ino) != _identity(self._file)


def _identity(file: IO[bytes]) -> tuple[int, int]:
    status = os.fstat(file.fileno())
    return status.st_dev, status.st_ino


def _backwards(process: str, files: list[Path], wanted: Wanted) -> Iterator[Record]:
    may_match, at = wanted.prefilter(process), None
    for block, written_at in _blocks_of(files, wanted.ends):
        oldest = _stated_time(block.partition(b"\n")[0])
        if oldest is not None and wanted.is_ahead(oldest):
            continue
        if may_match(block):
            for line in reversed(block.split(b"\n")):
                if line.strip() and may_match(line):
                    record = _record(line, process, at or written_at)
                    at = record.at
                    if wanted.is_over(at):
                        return
                    yield record
        if oldest is not None and wanted.is_over(oldest):
            return


def _blocks_of(files: list[Path], ends: Ends | None) -> Iterator[tuple[bytes, datetime]]:
    """The lines of one process's files in blocks, the last first, with the time when their file was last written."""
    for path in files:
        try:
            file = path.open("rb")
        except FileNotFoundError:  # rotated away meanwhile
            continue
        with file:
            end = file.seek(0, os.SEEK_END)
            if ends is not None:  # a new file that the tail has not begun is all its
                end = ends.get(_identity(file), 0 if path.suffix == ".jsonl" else end)
            written_at = datetime.fromtimestamp(os.fstat(file.fileno()).st_mtime, UTC)
            for block in _blocks_backwards(file, end):
                yield block, written_at


def _blocks_backwards(file: IO[bytes], end: int) -> Iterator[bytes]:
    """A file up to `end` in blocks of whole lines, the last first; each is read when it is wanted."""
    pieces: list[bytes] = []  # of a line whose beginning lies further ahead, the last first
    while end > 0:
        start = max(0, end - _BLOCK_BYTES)
        file.seek(start)
        first, newline, lines = file.read(end - start).partition(b"\n")
        if newline:
            yield lines + b"".join(reversed(pieces))
            pieces = []
        pieces.append(first)
        end = start
    yield b"".join(reversed(pieces))


def _record(line: bytes, process: str, otherwise_at: datetime) -> Record:
    """A line as a record; one without a readable time has that of its neighbour."""
    text = line.decode("utf-8", "backslashreplace").rstrip("\r\n")
    try:
        facts = json.loads(text)
    except ValueError:
        facts = None
    if not isinstance(facts, dict):
        facts = {"event": text}
    at = _time(facts.get("timestamp")) or otherwise_at
    return Record(at, str(facts.get("process") or process), process, facts, text)


def _stated_time(line: bytes) -> datetime | None:
    try:
        facts = json.loads(line)
    except ValueError:
        return None
    return _time(facts.get("timestamp")) if isinstance(facts, dict) else None


def _time(stated: object) -> datetime | None:
    try:
        at = datetime.fromisoformat(str(stated))
    except ValueError:
        return None
    return at if at.tzinfo is not None else at.replace(tzinfo=UTC)
