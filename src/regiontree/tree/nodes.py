"""The nodes of a tree, whatever they are regions of: a photograph or the frames of a clip.

:class:`TreeNodes` holds what needs no pixels: walking, cutting, choosing nodes, text.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from regiontree.errors import TreeError, plain_value
from regiontree.system.lazy import lazy
from regiontree.tree import checks, cuts, kernel
from regiontree.tree.descriptors import node_descriptors
from regiontree.tree.nodata import no_data_nodes, not_regions
from regiontree.tree.paths import Paths, heavy_paths
from regiontree.tree.prune import kept_within
from regiontree.tree.salience import salient_nodes
from regiontree.tree.stop import StopReason
from regiontree.tree.text import node_lines

__all__ = ["OPTIONAL", "TreeNodes", "checked_nodes", "checked_parents"]

OPTIONAL = ("embedding", "descriptor", "stability")
"""Arrays of nodes that a tree may lack."""
_PRINTED = 20  # regions of the cut that print(tree) ends at


class TreeNodes:
    """What trees of photographs and of clips have in common.

    The attributes are those of :class:`~regiontree.tree.RegionTree` without its pixels. ``area``
    counts the pixels of all frames.
    """

    parents: NDArray[np.int32]
    height: NDArray[np.float32]
    ncut: NDArray[np.float32]
    stop: NDArray[np.uint8]
    embedding: NDArray[np.float16] | None
    meta: Mapping[str, Any]
    descriptor: NDArray[np.float16] | None
    stability: NDArray[np.float16] | None
    area: NDArray[np.int64]
    level: NDArray[np.int32]

    # -- size and shape ----------------------------------------------------------------------------

    @property
    def n_nodes(self) -> int:
        """Number of nodes, N."""
        return len(self.parents)

    @lazy
    def n_leaves(self) -> int:
        """Number of leaves, L."""
        return int((self.stop != StopReason.INNER).sum())

    @property
    def root(self) -> int:
        """The root's number, N - 1."""
        return self.n_nodes - 1

    @property
    def depth(self) -> int:
        """Level of the deepest leaf."""
        return int(self.level.max())

    def __len__(self) -> int:
        return self.n_nodes

    # -- walking -----------------------------------------------------------------------------------

    @lazy
    def _children(self) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        return kernel.children(self.parents, self.area)

    @lazy
    def _walk(self) -> kernel.Preorder:
        return kernel.preorder(self.parents)

    @lazy
    def _paths(self) -> Paths:
        return heavy_paths(self.parents)

    def children(self, node: int) -> list[int]:
        """Children of a node, the largest first and of equals the lowest number; [] for a leaf."""
        node = self._checked(node)
        start, nodes = self._children
        own: list[int] = nodes[start[node] : start[node + 1]].tolist()
        return own

    def ancestors(self, node: int) -> list[int]:
        """From the parent of a node up to the root; empty for the root."""
        above: list[int] = self._paths.ancestors(self._checked(node)).tolist()
        return above

    def n_below(self, node: int) -> int:
        """Number of nodes below a node."""
        return int(self._walk.size[self._checked(node)]) - 1

    def _leaves_of(self, node: int) -> NDArray[np.bool_]:
        """Which leaves a node holds, (L,)."""
        return self._walk.holds(node, np.arange(self.n_leaves))

    def descriptors(self) -> NDArray[np.float32]:
        """The descriptor of each node, (N, e) float32: the mean of its leaves', weighted by area.

        Leaves of pixels without data do not count. A node of nothing else has zeros.

        Raises
        ------
        TreeError
            The tree has no descriptors.
        """
        if self.descriptor is None:
            raise TreeError(
                "the tree has no descriptors; make it again with backbone.descriptor 'token'"
            )
        return node_descriptors(self.parents, self.area, self.stop, self.descriptor)

    # -- cutting -----------------------------------------------------------------------------------

    @property
    def contrast(self) -> float:
        """By what a height is multiplied to compare it with heights of other photographs, > 0.

        A height is a share of the root's. The contrast says how much the root divides, beside the
        noise of the network; it is near 1 for a usual photograph. The parser writes it into
        ``meta["contrast"]``: see :mod:`regiontree.spectral.contrast`.

        Raises
        ------
        TreeError
            The tree has no contrast, or one that is not a number above 0.
        """
        found = plain_value(self.meta.get("contrast"))
        if found is None:
            raise TreeError("the tree has no contrast; make it again, or cut it by height")
        if not (checks.is_number(found) and found > 0):
            raise TreeError(f"contrast in meta must be a number above 0, got {found!r}")
        return float(found)

    @lazy
    def _divisions(self) -> NDArray[np.int64]:
        """Inner nodes in the order in which they are divided."""
        return kernel.division_order(self.parents, self.height)

    def cut_nodes(
        self,
        *,
        n_regions: int | None = None,
        height: float | None = None,
        depth: int | None = None,
        contrast: float | None = None,
    ) -> NDArray[np.int64]:
        """The nodes of a cut, ascending. At most one criterion is given.

        Parameters
        ----------
        n_regions
            The finest cut with at most that many regions, >= 1. Nodes are divided from the highest
            down while they fit: see :func:`regiontree.tree.kernel.division_order`. A division into
            many children can make a cut end below the number.
        height
            Every node above that height is divided, >= 0.
        depth
            Every node above that depth is divided, >= 0.
        contrast
            Every node whose height times :attr:`contrast` is above that number is divided, >= 0. So
            one number serves many photographs better than one height does.

        Without a criterion, the cut is the natural one: at the height that the tree's builder put
        into its meta as ``natural_height``. A tree without that is cut at height 0, at all leaves.

        Raises
        ------
        TreeError
            Two criteria, or one that is not a number or too low; or `contrast`, and the tree has
            none.

        Notes
        -----
        Regions of any two cuts of a tree are nested or disjoint. Of two cuts by the same criterion,
        the finer refines the coarser.
        """
        natural = self.meta.get("natural_height", 0.0)
        criterion = cuts.cut_criterion(
            natural, n_regions=n_regions, height=height, depth=depth, contrast=contrast
        )
        if criterion[0] == "contrast":
            criterion = "height", criterion[1] / self.contrast
        divided = cuts.divided_by(criterion, self.parents, self.height, self.level, self._divisions)
        return cuts.shown_nodes(self.parents, divided)

    def prune(
        self,
        *,
        n_regions: int | None = None,
        height: float | None = None,
        depth: int | None = None,
        contrast: float | None = None,
        min_area: int | None = None,
    ) -> Self:
        """A smaller tree whose leaves are the regions of a cut.

        Parameters
        ----------
        n_regions, height, depth, contrast
            As :meth:`cut_nodes`.
        min_area
            Instead of a cut: undo every division that made a child smaller than so many pixels. The
            division of pixels without data from the others stays.

        Raises
        ------
        TreeError
            As :meth:`cut_nodes`; `min_area` beside a cut, or below 1.
        """
        if min_area is None:
            leaves = self.cut_nodes(
                n_regions=n_regions, height=height, depth=depth, contrast=contrast
            )
        elif any(v is not None for v in (n_regions, height, depth, contrast)):
            raise TreeError("prune: give min_area or one criterion of a cut, not both")
        elif not (checks.is_number(min_area) and min_area >= 1):
            raise TreeError(f"prune: min_area must be at least 1 pixel, got {min_area!r}")
        else:
            # The leaf of what is not there is no region that could be too small.
            area = np.where(not_regions(self.parents, self.stop), np.iinfo(np.int64).max, self.area)
            leaves = cuts.nodes_without_small_children(self.parents, area, plain_value(min_area))
        keep = np.zeros(self.n_nodes, dtype=bool)
        keep[leaves] = True
        return self._of(kernel.accumulate_any(self.parents, keep))

    def condense(self, n_nodes: int, *, min_stability: float = 0.0) -> Self:
        """A small tree of the most salient nodes, at most `n_nodes` beside the root.

        Nodes are taken in the order of :meth:`salient` while they fit. Each is put under the lowest
        taken node that holds it. What the children leave of a node becomes one more leaf, which
        counts as well; its ``stop`` is :attr:`StopReason.REST`. The leaf of pixels without data is
        taken first, so it stays apart from two nodes on.

        A cut spends half its nodes on the divisions between; this tree has only what stands out. It
        is the better choice when nodes are few, as in a figure or a set of masks. Measured in
        docs/trees.md.

        Parameters
        ----------
        n_nodes
            At least 1.
        min_stability
            Only nodes of at least this stability are taken, 0 to 1. Above 0, the tree must have
            stability.

        Raises
        ------
        TreeError
            `n_nodes` is not a whole number of at least 1, or `min_stability` is not in its range or
            is above 0 for a tree without stability.
        """
        n_nodes = checks.whole_number("n_nodes", n_nodes)
        if n_nodes < 1:
            raise TreeError(f"condense: n_nodes must be at least 1, got {n_nodes}")
        allowed = self._steady(min_stability)
        absent = np.flatnonzero(no_data_nodes(self.stop[:-1])).tolist()
        nodes = [*absent, *self._salient(n_nodes, allowed)]
        return self._of(kept_within(self.parents, self.n_leaves, nodes, n_nodes))

    def _steady(self, min_stability: float) -> NDArray[np.bool_] | None:
        """Which nodes have at least this stability, (N,); None if that are all.

        Raises
        ------
        TreeError
            As :meth:`condense`.
        """
        least = plain_value(min_stability)
        if not (checks.is_number(least) and 0 <= least <= 1):
            raise TreeError(f"condense: min_stability must be from 0 to 1, got {min_stability!r}")
        if least == 0:
            return None
        if self.stability is None:
            raise TreeError(
                "condense: the tree has no stability; make it again with the setting stability "
                "above 0, or leave min_stability out"
            )
        steady: NDArray[np.bool_] = self.stability >= least
        return steady

    def _of(self, keep: NDArray[np.bool_]) -> Self:
        """The tree of some nodes, the root among them; see :mod:`regiontree.tree.prune`."""
        raise NotImplementedError

    def salient(self, k: int) -> list[int]:
        """The `k` nodes most likely to be things or parts, from any level, the most salient first.

        These nodes hold together over the longest stretch of heights, less what the nodes before
        them cover already: see :mod:`regiontree.tree.salience`. A smaller k gives the first of
        them. A smaller tree gives fewer. The root never is one: it has no siblings. Nor is the leaf
        of pixels without data, nor the node beside it, which holds all the others.

        Raises
        ------
        TreeError
            `k` is not a whole number of at least 1.
        """
        k = checks.whole_number("k", k)
        if k < 1:
            raise TreeError(f"salient: k must be at least 1, got {k}")
        return self._salient(k)

    def _salient(self, k: int, allowed: NDArray[np.bool_] | None = None) -> list[int]:
        """The `k` most salient nodes of those that are allowed, (N,) bool."""
        absent = not_regions(self.parents, self.stop)
        ignored = absent if absent.any() else None
        return salient_nodes(self.parents, self.area, self.height, k, ignored, allowed)

    # -- text --------------------------------------------------------------------------------------

    def __str__(self) -> str:
        return self.to_text(n_regions=_PRINTED)

    def _columns(self) -> dict[str, list[str]]:
        """More columns of the text, by their headings: an entry for each node."""
        return {}

    def to_text(self, max_depth: int | None = None, n_regions: int | None = None) -> str:
        """The tree as text, a line a node: area, depth, height and why a leaf ends.

        If the tree has stability, it is one more column.

        Nodes deeper than `max_depth` and nodes below the cut into `n_regions` are only counted.
        """
        ends = np.zeros(self.n_nodes, dtype=bool)
        if max_depth is not None:
            ends |= self.level >= checks.whole_number("max_depth", max_depth)
        if n_regions is not None:
            ends[self.cut_nodes(n_regions=n_regions)] = True
        arrays = (self.parents, self.area, self.level, self.height, self.stop)
        lines = node_lines(*arrays, ends, self.stability, self._columns())
        return "\n".join([repr(self), *lines])

    def _checked(self, node: int) -> int:
        node = checks.whole_number("a node", node)
        if not 0 <= node < self.n_nodes:
            raise TreeError(f"node {node} does not exist: this tree has nodes 0 to {self.root}")
        return node


def checked_parents(given: Any) -> NDArray[np.int32]:
    """A checked copy of the parents of a tree's nodes.

    Raises
    ------
    TreeError
        They are no tree; the message names the first offender.
    """
    parents = checks.checked_array("parents", given, 1, "iu", np.int32)
    checks.check_parents(parents)
    return parents


def checked_nodes(
    tree: TreeNodes, parents: NDArray[np.int32], inner: NDArray[np.bool_]
) -> dict[str, NDArray[Any] | None]:
    """The arrays of a tree's nodes as they were given, checked: copies of the right type.

    Parameters
    ----------
    tree
        The tree, with its arrays as they were given.
    parents
        Those of :func:`checked_parents`.
    inner : (N,) bool
        Which nodes have children.

    Raises
    ------
    TreeError
        They contradict each other; the message names the array and the first offender.
    """
    n = len(parents)
    n_leaves = n - int(inner.sum())
    height = checks.checked_array("height", tree.height, 1, "fiu", np.float32, n)
    checks.check_height(height, parents)
    given_ncut: Any = np.zeros(n, np.float32) if tree.ncut is None else tree.ncut
    ncut = checks.checked_array("ncut", given_ncut, 1, "fiu", np.float32, n)
    checks.check_ncut(ncut)
    reasons: Any = tree.stop
    if reasons is None:
        reasons = np.where(inner, StopReason.INNER, StopReason.UNKNOWN)
    stop = checks.checked_array("stop", reasons, 1, "iu", np.uint8, n)
    checks.check_stop(stop, inner)
    embedding = tree.embedding
    if embedding is not None:
        embedding = checks.checked_array("embedding", embedding, 2, "f", np.float16)
        checks.check_rows("embedding", embedding, n)
    descriptor = tree.descriptor
    if descriptor is not None:
        descriptor = checks.checked_array("descriptor", descriptor, 2, "f", np.float16)
        checks.check_rows("descriptor", descriptor, n_leaves, "leaves")
    stability = tree.stability
    if stability is not None:
        stability = checks.checked_array("stability", stability, 1, "f", np.float16, n)
        checks.check_stability(stability)
    return {"parents": parents, "height": height, "ncut": ncut, "stop": stop,
            "embedding": embedding, "descriptor": descriptor, "stability": stability}  # fmt: skip
