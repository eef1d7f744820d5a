"""Higra: the tree for the algorithms on hierarchies of Perret et al., in memory and on disk.

Higra's tree has the same nodes with the same numbers. Its leaves are the vertices of a region
adjacency graph over the 4-connected grid of pixels, and the tree is linked to this graph. So
Higra's functions work on pixels: ``hg.attribute_area`` counts them, horizontal cuts give images,
and ``hg.saliency`` gives edges that ``hg.graph_4_adjacency_2_khalimsky`` draws. The leaf map turns
values of leaves into an image: ``hg.reconstruct_leaf_data(tree, values)[leaf_map]``.

>>> import numpy as np
>>> from regiontree import RegionTree
>>> tree = RegionTree(labels=np.array([[0, 0, 1], [2, 2, 2]]),
...                   parents=np.array([3, 3, 4, 4, 4]), height=np.array([0, 0, 0, .4, 1]))
>>> higra_tree, altitudes, leaf_map = to_higra(tree)
>>> higra_tree.parents()
array([3, 3, 4, 4, 4])
>>> import higra as hg
>>> low = altitudes < 1
>>> below = low & low[higra_tree.parents()]       # all but the highest nodes lower than 1
>>> hg.reconstruct_leaf_data(higra_tree, np.arange(5), below)[leaf_map]
array([[3, 3, 3],
       [2, 2, 2]])

Reference: B. Perret et al., Higra: hierarchical graph analysis, SoftwareX 2019.
"""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from regiontree.errors import ExportError
from regiontree.system.extras import optional
from regiontree.system.files import atomic_write
from regiontree.tree import RegionTree

__all__ = ["to_higra", "write_higra"]


def to_higra(tree: RegionTree) -> tuple[Any, NDArray[np.float64], NDArray[np.int32]]:
    """The tree, its altitudes and its leaf map.

    Returns
    -------
    higra.Tree
        N nodes, linked (``CptHierarchy``) to the adjacency graph of the leaves. That graph is
        linked (``CptRegionAdjacencyGraph``) to the graph of the image's pixels. A leaf in several
        pieces is one vertex.
    altitudes : (N,) float64
        ``tree.height``.
    leaf_map : (H, W) int32
        ``tree.labels``: leaf of each pixel, and row of each pixel in values of leaves.

    Higra stores every edge between pixels: 180 bytes a pixel while the graph is made, 2 GB for a
    photograph of 12 megapixels. ``higra.Tree(tree.parents)`` and :func:`write_higra` do not need
    these edges.

    Raises
    ------
    MissingExtraError
        Higra is not installed.
    """
    hg = _higra()
    graph = hg.get_4_adjacency_graph(tree.shape)
    ends = [tree.labels.reshape(-1)[end] for end in graph.edge_list()]
    low, high = np.minimum(*ends), np.maximum(*ends)
    edge_map = np.full(len(low), -1, dtype=np.int64)
    between = low != high
    pairs, edge_map[between] = np.unique(
        low[between] * np.int64(tree.n_leaves) + high[between], return_inverse=True
    )
    regions = hg.UndirectedGraph(tree.n_leaves)
    regions.add_edges(*np.divmod(pairs, tree.n_leaves))
    hg.CptRegionAdjacencyGraph.link(regions, graph, tree.labels.reshape(-1), edge_map)
    linked = hg.Tree(tree.parents)
    hg.CptHierarchy.link(linked, regions)
    return linked, tree.height.astype(np.float64), tree.labels


def write_higra(tree: RegionTree, path: str | Path) -> Path:
    """Write the tree in Higra's own format, which ``higra.read_tree`` reads; return the path.

    The attributes are altitudes (heights), area, level, ncut, stop
    (:class:`~regiontree.tree.stop.StopReason` as a number), and stability, if the tree has it; each
    (N,) float64 as in all files of this format. The file holds no pixels. Leaf i is region i + 1 of
    ``write_label_image(tree, path, n_regions=tree.n_leaves)``.

    Raises
    ------
    MissingExtraError
        Higra is not installed.
    """
    hg = _higra()
    path = Path(path)
    attributes: dict[str, NDArray[Any]] = {
        "altitudes": tree.height,
        **{key: getattr(tree, key) for key in ("area", "level", "ncut", "stop")},
    }
    if tree.stability is not None:
        attributes["stability"] = tree.stability
    with tempfile.TemporaryDirectory() as folder:
        # Higra takes only a file name, perhaps not with all characters, and hides failures.
        name = Path(folder) / "tree"
        hg.save_tree(str(name), hg.Tree(tree.parents), attributes)
        written = name.read_bytes()
        # Its own reader is not asked: a file that is cut keeps it in an endless loop.
        parts = [tree.parents.astype("<i4"), *(v.astype("<f8") for v in attributes.values())]
        if not all(part.tobytes() in written for part in parts):
            raise ExportError(
                f"{path}: Higra could not write its temporary file; make room in {folder}, or name "
                "another folder with TMPDIR"
            )
    with atomic_write(path) as file:
        file.write(written)
    return path


def _higra() -> Any:
    return optional("higra", "higra", "Higra's trees need")
