"""Writes models in every format, small ones to break and large ones to weigh, so that tests need no files."""

import io
import struct
import zipfile
from pathlib import Path

import numpy as np

CORNERS = np.array([(x, y, z) for x in (0, 1) for y in (0, 1) for z in (0, 1)], float)
QUADS = [(0, 1, 3, 2), (4, 6, 7, 5), (0, 4, 5, 1), (2, 3, 7, 6), (0, 2, 6, 4), (1, 5, 7, 3)]
TRIANGLES = np.array([t for a, b, c, d in QUADS for t in ((a, b, c), (a, c, d))])

MODEL_RELS = (
    '<Relationships xmlns="http://schemas.openxmlformats.org/package/2006/relationships"><Relationship Id="r" '
    'Target="/3D/a.model" Type="http://schemas.microsoft.com/3dmanufacturing/2013/01/3dmodel"/></Relationships>'
)
XMLNS = (
    'xmlns="http://schemas.microsoft.com/3dmanufacturing/core/2015/02" '
    'xmlns:p="http://schemas.microsoft.com/3dmanufacturing/production/2015/06"'
)


def binary_stl(points=CORNERS, faces=TRIANGLES, count=None, header=b"", tail=b""):
    records = np.zeros(len(faces), np.dtype([("normal", "<f4", 3), ("corners", "<f4", (3, 3)), ("attribute", "<u2")]))
    records["corners"] = np.asarray(points, float)[faces]
    records["attribute"] = 0x8F1F  # a colour
    return (
        header.ljust(80, b"\0") + struct.pack("<I", len(faces) if count is None else count) + records.tobytes() + tail
    )


def ascii_stl(points=CORNERS, faces=TRIANGLES, newline="\n"):
    facets = (
        "facet normal 0 0 0\n outer loop\n"
        + "".join(f"  vertex {' '.join(map(repr, points[i].tolist()))}\n" for i in face)
        + " endloop\nendfacet\n"
        for face in faces
    )
    return f"solid a vertex facet name\n{''.join(facets)}endsolid a\n".replace("\n", newline).encode()


def obj(points=CORNERS, faces=TRIANGLES, form="{0}", offset=1):
    lines = [f"v {' '.join(map(repr, point.tolist()))}" for point in np.asarray(points, float)]
    lines += ["f " + " ".join(form.format(int(i) + offset) for i in face) for face in faces]
    return "\n".join(lines).encode()


def ply(points=CORNERS, faces=TRIANGLES, encoding="ascii"):
    header = (
        f"ply\nformat {encoding} 1.0\ncomment drawn by hand\nelement vertex {len(points)}\nproperty double x\n"
        f"property double y\nproperty double z\nproperty uchar red\nelement face {len(faces)}\n"
        "property list uchar int vertex_indices\nproperty uchar flags\nend_header\n"
    ).encode()
    if encoding == "ascii":
        rows = [" ".join(map(repr, point.tolist())) + " 7" for point in np.asarray(points, float)]
        rows += [f"{len(face)} {' '.join(str(int(i)) for i in face)} 3" for face in faces]
        return header + "\n".join(rows).encode() + b"\n"
    order = "<" if "little" in encoding else ">"
    body = b"".join(struct.pack(f"{order}dddB", *map(float, point), 7) for point in points)
    body += b"".join(struct.pack(f"{order}B{len(face)}iB", len(face), *map(int, face), 3) for face in faces)
    return header + body


def mesh_xml(points=CORNERS, faces=TRIANGLES):
    vertices = "".join(f'<vertex x="{x!r}" y="{y!r}" z="{z!r}"/>' for x, y, z in np.asarray(points, float).tolist())
    triangles = "".join(f'<triangle v1="{a}" v2="{b}" v3="{c}"/>' for a, b, c in np.asarray(faces).tolist())
    return f"<mesh><vertices>{vertices}</vertices><triangles>{triangles}</triangles></mesh>"


def model_xml(resources, build='<item objectid="1"/>', attributes='unit="millimeter"', prolog=""):
    head = f'<?xml version="1.0" encoding="UTF-8"?>{prolog}<model {XMLNS} {attributes}>'
    return f"{head}<resources>{resources}</resources><build>{build}</build></model>"


def threemf_zip(model=None, parts=(), rels=MODEL_RELS):
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("_rels/.rels", rels)
        archive.writestr("3D/a.model", model or model_xml(f'<object id="1">{mesh_xml()}</object>'))
        for name, content in parts:
            archive.writestr(name, content)
    return out.getvalue()


CUBES = {
    "stl binary": (binary_stl(), "stl"),
    "stl binary that says solid": (binary_stl(header=b"solid cube, facet by facet"), "stl"),
    "stl binary with a stray tail": (binary_stl(tail=b"x" * 7), "stl"),
    "stl ascii": (ascii_stl(), "stl"),
    "stl ascii, windows": (ascii_stl(newline="\r\n"), "stl"),
    "stl ascii, shouted on one line": (ascii_stl(newline=" ").upper(), "stl"),
    "obj": (obj(), "obj"),
    "obj of quads": (obj(faces=QUADS), "obj"),
    "obj v/vt/vn": (obj(form="{0}/1/2"), "obj"),
    "obj v//vn": (obj(form="{0}//-2"), "obj"),
    "obj v/vt": (obj(form="{0}/7"), "obj"),
    "obj counting back": (obj(offset=-8), "obj"),
    "obj with colours that are no numbers": (obj().replace(b"v 0.0 0.0 0.0", b"v 0.0 0.0 0.0 nan nan 1"), "obj"),
    "obj with comments, groups and continued lines": (
        b"# caf\xe9\nmtllib a.mtl\no a\ng b c\ns off\n" + obj().replace(b"f ", b"f \\\n ") + b" # end\n",
        "obj",
    ),
    "ply ascii": (ply(), "ply"),
    "ply ascii of quads": (ply(faces=QUADS), "ply"),
    "ply ascii, windows": (ply().replace(b"\n", b"\r\n"), "ply"),
    "ply little endian": (ply(encoding="binary_little_endian"), "ply"),
    "ply big endian": (ply(encoding="binary_big_endian"), "ply"),
    "ply of quads, big endian": (ply(faces=QUADS, encoding="binary_big_endian"), "ply"),
    "ply of both, ascii": (ply(faces=[*QUADS[:5], *TRIANGLES[10:]]), "ply"),
    "ply of both, binary": (ply(faces=[*QUADS[:5], *TRIANGLES[10:]], encoding="binary_little_endian"), "ply"),
    "3mf": (threemf_zip(), "3mf"),
}

WRITERS = {
    "stl": binary_stl, "ascii stl": ascii_stl, "obj": obj, "ply": ply,
    "ply le": lambda points, faces: ply(points, faces, "binary_little_endian"),
    "ply be": lambda points, faces: ply(points, faces, "binary_big_endian"),
    "3mf": lambda points, faces: threemf_zip(model_xml(f'<object id="1">{mesh_xml(points, faces)}</object>')),
}  # fmt: skip


def landscape(side):
    """A rough square of side x side points with coordinates of float32, and the triangles between them."""
    at = np.arange(side * side)
    heights = np.random.default_rng(7).random(side * side)
    points = np.column_stack((at // side * 0.1, at % side * 0.1, heights)).astype(np.float32).astype(float)
    a = at.reshape(side, side)[:-1, :-1].ravel()
    return points, np.concatenate(
        (np.column_stack((a, a + side, a + 1)), np.column_stack((a + 1, a + side, a + side + 1)))
    )


def write_large(kind: str, path: Path, side: int) -> None:
    """Write a landscape as exporters do, with six digits behind the point."""
    points, faces = landscape(side)
    if kind in {"stl", "ply le", "ply be", "3mf"}:
        path.write_bytes(_large_bytes(kind, points, faces))
        return
    with path.open("w") as file:
        if kind == "ascii stl":
            loop = "\n".join(["    vertex %.6e %.6e %.6e"] * 3)
            facet = f"facet normal 0.000000e+00 0.000000e+00 1.000000e+00\n  outer loop\n{loop}\n  endloop\nendfacet"
            file.write("solid landscape\n")
            np.savetxt(file, points[faces].reshape(-1, 9), facet)
            file.write("endsolid landscape\n")
        elif kind == "obj":
            np.savetxt(file, points, "v %.6f %.6f %.6f")
            np.savetxt(file, faces + 1, "f %d %d %d")
        else:
            file.write(_large_header("ascii", points, faces))
            np.savetxt(file, points, "%.6f %.6f %.6f")
            np.savetxt(file, faces, "3 %d %d %d")


def _large_bytes(kind, points, faces):
    if kind == "stl":
        return binary_stl(points, faces)
    if kind == "3mf":
        lines = [f'<vertex x="{x:.6f}" y="{y:.6f}" z="{z:.6f}"/>\n' for x, y, z in points.tolist()]
        corners = [f'<triangle v1="{a}" v2="{b}" v3="{c}"/>\n' for a, b, c in faces.tolist()]
        mesh = f"<mesh><vertices>\n{''.join(lines)}</vertices><triangles>\n{''.join(corners)}</triangles></mesh>"
        return threemf_zip(model_xml(f'<object id="1">{mesh}</object>'))
    order = "<" if kind == "ply le" else ">"
    rows = np.zeros(len(faces), np.dtype([("count", "u1"), ("corners", f"{order}i4", 3)]))
    rows["count"], rows["corners"] = 3, faces
    encoding = "binary_little_endian" if kind == "ply le" else "binary_big_endian"
    return _large_header(encoding, points, faces).encode() + points.astype(f"{order}f4").tobytes() + rows.tobytes()


def _large_header(encoding, points, faces):
    return (
        f"ply\nformat {encoding} 1.0\nelement vertex {len(points)}\nproperty float x\nproperty float y\n"
        f"property float z\nelement face {len(faces)}\nproperty list uchar int vertex_indices\nend_header\n"
    )
