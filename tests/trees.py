"""Region trees to test with: random valid ones, one by hand, and the slow way to ask them things.

Everything here is written from the definition of a tree, with Python sets, and shares no code with
:mod:`regiontree.tree`.
"""

from __future__ import annotations

import numpy as np
from hypothesis import strategies as st

from regiontree.tree import RegionTree
from regiontree.tree.stop import StopReason

# A leaf without data lies nowhere but below the root.
LEAF_REASONS = [reason for reason in StopReason if reason.name not in ("INNER", "NO_DATA")]

Pixels = frozenset[int]


def hand_tree() -> RegionTree:
    """Four leaves under three divisions; small enough to know every answer by heart.

    ::

        0 0 1 2          6 ── height 1.0
        0 0 3 3          ├─ 0
                         └─ 5 ── height 0.5
                            ├─ 3
                            └─ 4 ── height 0.25
                               ├─ 1
                               └─ 2
    """
    return RegionTree(
        labels=np.array([[0, 0, 1, 2], [0, 0, 3, 3]]),
        parents=np.array([6, 4, 4, 5, 5, 6, 6]),
        height=np.array([0, 0, 0, 0, 0.25, 0.5, 1.0]),
        stop=np.array([4, 1, 1, 2, 0, 0, 0]),
        meta={"image": {"size": [2, 4]}},
    )


def random_tree(
    rng: np.random.Generator, n_leaves: int, shape: tuple[int, int], *, dim: int | None = None
) -> RegionTree:
    """A valid tree with `n_leaves` leaves scattered over an image of (H, W) >= n_leaves pixels.

    Divisions are into two to four, now and then into one (an only child is legal); heights repeat
    often, so that ties matter; `dim` adds an embedding of that length, descriptors one longer, and
    stability.
    """
    n_pixels = shape[0] * shape[1]
    # Each leaf gets one pixel for sure and the rest fall anywhere.
    labels = np.concatenate([np.arange(n_leaves), rng.integers(0, n_leaves, n_pixels - n_leaves)])
    labels = rng.permutation(labels).reshape(shape)

    parents: list[int] = [-1] * n_leaves
    height = [float(h) for h in rng.choice([0.0, 0.0, 0.0, 0.25], n_leaves)]
    orphans = list(range(n_leaves))
    only_children = int(rng.integers(0, 3))
    while len(orphans) > 1 or only_children > 0:
        ways = min(len(orphans), int(rng.integers(2, 5)))
        if only_children > 0 and rng.random() < 0.3:
            ways, only_children = 1, only_children - 1
        elif len(orphans) == 1:
            break
        children = [orphans.pop(int(rng.integers(len(orphans)))) for _ in range(ways)]
        node = len(parents)
        parents.append(-1)
        height.append(max(height[c] for c in children) + float(rng.choice([0.0, 0.0, 0.25])))
        for child in children:
            parents[child] = node
        orphans.append(node)
    n = len(parents)
    parents[-1] = n - 1

    stop = np.zeros(n, np.uint8)
    stop[:n_leaves] = rng.choice(LEAF_REASONS, n_leaves)
    return RegionTree(
        labels=labels,
        parents=np.array(parents),
        height=np.array(height, np.float32),
        ncut=rng.random(n).astype(np.float32),
        stop=stop,
        embedding=None if dim is None else rng.normal(size=(n, dim)).astype(np.float16),
        meta={"seed": int(rng.integers(1000))},
        descriptor=None if dim is None else rng.normal(size=(n_leaves, dim + 1)).astype(np.float16),
        stability=None if dim is None else rng.random(n).astype(np.float16),
    )


@st.composite
def trees(draw: st.DrawFn, max_leaves: int = 14, max_side: int = 7) -> RegionTree:
    """Random trees that shrink towards few leaves and few pixels."""
    shape = (draw(st.integers(1, max_side)), draw(st.integers(1, max_side)))
    n_leaves = draw(st.integers(1, min(max_leaves, shape[0] * shape[1])))
    dim = draw(st.none() | st.integers(1, 4))
    seed = draw(st.integers(0, 2**32 - 1))
    return random_tree(np.random.default_rng(seed), n_leaves, shape, dim=dim)


def pixels_of(tree: RegionTree) -> list[Pixels]:
    """The pixels of each node (flat indices): a leaf's own, and all of them to each ancestor."""
    found: list[set[int]] = [set() for _ in tree.parents]
    for pixel, leaf in enumerate(tree.labels.reshape(-1).tolist()):
        for node in path_to_root(tree, leaf):
            found[node].add(pixel)
    return [frozenset(pixels) for pixels in found]


def path_to_root(tree: RegionTree, node: int) -> list[int]:
    """The node, its parent, and so on up to the root."""
    path = [node]
    while tree.parents[path[-1]] != path[-1]:
        path.append(int(tree.parents[path[-1]]))
    return path


def children_of(tree: RegionTree, node: int) -> set[int]:
    return {i for i, parent in enumerate(tree.parents.tolist()) if parent == node and i != parent}


def regions_of(labels: np.ndarray) -> set[Pixels]:
    """A label image as a set of regions, whatever their numbers."""
    flat = labels.reshape(-1)
    return {frozenset(np.flatnonzero(flat == k).tolist()) for k in np.unique(flat)}


def is_partition(regions: list[Pixels] | set[Pixels], whole: Pixels) -> bool:
    """Non-empty, disjoint, and together everything."""
    return (
        all(regions)
        and sum(len(region) for region in regions) == len(whole)
        and frozenset().union(*regions) == whole
    )


def refines(fine: set[Pixels], coarse: set[Pixels]) -> bool:
    """Every fine region lies inside one coarse region."""
    return all(any(small <= large for large in coarse) for small in fine)
