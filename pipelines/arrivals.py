"""Notices feed files that are new or have changed, by a digest that stays small however many they are."""

import hashlib
import json
import zlib
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime, timedelta

import obstore

from mes.errors import MesError
from mes.feeds.catalogue import FEEDS, Feed
from mes.feeds.check import check
from mes.feeds.files import FeedFile, FeedFolder, UnreadableFeed
from mes.feeds.read import read
from mes.objects import open_place

# a file that changed since is still being written, as far as can be told
SETTLES_AFTER = timedelta(seconds=10)
# more is not read just to know its months: a tick may take 60 s, and 10 MB of rows take 0.4 s
READ_LIMIT_BYTES = 200_000_000
# the digest has at most this many parts of 12 characters; up to that many files, most have a part of their own
_PARTS = 1024

Seen = Mapping[str, str]
"""Digest of the files of each part."""


class BadMemory(MesError):
    """What was remembered of earlier files cannot be read; reset the sensor's cursor in Dagster's UI."""

    code = "bad_memory"


@dataclass(frozen=True)
class FoundFile:
    """A file of a feed, and what changes when it does."""

    feed: Feed
    path: str
    size: int
    stamp: str
    modified_at: datetime

    def settled(self, now: datetime) -> bool:
        """Whether nobody has written to it lately; a time far ahead is a wrong clock, not a writer."""
        return abs(now - self.modified_at) >= SETTLES_AFTER


@dataclass(frozen=True)
class Notice:
    """What differs from what was seen: files to load, files to wait for, and what is to be remembered."""

    changed: list[FoundFile]
    unsettled: list[FoundFile]
    seen: Seen


def find(folder: FeedFolder) -> list[FoundFile]:
    """All files of all feeds.

    Raises:
        UnreadableFeed: the place cannot be listed.
    """
    owners = {path: feed for feed in FEEDS for path in folder.paths(feed)}
    found: list[FoundFile] = []
    try:
        for sender in sorted({feed.stem.split("/", maxsplit=1)[0] for feed in FEEDS}):
            for batch in obstore.list(open_place(folder.location), prefix=sender):
                for entry in batch:
                    if (feed := owners.get(entry["path"])) is not None:
                        modified = entry["last_modified"]
                        stamp = entry["e_tag"] or modified.isoformat()
                        found.append(FoundFile(feed, entry["path"], entry["size"], stamp, modified))
    except (OSError, obstore.exceptions.BaseError) as error:
        raise UnreadableFeed(f"The feeds at {folder.location} cannot be listed: {error}.") from error
    return found


def compare(seen: Seen, files: Iterable[FoundFile], now: datetime) -> Notice:
    """Hold the files that are there against those that were seen.

    A part of which any file is still being written stays as it was seen, so that nothing of it is missed later. With
    more files than parts, a change brings up unchanged neighbours too; loading them again changes nothing.
    """
    changed: list[FoundFile] = []
    unsettled: list[FoundFile] = []
    remembered: dict[str, str] = {}
    for part, members in _parted(files).items():
        digest = _digest(members)
        writing = [file for file in members if not file.settled(now)]
        if digest == seen.get(part):
            remembered[part] = digest
        elif writing:
            unsettled += writing
            remembered |= {part: seen[part]} if part in seen else {}
        else:
            changed += members
            remembered[part] = digest
    return Notice(changed, unsettled, remembered)


def everything(files: Iterable[FoundFile]) -> Seen:
    """What is to be remembered when all files have been loaded."""
    return {part: _digest(members) for part, members in _parted(files).items()}


def fingerprint(*states: Seen) -> str:
    """A short name of what was seen; the same for the same files."""
    return hashlib.sha256("\n".join(dump(state) for state in states).encode()).hexdigest()[:16]


def dump(seen: Seen) -> str:
    """As text, for a cursor; at most 21 kB."""
    return json.dumps(seen, sort_keys=True, separators=(",", ":"))


def parse(cursor: str | None) -> Seen:
    """What `dump` wrote; nothing for no cursor.

    Raises:
        BadMemory: it is something else.
    """
    try:
        seen = json.loads(cursor or "{}")
    except ValueError:
        raise BadMemory from None
    if not isinstance(seen, dict) or not all(isinstance(digest, str) for digest in seen.values()):
        raise BadMemory
    return seen


def months(folder: FeedFolder, files: Sequence[FoundFile], *, now: datetime, since: datetime) -> set[date] | None:
    """The months (first days) that the files hold good rows of; None where they are too large to look.

    A file that cannot be read adds none: the run will say what is wrong with it.
    """
    if sum(file.size for file in files) > READ_LIMIT_BYTES:
        return None
    store = open_place(folder.location)
    found: set[date] = set()
    for file in files:
        try:
            content = FeedFile(file.path, bytes(obstore.get(store, file.path).bytes()))
            found.update(check(file.feed, read(file.feed, content), now=now, since=since).good["month"])
        except (UnreadableFeed, OSError, obstore.exceptions.BaseError):
            continue
    return found


def _parted(files: Iterable[FoundFile]) -> dict[str, list[FoundFile]]:
    parts: dict[str, list[FoundFile]] = defaultdict(list)
    for file in files:
        parts[f"{zlib.crc32(file.path.encode()) % _PARTS:x}"].append(file)
    return parts


def _digest(files: Iterable[FoundFile]) -> str:
    told = sorted(f"{file.path}\0{file.size}\0{file.stamp}" for file in files)
    return hashlib.sha256("\n".join(told).encode()).hexdigest()[:12]
