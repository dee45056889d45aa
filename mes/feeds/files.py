"""Finds and fetches feed files, from a folder or an object store, the same way."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import obstore

from mes.errors import MesError
from mes.feeds.catalogue import FEEDS, Feed
from mes.objects import open_place

if TYPE_CHECKING:
    from obstore.store import ObjectStore

SUFFIXES = (".jsonl", ".ndjson", ".csv", ".parquet")


class UnreadableFeed(MesError):
    """A feed's file cannot be read as a whole; nothing of it was loaded."""

    code = "unreadable_feed"


@dataclass(frozen=True)
class FeedFile:
    """One file of a feed: its path below the feeds' root, and its bytes."""

    path: str
    content: bytes

    @property
    def suffix(self) -> str:
        """Its format, told by the end of its name: `.jsonl`, `.ndjson`, `.csv` or `.parquet`."""
        return Path(self.path).suffix.lower()


class FeedFolder:
    """The place where senders put their files: a folder, or a URL such as `s3://bucket/prefix`.

    A feed is all files whose path begins with its stem: `shop/orders.jsonl`, `shop/orders-2026-11.csv`,
    `shop/orders/2026/11.parquet`. Capitals make no difference below the sender's folder.
    """

    def __init__(self, location: str, *, setting: str = "MES_FEEDS_URL (or --feeds)") -> None:
        """At a place that a setting names, which is told when the place cannot be read."""
        self.location, self._setting = location, setting

    def files(self, feed: Feed) -> Iterator[FeedFile]:
        """The feed's files, by path.

        Raises:
            UnreadableFeed: the place or a file in it cannot be read.
        """
        store = self._open()
        try:
            for path in self.paths(feed):
                yield FeedFile(path, bytes(obstore.get(store, path).bytes()))
        except (OSError, obstore.exceptions.BaseError) as error:
            raise UnreadableFeed(self._explain(str(error))) from error

    def paths(self, feed: Feed) -> list[str]:
        """The paths of the feed's files, sorted.

        Raises:
            UnreadableFeed: the place cannot be listed.
        """
        return [path for path in self._beside(feed) if _belongs(path, feed)]

    def ignored(self, feed: Feed) -> list[str]:
        """The paths in the folder of the feed's sender that belong to no feed, sorted; hidden files do not count.

        Raises:
            UnreadableFeed: the place cannot be listed.
        """
        return [
            path
            for path in self._beside(feed)
            if not path.rsplit("/", 1)[-1].startswith(".") and not any(_belongs(path, each) for each in FEEDS)
        ]

    def _beside(self, feed: Feed) -> list[str]:
        sender = feed.stem.split("/", maxsplit=1)[0]
        try:
            return sorted(entry["path"] for batch in obstore.list(self._open(), prefix=sender) for entry in batch)
        except (OSError, obstore.exceptions.BaseError) as error:
            raise UnreadableFeed(self._explain(str(error))) from error

    def _open(self) -> "ObjectStore":
        try:
            return open_place(self.location)
        except (OSError, obstore.exceptions.BaseError) as error:
            raise UnreadableFeed(self._explain(str(error))) from error

    def _explain(self, why: str) -> str:
        return (
            f"The files at {self.location} cannot be read: {why}. Check {self._setting}, that the place "
            f"exists, and that this process may read it."
        )


def _belongs(path: str, feed: Feed) -> bool:
    lower = path.lower()
    rest = lower.removeprefix(feed.stem)
    return rest != lower and rest[:1] in {".", "-", "_", "/"} and lower.endswith(SUFFIXES)
