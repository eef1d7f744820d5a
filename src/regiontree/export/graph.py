"""The tree as a directed graph: NetworkX in memory, GraphML on disk.

An edge goes from each node to each of its children. Gephi, Cytoscape, yEd, igraph and NetworkX read
GraphML. The pixels are not in the graph. ``tree.mask(node)`` and the label images of
:mod:`regiontree.export.labelmap` give them.

>>> import numpy as np
>>> from regiontree import RegionTree
>>> tree = RegionTree(labels=np.array([[0, 0, 1], [2, 2, 2]]),
...                   parents=np.array([3, 3, 4, 4, 4]), height=np.array([0, 0, 0, .4, 1]))
>>> graph = to_networkx(tree)
>>> sorted(graph.edges)
[(3, 0), (3, 1), (4, 2), (4, 3)]
>>> graph.nodes[3]
{'area': 3, 'level': 1, 'height': 0.4, 'ncut': 0.0, 'stop': 'inner'}

Reference: U. Brandes et al., GraphML progress report, Graph Drawing 2001.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from regiontree.system.extras import optional
from regiontree.system.files import atomic_write
from regiontree.tree import RegionTree
from regiontree.tree.stop import StopReason

if TYPE_CHECKING:
    import networkx

__all__ = ["node_attributes", "to_networkx", "write_graphml"]


def node_attributes(tree: RegionTree, node: int) -> dict[str, Any]:
    """Attributes of a node in Python's own types, which all formats take.

    They are area (int, pixels), level (int, 0 at the root), height (float), ncut (float, 0 to 1)
    and stop (str, the name of its :class:`~regiontree.tree.stop.StopReason` in lower case); and
    stability (float, 0 to 1), if the tree has it.
    """
    found: dict[str, Any] = {
        "area": int(tree.area[node]),
        "level": int(tree.level[node]),
        # The shortest text that is the same 32-bit number: 0.4, not 0.4000000059604645.
        "height": float(str(tree.height[node])),
        "ncut": float(str(tree.ncut[node])),
        "stop": StopReason(int(tree.stop[node])).name.lower(),
    }
    if tree.stability is not None:
        found["stability"] = float(str(tree.stability[node]))
    return found


def to_networkx(tree: RegionTree) -> networkx.DiGraph[int]:
    """A ``networkx.DiGraph`` of nodes 0 to N - 1 with :func:`node_attributes`.

    Edges lead from parents to children; the root is node N - 1.

    Raises
    ------
    MissingExtraError
        NetworkX is not installed.
    """
    nx = _networkx()
    graph = nx.DiGraph()
    graph.add_nodes_from((node, node_attributes(tree, node)) for node in range(tree.n_nodes))
    graph.add_edges_from((int(tree.parents[node]), node) for node in range(tree.root))
    return graph


def write_graphml(tree: RegionTree, path: str | Path) -> Path:
    """Write :func:`to_networkx` as GraphML, UTF-8 XML; return the path.

    ``networkx.read_graphml(path, node_type=int)`` reads the graph with node numbers as numbers.

    Raises
    ------
    MissingExtraError
        NetworkX is not installed.
    """
    path = Path(path)
    graph = to_networkx(tree)
    with atomic_write(path) as file:
        _networkx().write_graphml(graph, file)
    return path


def _networkx() -> Any:
    return optional("networkx", "export", "graphs need")
