"""Writes sample meshes in every format that customers send, so that each reader has something to read."""

import zipfile
from collections.abc import Sequence
from pathlib import Path
from typing import Literal

import numpy as np

from mes.samples.meshes import Body, FloatArray, IntArray

Format = Literal["stl", "stl_text", "obj", "ply", "3mf"]
Unit = Literal["millimeter", "inch"]

MM_PER_UNIT: dict[Unit, float] = {"millimeter": 1.0, "inch": 25.4}
# the oldest time that a zip can hold: the bytes of a sample must not depend on when it was made
ZIP_EPOCH = (1980, 1, 1, 0, 0, 0)

_CONTENT_TYPES = """<?xml version="1.0" encoding="UTF-8"?>
<Types xmlns="http://schemas.openxmlformats.org/package/2006/content-types">
<Default Extension="rels" ContentType="application/vnd.openxmlformats-package.relationships+xml"/>
<Default Extension="model" ContentType="application/vnd.ms-package.3dmanufacturing-3dmodel+xml"/>
</Types>
"""
_RELATIONSHIPS = """<?xml version="1.0" encoding="UTF-8"?>
<Relationships xmlns="http://schemas.openxmlformats.org/package/2006/relationships">
<Relationship Target="/3D/3dmodel.model" Id="rel0" \
Type="http://schemas.microsoft.com/3dmanufacturing/2013/01/3dmodel"/>
</Relationships>
"""


def write(path: Path, bodies: Sequence[Body], form: Format, unit: Unit = "millimeter") -> None:
    """Write `bodies` as one file. Only 3MF carries `unit`; the other formats are in millimetres."""
    if form == "3mf":
        _write_3mf(path, bodies, unit)
        return
    vertices, faces = _joined(bodies)
    writer = {"stl": _write_stl, "stl_text": _write_stl_text, "obj": _write_obj, "ply": _write_ply}[form]
    writer(path, vertices, faces)


def _joined(bodies: Sequence[Body]) -> tuple[FloatArray, IntArray]:
    offsets = np.cumsum([0, *(len(body.vertices_mm) for body in bodies[:-1])])
    faces = [body.faces + offset for body, offset in zip(bodies, offsets, strict=True)]
    return np.concatenate([body.vertices_mm for body in bodies]), np.concatenate(faces)


def _normals(corners: FloatArray) -> FloatArray:
    normals = np.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0])
    unit: FloatArray = normals / np.maximum(np.linalg.norm(normals, axis=1, keepdims=True), 1e-30)
    return unit


def _write_stl(path: Path, vertices: FloatArray, faces: IntArray) -> None:
    corners = vertices[faces]
    triangles = np.zeros(len(faces), dtype=[("normal", "<f4", 3), ("corners", "<f4", (3, 3)), ("attribute", "<u2")])
    triangles["normal"], triangles["corners"] = _normals(corners), corners
    header = b"sample jewelry, millimetres".ljust(80, b"\0")
    path.write_bytes(header + np.uint32(len(faces)).tobytes() + triangles.tobytes())


def _write_stl_text(path: Path, vertices: FloatArray, faces: IntArray) -> None:
    corners = vertices[faces]
    numbers = np.concatenate([_normals(corners)[:, None], corners], axis=1).reshape(-1, 12)
    facet = "facet normal %.6e %.6e %.6e\nouter loop\n" + "vertex %.6e %.6e %.6e\n" * 3 + "endloop\nendfacet\n"
    text = "".join(facet % tuple(row) for row in numbers.tolist())
    path.write_text(f"solid {path.stem}\n{text}endsolid {path.stem}\n", encoding="ascii", newline="\n")


def _write_obj(path: Path, vertices: FloatArray, faces: IntArray) -> None:
    lines = [f"# millimetres\no {path.stem}"]
    lines += [f"v {x:.6f} {y:.6f} {z:.6f}" for x, y, z in vertices.tolist()]
    lines += [f"f {a} {b} {c}" for a, b, c in (faces + 1).tolist()]
    path.write_text("\n".join(lines) + "\n", encoding="ascii", newline="\n")


def _write_ply(path: Path, vertices: FloatArray, faces: IntArray) -> None:
    header = (
        f"ply\nformat binary_little_endian 1.0\ncomment millimetres\nelement vertex {len(vertices)}\n"
        "property float x\nproperty float y\nproperty float z\n"
        f"element face {len(faces)}\nproperty list uchar int vertex_indices\nend_header\n"
    )
    rows = np.zeros(len(faces), dtype=[("count", "u1"), ("indices", "<i4", 3)])
    rows["count"], rows["indices"] = 3, faces
    path.write_bytes(header.encode("ascii") + vertices.astype("<f4").tobytes() + rows.tobytes())


def _write_3mf(path: Path, bodies: Sequence[Body], unit: Unit) -> None:
    """One object and one build item per body, by the 3MF Core Specification 1.3."""
    objects = "".join(_3mf_object(number, body, unit) for number, body in enumerate(bodies, start=1))
    items = "".join(f'<item objectid="{number}"/>\n' for number in range(1, len(bodies) + 1))
    model = (
        f'<?xml version="1.0" encoding="UTF-8"?>\n<model unit="{unit}" xml:lang="en-US" '
        'xmlns="http://schemas.microsoft.com/3dmanufacturing/core/2015/02">\n'
        f"<resources>\n{objects}</resources>\n<build>\n{items}</build>\n</model>\n"
    )
    parts = {"[Content_Types].xml": _CONTENT_TYPES, "_rels/.rels": _RELATIONSHIPS, "3D/3dmodel.model": model}
    with zipfile.ZipFile(path, "w") as package:
        for name, text in parts.items():
            package.writestr(zipfile.ZipInfo(name, ZIP_EPOCH), text, zipfile.ZIP_DEFLATED)


def _3mf_object(number: int, body: Body, unit: Unit) -> str:
    points = (body.vertices_mm / MM_PER_UNIT[unit]).tolist()
    vertices = "".join(f'<vertex x="{x:.8f}" y="{y:.8f}" z="{z:.8f}"/>\n' for x, y, z in points)
    triangles = "".join(f'<triangle v1="{a}" v2="{b}" v3="{c}"/>\n' for a, b, c in body.faces.tolist())
    return (
        f'<object id="{number}" type="model"><mesh>\n<vertices>\n{vertices}</vertices>\n'
        f"<triangles>\n{triangles}</triangles>\n</mesh></object>\n"
    )
