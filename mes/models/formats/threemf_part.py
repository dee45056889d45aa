"""Reads one model part of a 3MF: a stream of XML becomes objects, components and build items in bounded memory."""

import math
from collections.abc import Callable
from typing import IO
from xml.parsers import expat  # any DTD is refused below; 1.7 times as fast as defusedxml's iterparse

import numpy as np

from mes.models.errors import ModelTooLarge, UnreadableModel
from mes.models.formats.threemf_model import IDENTITY, MM_PER_UNIT, Instance, Object, Part
from mes.models.formats.threemf_runs import TRIANGLES, VERTICES
from mes.models.formats.threemf_stream import Feed
from mes.models.mesh import Floats

CORE = "http://schemas.microsoft.com/3dmanufacturing/core/2015/02"
PRODUCTION = "http://schemas.microsoft.com/3dmanufacturing/production/2015/06"
BEAM_LATTICE = "http://schemas.microsoft.com/3dmanufacturing/beamlattice/2017/02"
READABLE_EXTENSIONS = {
    PRODUCTION,
    "http://schemas.microsoft.com/3dmanufacturing/material/2015/02",  # colours do not change the piece
    "http://schemas.microsoft.com/3dmanufacturing/slice/2015/07",  # slices come beside the mesh that we measure
    "http://schemas.microsoft.com/3dmanufacturing/trianglesets/2021/07",  # names for groups of triangles
}
OBJECT_TYPES = {"model", "solidsupport", "support", "surface", "other"}
MAX_NESTING = 64  # elements; a model needs 6
MAX_NAMES, MAX_NAME_LENGTH = 100_000, 1_000
"""Resources, pieces of metadata, and instances that one part may state, of each."""
ENCODINGS = {"utf-8", "utf-16", "us-ascii"}

Attributes = dict[str, str]
_RUNS = {f"{CORE} vertices": VERTICES, f"{CORE} triangles": TRIANGLES}


def read_part(stream: IO[bytes]) -> Part:
    """Read one model part.

    Raises:
        UnreadableModel: malformed XML, a DTD, an encoding other than UTF-8 or UTF-16, or a structure that the 3MF core
            specification (1.3) forbids.
    """
    parser = expat.ParserCreate(namespace_separator=" ")
    reader = _Reader()
    parser.StartElementHandler = reader.start
    parser.EndElementHandler = reader.end
    parser.XmlDeclHandler = _check_encoding
    parser.StartDoctypeDeclHandler = _refuse_dtd
    parser.StartNamespaceDeclHandler = reader.namespace
    feed = Feed(parser, reader)
    try:
        feed.read(stream)
    except expat.ExpatError as error:
        fault, line = expat.ErrorString(error.code), error.lineno + feed.lines_taken
        raise UnreadableModel(f"The XML of this 3MF file is malformed: {fault}.", line=line) from error
    reader.check_complete()
    return reader.part


class _Reader:
    """Follows the elements of a part; knows at every point which of them it is in."""

    def __init__(self) -> None:
        self.part = Part()
        self.events = 0
        self._instances = 0
        self._open: list[str] = []
        self._object: Object | None = None
        self._resources: set[str] = set()
        self._metadata: set[str] = set()
        self._prefixes: dict[str, str] = {}
        self._seen: set[str] = set()
        self._starts: dict[str, Callable[[Attributes], None]] = {
            "model": self._model,
            "resources": self._once("resources"),
            "build": self._once("build"),
            "metadata": self._named_metadata,
            "basematerials": self._materials,
            "object": self._new_object,
            "mesh": self._new_mesh,
            "vertex": self._vertex,
            "triangle": self._triangle,
            "components": self._new_composition,
            "component": self._component,
            "item": self._item,
        }

    def namespace(self, prefix: str | None, uri: str) -> None:
        """Remember what a prefix means in the root: extensions are required by prefix."""
        if not self._open:
            self._prefixes[prefix or ""] = uri

    def start(self, tag: str, attributes: Attributes) -> None:
        """An element begins; `tag` is its namespace, a space and its name."""
        namespace, _, name = tag.rpartition(" ")
        self.events += 1
        if len(self._open) > MAX_NESTING:
            raise UnreadableModel("The elements of this 3MF file are nested too deeply.", most=MAX_NESTING)
        if namespace == CORE:
            handle = self._starts.get(name)
            if handle is not None:
                handle(attributes)
        elif not self._open:
            raise UnreadableModel("The 3D model part of this 3MF file is no 3MF model.")
        elif namespace == BEAM_LATTICE and self._object is not None:
            self._object.beams = True
        elif self._open[-1].endswith(" resources") and "id" in attributes:
            self._resource_id(attributes)
        self._open.append(tag)

    def end(self, tag: str) -> None:
        """An element ends."""
        self._open.pop()
        self.events += 1
        if tag == f"{CORE} object" and self._object is not None:
            if self._object.bodies != 1:
                raise UnreadableModel("An object of this 3MF file needs exactly one mesh or list of components.")
            self._object = None

    def run(self) -> int | None:
        """See `threemf_stream.Listener`."""
        return _RUNS.get(self._open[-1]) if self._open and self._object is not None else None

    def take(self, kind: int, values: Floats) -> None:
        """See `threemf_stream.Listener`."""
        taking = self._current("vertex")
        if kind == VERTICES:
            taking.coordinates.frombytes(values.tobytes())
        else:
            taking.corners.frombytes(values.astype(np.int32).tobytes())
        taking.check_size()

    def check_complete(self) -> None:
        """Raises UnreadableModel where a mandatory element is missing."""
        missing = {"model", "resources", "build"} - self._seen
        if missing:
            raise UnreadableModel("An element is missing in this 3MF file.", missing=" and ".join(sorted(missing)))

    def _once(self, name: str) -> Callable[[Attributes], None]:
        def handle(_: Attributes) -> None:
            if name in self._seen or self._open != [f"{CORE} model"]:
                raise UnreadableModel("An element of this 3MF file is repeated or misplaced.", element=name)
            self._seen.add(name)

        return handle

    def _model(self, attributes: Attributes) -> None:
        if self._open:
            raise UnreadableModel("A 3MF model part may hold only one model.")
        self._seen.add("model")
        self.part.unit = attributes.get("unit", self.part.unit)
        if self.part.unit not in MM_PER_UNIT:
            raise UnreadableModel("This 3MF file has a unit that does not exist.", unit=self.part.unit[:40])
        if "http://www.w3.org/XML/1998/namespace space" in attributes:
            raise UnreadableModel("3MF does not allow xml:space.")
        for prefix in attributes.get("requiredextensions", "").split():
            if self._prefixes.get(prefix) not in READABLE_EXTENSIONS:
                raise UnreadableModel(
                    "This 3MF file needs an extension that we do not read; export it as a plain mesh.",
                    extension=self._prefixes.get(prefix, prefix)[:100],
                )

    def _named_metadata(self, attributes: Attributes) -> None:
        name = _required(attributes, "name", "metadata")
        if self._open == [f"{CORE} model"]:
            if name in self._metadata:
                raise UnreadableModel("Metadata of this 3MF file is given twice.", name=name[:100])
            _add_name(self._metadata, name)

    def _resource_id(self, attributes: Attributes) -> str:
        resource = _required(attributes, "id", "resource")
        if resource in self._resources:
            raise UnreadableModel("Two resources of this 3MF file have the same id.", id=resource[:40])
        _add_name(self._resources, resource)
        return resource

    def _materials(self, attributes: Attributes) -> None:
        self._resource_id(attributes)

    def _new_object(self, attributes: Attributes) -> None:
        kind = attributes.get("type", "model")
        if kind not in OBJECT_TYPES:
            raise UnreadableModel("An object of this 3MF file has a type that does not exist.", type=kind[:40])
        if "pindex" in attributes and "pid" not in attributes:
            raise UnreadableModel("An object of this 3MF file has a property index without its property group.")
        self._object = Object(kind)
        self.part.objects[self._resource_id(attributes)] = self._object

    def _new_mesh(self, _: Attributes) -> None:
        self._current("mesh").bodies += 1

    def _new_composition(self, _: Attributes) -> None:
        self._current("components").bodies += 1

    def _vertex(self, attributes: Attributes) -> None:
        taking = self._current("vertex")
        try:
            taking.coordinates.extend((float(attributes["x"]), float(attributes["y"]), float(attributes["z"])))
        except (KeyError, ValueError) as error:
            raise UnreadableModel(
                "A vertex of this 3MF file lacks a coordinate or has one that is no number."
            ) from error
        taking.check_size()

    def _triangle(self, attributes: Attributes) -> None:
        taking = self._current("triangle")
        try:
            taking.corners.extend((int(attributes["v1"]), int(attributes["v2"]), int(attributes["v3"])))
        except (KeyError, ValueError, OverflowError) as error:
            raise UnreadableModel("A triangle of this 3MF file lacks a corner or has one that is no index.") from error
        taking.check_size()

    def _component(self, attributes: Attributes) -> None:
        self._current("component").components.append(self._instance(attributes))

    def _item(self, attributes: Attributes) -> None:
        self.part.build.append(self._instance(attributes))

    def _instance(self, attributes: Attributes) -> Instance:
        self._instances += 1
        if self._instances > MAX_NAMES:
            raise ModelTooLarge("This 3MF file places too many objects.", most=MAX_NAMES)
        transform = attributes.get("transform")
        return Instance(
            _required(attributes, "objectid", "item"),
            attributes.get(f"{PRODUCTION} path"),
            IDENTITY if transform is None else _transform(transform),
        )

    def _current(self, name: str) -> Object:
        if self._object is None:
            raise UnreadableModel("An element of this 3MF file is outside of any object.", element=name)
        return self._object


def _transform(numbers: str) -> Floats:
    """The 4 x 3 matrix of section 3.3 of the core specification, row by row."""
    try:
        values = [float(number) for number in numbers.split()]
    except ValueError as error:
        raise UnreadableModel("A transform of this 3MF file is not made of numbers.") from error
    if len(values) != IDENTITY.size or not all(map(math.isfinite, values)):
        raise UnreadableModel("A transform of this 3MF file is not made of 12 finite numbers.")
    return np.array(values).reshape(IDENTITY.shape)


def _add_name(names: set[str], name: str) -> None:
    if len(names) >= MAX_NAMES or len(name) > MAX_NAME_LENGTH:
        raise ModelTooLarge("This 3MF file has too many names, or too long ones.", most=MAX_NAMES)
    names.add(name)


def _required(attributes: Attributes, name: str, element: str) -> str:
    value = attributes.get(name)
    if value is None:
        raise UnreadableModel("An attribute is missing in this 3MF file.", element=element, attribute=name)
    return value


def _check_encoding(_version: str, encoding: str | None, _standalone: int) -> None:
    if encoding is not None and encoding.lower() not in ENCODINGS:
        raise UnreadableModel("The XML of a 3MF file must be UTF-8 or UTF-16.", encoding=encoding[:40])


def _refuse_dtd(*_: object) -> None:
    raise UnreadableModel("The XML of this 3MF file has a DTD, which 3MF forbids.")
