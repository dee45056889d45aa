"""Finds which faces meet at which edges, without sorting all edges: a bucket for each vertex, a few edges in each."""

from dataclasses import dataclass
from functools import partial
from typing import cast

import numpy as np
from numpy.typing import NDArray

from mes.pricing.kernel.compiled import compiled
from mes.pricing.kernel.side_by_side import cut, side_by_side

Faces = NDArray[np.int32]
Flags = NDArray[np.bool_]
Halves = NDArray[np.int32]

_FEW = 24
"""Edges in a bucket up to which insertion sorts faster than merging."""

_PARTS = 2
_SMALL = 20_000
"""Faces below which a second thread costs more than it saves."""


@dataclass(frozen=True, slots=True, eq=False)
class Edges:
    """How the faces of a mesh meet.

    A half-edge is one face's side: number 3 f + c runs from corner c of face f to the next.

    Attributes:
        twin: int32 (3 F,), for each half-edge the one other that runs back along it, -1 where it is not so simple.
        odd: int32 (O,), the half-edges that have no twin, those on the same edge next to each other.
        start: int64 (G + 1,), where in `odd` each edge begins; the last is its length.
        sense: int8 (O,), 1 for those in `odd` that run from the lower vertex to the higher, -1 for the others.
    """

    twin: Halves
    odd: Halves
    start: NDArray[np.int64]
    sense: NDArray[np.int8]

    @property
    def faces_at(self) -> NDArray[np.int64]:
        """How many faces meet at each edge whose half-edges are odd (G,)."""
        return np.diff(self.start)

    @property
    def unmatched(self) -> NDArray[np.int64]:
        """How many half-edges at each such edge have no other that runs back (G,)."""
        if not len(self.odd):
            return np.empty(0, np.int64)
        return np.abs(np.add.reduceat(self.sense.astype(np.int64), self.start[:-1]))

    @property
    def open_edges(self) -> int:
        """Half-edges that lack a twin, each twin used once."""
        return int(self.unmatched.sum())

    @property
    def turned(self) -> Halves:
        """Pairs of half-edges (T, 2) at edges of two faces that look in opposite ways."""
        same = (self.faces_at == 2) & (self.unmatched == 2)  # noqa: PLR2004 - two faces, both in one direction
        first = self.start[:-1][same]
        return cast("Halves", np.stack((self.odd[first], self.odd[first + 1]), axis=1))

    @property
    def links(self) -> Halves:
        """Pairs of odd half-edges (L, 2) that lie next to each other on an edge."""
        first = np.ones(len(self.odd), bool)
        first[self.start[:-1]] = False
        second = np.flatnonzero(first)
        return cast("Halves", np.stack((self.odd[second - 1], self.odd[second]), axis=1))


def edges_of(faces: Faces, vertices: int, threads: int = 1) -> Edges:
    """How faces meet.

    Args:
        faces: int32 (F, 3), each with three different corners.
        vertices: how many vertices there are.
        threads: how many cores to use.
    """
    twin = np.empty(3 * len(faces), np.int32)
    parts = _PARTS if len(faces) > _SMALL else 1
    work = [partial(_pair_part, faces, first, last, twin) for first, last in cut(vertices, parts)]
    code = np.concatenate(side_by_side(work, threads))
    odd = code >> 1
    face, corner = odd // 3, odd % 3
    ends = np.sort(np.stack((faces[face, corner], faces[face, (corner + 1) % 3])), axis=0)
    new = np.flatnonzero((ends[:, 1:] != ends[:, :-1]).any(axis=0)) + 1
    start = np.concatenate(([0], new, [len(odd)])) if len(odd) else np.zeros(1, np.int64)
    return Edges(twin, odd, start.astype(np.int64), ((code & 1) * 2 - 1).astype(np.int8))


def _pair_part(faces: Faces, first: int, last: int, twin: Halves) -> Halves:
    """The list comes from numpy, which asks for huge pages."""
    begin = _count(faces, first, last)
    return _pair(faces, first, last, begin, np.empty(int(begin[-1]), np.int64), twin)


def bodies_of(edges: Edges) -> tuple[NDArray[np.int32], int]:
    """The number of its body for each face, from 0, and how many there are: faces that share an edge are of one."""
    return _unite(edges.twin, edges.links)


def lone_faces(faces: Faces, vertices: int) -> Flags:
    """Which faces are no repetition of an earlier one that looks the same way."""
    return _lone(faces, vertices)


def spanning(faces: Faces) -> tuple[Flags, int]:
    """Which faces have three different corners, and how many."""
    return _spanning(faces)


def turned_faces(edges: Edges) -> tuple[NDArray[np.int32], Flags, Flags]:
    """For each face the first of its patch, whether it looks the other way than that, and whether the patch has sides.

    A patch hangs together by edges of two faces. One like Moebius' strip has one side only: nothing cures that.
    """
    return _flood(edges.twin, edges.turned)


@compiled()
def _merge_sort(keys: NDArray[np.int64]) -> NDArray[np.int64]:
    source, target = keys, np.empty_like(keys)
    width = 1
    while width < len(keys):
        for begin in range(0, len(keys), 2 * width):
            middle, end = min(begin + width, len(keys)), min(begin + 2 * width, len(keys))
            left, right = begin, middle
            for place in range(begin, end):
                if left < middle and (right >= end or source[left] <= source[right]):
                    target[place] = source[left]
                    left += 1
                else:
                    target[place] = source[right]
                    right += 1
        source, target = target, source
        width *= 2
    return source


@compiled()
def _sort(keys: NDArray[np.int64], begin: int, end: int) -> None:
    """Sort a bucket in place and never in quadratic time, however many edges meet at one vertex."""
    if end - begin > _FEW:
        keys[begin:end] = _merge_sort(keys[begin:end].copy())
        return
    for place in range(begin + 1, end):
        key, hole = keys[place], place
        while hole > begin and keys[hole - 1] > key:
            keys[hole] = keys[hole - 1]
            hole -= 1
        keys[hole] = key


@compiled("i4[::1](i4[:,::1], i8, i8)")
def _count(faces: Faces, first: int, last: int) -> NDArray[np.int32]:
    """Where in a list of all half-edges by their lower vertex, first..last, each vertex' begin, and its length."""
    begin = np.zeros(last - first + 1, np.int32)
    for face in range(len(faces)):
        for corner in range(3):
            low = min(faces[face, corner], faces[face, (corner + 1) % 3])
            if first <= low < last:
                begin[low - first + 1] += 1
    for vertex in range(last - first):
        begin[vertex + 1] += begin[vertex]
    return begin


@compiled()
def _fill(faces: Faces, first: int, last: int, ends: NDArray[np.int32], keys: NDArray[np.int64]) -> None:
    """List half-edges by their lower vertex; `ends` are the beginnings before and the ends after.

    A key holds the other vertex in its high half; in its low half the half-edge, and whether it leaves the lower one.
    """
    for face in range(len(faces)):
        for corner in range(3):
            start, end = faces[face, corner], faces[face, (corner + 1) % 3]
            low, high = min(start, end), max(start, end)
            if first <= low < last:
                keys[ends[low - first]] = (np.int64(high) << 32) | ((3 * face + corner) * 2 + (start < end))
                ends[low - first] += 1


@compiled("i4[::1](i4[:,::1], i8, i8, i4[::1], i8[::1], i4[::1])")
def _pair(
    faces: Faces, first: int, last: int, ends: NDArray[np.int32], keys: NDArray[np.int64], twin: Halves
) -> Halves:
    """Fill in the twins of half-edges whose lower vertex is in first..last; returns those without, with their sense."""
    _fill(faces, first, last, ends, keys)
    odd, known = np.empty(1024, np.int32), 0
    place = 0
    for vertex in range(last - first):
        bucket = ends[vertex]  # without slices, whose counting of references would take a third of the time
        _sort(keys, place, bucket)
        while place < bucket:
            after = place + 1
            while after < bucket and keys[after] >> 32 == keys[place] >> 32:
                after += 1
            if after == place + 2 and (keys[place] ^ keys[place + 1]) & 1:
                one, other = (keys[place] & 0x7FFFFFFF) >> 1, (keys[place + 1] & 0x7FFFFFFF) >> 1
                twin[one], twin[other] = other, one
                place = after
                continue
            while known + after - place > len(odd):
                odd = np.concatenate((odd, np.empty_like(odd)))
            for at in range(place, after):
                odd[known] = keys[at] & 0x7FFFFFFF
                twin[odd[known] >> 1] = -1
                known += 1
            place = after
    return odd[:known].copy()


@compiled()
def _root(parent: NDArray[np.int32], node: int) -> int:
    while parent[node] != node:
        parent[node] = parent[parent[node]]
        node = parent[node]
    return node


@compiled()
def _join(parent: NDArray[np.int32], one: int, other: int) -> None:
    one, other = _root(parent, one), _root(parent, other)
    if one < other:
        parent[other] = one
    else:
        parent[one] = other


@compiled("Tuple((i4[::1], i8))(i4[::1], i4[:,::1])")
def _unite(twin: Halves, links: Halves) -> tuple[NDArray[np.int32], int]:
    """Components by union and find; a root is the first face of its body, so that one more pass numbers them."""
    parent = np.arange(len(twin) // 3).astype(np.int32)
    for face in range(len(parent)):
        for corner in range(3):
            other = twin[3 * face + corner]
            if other >= 0 and other < 3 * face:
                _join(parent, face, other // 3)
    for link in range(len(links)):
        _join(parent, links[link, 0] // 3, links[link, 1] // 3)
    count = 0
    for face in range(len(parent)):
        if parent[face] == face:
            parent[face] = count
            count += 1
        else:
            parent[face] = parent[parent[face]]  # an earlier face, which has its number already
    return parent, count


@compiled("Tuple((b1[::1], i8))(i4[:,::1])")
def _spanning(faces: Faces) -> tuple[Flags, int]:
    spans, count = np.empty(len(faces), np.bool_), 0
    for face in range(len(faces)):
        a, b, c = faces[face, 0], faces[face, 1], faces[face, 2]
        spans[face] = (a != b) & (b != c) & (c != a)
        count += spans[face]
    return spans, count


@compiled("b1[::1](i4[:,::1], i8)")
def _lone(faces: Faces, vertices: int) -> Flags:
    """By buckets as above, of faces by their lowest corner."""
    ends = np.zeros(vertices + 1, np.int64)
    for face in range(len(faces)):
        ends[min(faces[face, 0], faces[face, 1], faces[face, 2]) + 1] += 1
    for vertex in range(vertices):
        ends[vertex + 1] += ends[vertex]
    keys, members = np.empty(len(faces), np.int64), np.empty(len(faces), np.int32)
    for face in range(len(faces)):
        a, b, c = faces[face, 0], faces[face, 1], faces[face, 2]
        low = min(a, b, c)
        second, third = (b, c) if low == a else ((c, a) if low == b else (a, b))
        keys[ends[low]], members[ends[low]] = (np.int64(second) << 32) | third, face
        ends[low] += 1
    lone, begin = np.ones(len(faces), np.bool_), 0
    for vertex in range(vertices):
        if ends[vertex] - begin > 1:
            order = np.argsort(keys[begin : ends[vertex]], kind="mergesort")
            for place in range(1, len(order)):
                if keys[begin + order[place]] == keys[begin + order[place - 1]]:
                    lone[members[begin + order[place]]] = False
        begin = ends[vertex]
    return lone


@compiled()
def _side(parent: NDArray[np.int32], turned: Flags, node: int) -> tuple[int, bool]:
    """The first face of the patch as known so far, and whether this one is turned against it."""
    root, against = node, False
    while parent[root] != root:
        against ^= turned[root]
        root = parent[root]
    result = against
    while parent[node] != root and node != root:
        after, step = parent[node], turned[node]
        parent[node], turned[node] = root, against
        node, against = after, against ^ step
    return root, result


@compiled()
def _tie(parent: NDArray[np.int32], turned: Flags, one: int, other: int, against: int) -> int:
    """Join two patches; returns the face at whose patch the sides contradict each other, or -1."""
    first, first_side = _side(parent, turned, one)
    second, second_side = _side(parent, turned, other)
    differ = (first_side != second_side) != (against != 0)
    if first == second:
        return first if differ else -1
    parent[max(first, second)], turned[max(first, second)] = min(first, second), differ
    return -1


@compiled("Tuple((i4[::1], b1[::1], b1[::1]))(i4[::1], i4[:,::1])")
def _flood(twin: Halves, pairs: Halves) -> tuple[NDArray[np.int32], Flags, Flags]:
    count = len(twin) // 3
    parent, turned = np.arange(count).astype(np.int32), np.zeros(count, np.bool_)
    contradictory = np.zeros(count, np.bool_)
    for half in range(len(twin)):
        if twin[half] > half:
            _tie(parent, turned, half // 3, twin[half] // 3, 0)
    for pair in range(len(pairs)):
        bad = _tie(parent, turned, pairs[pair, 0] // 3, pairs[pair, 1] // 3, 1)
        if bad >= 0:
            contradictory[bad] = True
    first, against, two_sided = np.empty(count, np.int32), np.empty(count, np.bool_), np.ones(count, np.bool_)
    for face in range(count):
        if contradictory[face]:
            contradictory[_side(parent, turned, face)[0]] = True
    for face in range(count):
        first[face], against[face] = _side(parent, turned, face)
        two_sided[face] = not contradictory[first[face]]
    return first, against, two_sided
