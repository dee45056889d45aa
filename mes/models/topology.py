"""Finds what hangs together in a mesh, in whole-array steps: no step of Python per triangle."""

import numpy as np

from mes.models.mesh import Ints


def directed_edges(faces: Ints) -> tuple[Ints, Ints]:
    """Starts and ends of all edges (3 F,): first those from each face's corner 0 to 1, then 1 to 2, then 2 to 0."""
    return faces.T.ravel(), np.roll(faces, -1, axis=1).T.ravel()


def neighbours(faces: Ints) -> tuple[Ints, Ints]:
    """Pairs of directed edges, by their place in `directed_edges`, that lie on the same undirected edge.

    Where more than two meet, each is paired with the next, which links them all.
    """
    start, end = directed_edges(faces)
    undirected = np.minimum(start, end) * (int(faces.max()) + 1) + np.maximum(start, end)
    order = np.argsort(undirected, kind="stable")
    same = undirected[order[1:]] == undirected[order[:-1]]
    return order[:-1][same], order[1:][same]


def components(nodes: int, left: Ints, right: Ints) -> Ints:
    """The number of its component for each node (nodes,), from 0, given links between nodes.

    Smallest labels spread over the links and paths are shortened until nothing changes (Shiloach and Vishkin, "An
    O(log n) parallel connectivity algorithm", 1982).
    """
    label = np.arange(nodes)
    while len(left):
        lower, upper = np.minimum(label[left], label[right]), np.maximum(label[left], label[right])
        np.minimum.at(label, upper, lower)
        while not np.array_equal(jumped := label[label], label):
            label = jumped
        apart = label[left] != label[right]
        left, right = left[apart], right[apart]
    roots = label == np.arange(nodes)
    return (np.cumsum(roots) - 1)[label]
