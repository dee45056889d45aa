"""Opens the zip around a 3MF without trusting it: sizes, names and relationships are checked before use."""

import mmap
import re
import zipfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import IO
from xml.etree.ElementTree import Element, ParseError  # types only; parsing goes through defusedxml

from defusedxml import ElementTree
from defusedxml.common import DefusedXmlException

from mes.models.errors import ModelTooLarge, NotAMesh, UnreadableModel

MODEL_RELATIONSHIP = "http://schemas.microsoft.com/3dmanufacturing/2013/01/3dmodel"
PRINT_TICKET_RELATIONSHIP = "http://schemas.microsoft.com/3dmanufacturing/2013/01/printticket"
MAX_PARTS = 10_000
MAX_UNPACKED_BYTES = 2 << 30
MAX_RATIO = 200
"""The 3MF Consortium's own samples shrink up to 16 times as meshes and 90 as slices; a zip bomb 1,000 times."""

MAX_RELATIONSHIPS_BYTES = 1 << 20
"""Unpacked; real ones have some thousand bytes, and they are held as a tree."""

_DIRECTORY_ENTRY = re.compile(rb"PK\x01\x02")
_RATIO_FREE_BYTES = 10 << 20  # a small part may shrink as it likes
_ENCRYPTED = 0x1
_METHODS = {zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED}
_RELATIONSHIP = "{http://schemas.openxmlformats.org/package/2006/relationships}Relationship"


@dataclass(frozen=True, slots=True)
class Package:
    """The parts of an Open Packaging Conventions file (ECMA-376 part 2), by name; names ignore case."""

    archive: zipfile.ZipFile
    parts: dict[str, zipfile.ZipInfo]

    @contextmanager
    def part(self, name: str) -> Iterator[IO[bytes]]:
        """The part's bytes as a stream.

        Raises:
            UnreadableModel: no such part, or it is packed in a way that 3MF does not allow, or damaged.
        """
        info = self.parts.get(_key(name))
        if info is None:
            raise UnreadableModel("This 3MF file refers to a part that it does not contain.", part=name[:200])
        if info.flag_bits & _ENCRYPTED or info.compress_type not in _METHODS:
            raise UnreadableModel("A part of this 3MF file is encrypted or packed in an unusual way.", part=name[:200])
        try:
            with self.archive.open(info) as stream:
                yield stream
        except (zipfile.BadZipFile, EOFError, OSError, NotImplementedError, RuntimeError, zlib.error) as error:
            raise UnreadableModel("This 3MF file is damaged: a part cannot be unpacked.", part=name[:200]) from error

    def root_model(self) -> str:
        """Name of the one part that is the 3D model.

        Raises:
            UnreadableModel: no such part or several, or a relationship that leads outside the package or nowhere.
        """
        if _key("/_rels/.rels") not in self.parts:
            raise NotAMesh("This zip file is no 3MF: it has no relationships part.")
        models = [target for kind, target in self._relationships("/_rels/.rels", "/") if kind == MODEL_RELATIONSHIP]
        if len(models) != 1:
            raise UnreadableModel("A 3MF file must name exactly one 3D model part.", named=len(models))
        folder, _, file = models[0].rpartition("/")
        own = f"{folder}/_rels/{file}.rels"
        if _key(own) in self.parts:
            tickets = [kind for kind, _ in self._relationships(own, folder) if kind == PRINT_TICKET_RELATIONSHIP]
            if len(tickets) > 1:
                raise UnreadableModel("The 3D model of this 3MF file names more than one print ticket.")
        return models[0]

    def _relationships(self, name: str, folder: str) -> list[tuple[str, str]]:
        """Type and target of each relationship, all of which must lead to parts of this package."""
        found = []
        if self.parts[_key(name)].file_size > MAX_RELATIONSHIPS_BYTES:
            raise ModelTooLarge("The relationships of this 3MF file are too long.", part=name)
        with self.part(name) as stream:
            root = _parse(stream, name)
        for relationship in root.iter(_RELATIONSHIP):
            target = relationship.get("Target", "")
            if relationship.get("TargetMode", "Internal") != "Internal":
                raise UnreadableModel("This 3MF file refers to something outside itself.", target=target[:200])
            target = target if target.startswith("/") else f"{folder.rstrip('/')}/{target}"
            if _key(target) not in self.parts:
                raise UnreadableModel("This 3MF file refers to a part that it does not contain.", part=target[:200])
            found.append((relationship.get("Type", ""), target))
        return found


@contextmanager
def open_package(path: Path) -> Iterator[Package]:
    """Open a 3MF package for reading.

    Raises:
        UnreadableModel: not a zip file, damaged, or with names that are ambiguous or lead elsewhere.
        ModelTooLarge: too many parts, or too much once unpacked.
    """
    try:
        _check_directory(path)
        archive = zipfile.ZipFile(path)
    except (zipfile.BadZipFile, OSError, ValueError, NotImplementedError, EOFError) as error:
        raise UnreadableModel("This 3MF file is cut off or damaged: its zip directory cannot be read.") from error
    with archive:
        yield Package(archive, _checked(archive.infolist(), path.stat().st_size))


def _check_directory(path: Path) -> None:
    """Count the entries of a zip's directory before `zipfile` makes an object of each, whatever number it states."""
    with path.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as data:
        entries = sum(1 for _ in islice(_DIRECTORY_ENTRY.finditer(data), MAX_PARTS + 1))
    if entries > MAX_PARTS:
        raise ModelTooLarge("This 3MF file has too many parts.", most=MAX_PARTS)


def _checked(entries: list[zipfile.ZipInfo], file_bytes: int) -> dict[str, zipfile.ZipInfo]:
    if sum(entry.compress_size for entry in entries) > file_bytes:
        raise UnreadableModel("Parts of this 3MF file overlap, or are not as long as they say.", bytes=file_bytes)
    unpacked = sum(entry.file_size for entry in entries)
    if unpacked > MAX_UNPACKED_BYTES:
        raise ModelTooLarge("This 3MF file is too large once unpacked.", bytes=unpacked, most=MAX_UNPACKED_BYTES)
    parts: dict[str, zipfile.ZipInfo] = {}
    for entry in entries:
        name = entry.filename
        if "\\" in entry.orig_filename or name.startswith("/") or ".." in name.split("/"):
            raise UnreadableModel("A part of this 3MF file has a name that leads elsewhere.", part=name[:200])
        if entry.file_size > max(_RATIO_FREE_BYTES, MAX_RATIO * entry.compress_size):
            raise ModelTooLarge("A part of this 3MF file unpacks like a zip bomb.", part=name[:200])
        if _key(name) in parts:
            raise UnreadableModel("Two parts of this 3MF file have the same name.", part=name[:200])
        parts[_key(name)] = entry
    return parts


def _key(name: str) -> str:
    return "/" + name.lstrip("/").lower()


def _parse(stream: IO[bytes], name: str) -> Element:
    try:
        root: Element | None = ElementTree.parse(stream, forbid_dtd=True).getroot()
    except (ParseError, DefusedXmlException, ValueError, LookupError) as error:
        raise UnreadableModel("The XML of this 3MF file is malformed or has a DTD.", part=name) from error
    if root is None:
        raise UnreadableModel("A part of this 3MF file has no XML in it.", part=name)
    return root
