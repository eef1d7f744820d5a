"""RegionTree: an image as nested regions, the one result type of the package.

A tree is a few flat arrays. ``labels`` gives every pixel its leaf. ``parents`` links N nodes in the
order that Higra uses: leaves first (0 to L - 1), every parent after its children, the root last and
its own parent. A node is the set of pixels of the leaves below it. So the children of a node
partition it, and every cut through the tree partitions the image.

``height`` orders the divisions: a parent's height is never below a child's. Dividing nodes from the
highest down gives a sequence of ever finer partitions, each nested in the one before.
:meth:`RegionTree.cut` stops this sequence at a number of regions or at a height. A cut costs one
table look-up a pixel.

>>> import numpy as np
>>> tree = RegionTree(labels=np.array([[0, 0, 1], [2, 2, 2]]),
...                   parents=np.array([3, 3, 4, 4, 4]), height=np.array([0, 0, 0, .4, 1]))
>>> tree.cut(n_regions=2)
array([[1, 1, 1],
       [0, 0, 0]], dtype=int32)
>>> tree.at(0, 2)
[1, 3, 4]
>>> print(tree)
RegionTree of 2 x 3 pixels: 5 nodes, 3 leaves, depth 2
node       area  depth  height  why it ends
4        100.0%      0   1.000
├─ 2      50.0%      1   0.000  not recorded
└─ 3      50.0%      1   0.400
   ├─ 0   33.3%      2   0.000  not recorded
   └─ 1   16.7%      2   0.000  not recorded
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
from numpy.typing import ArrayLike, NDArray

from regiontree.errors import TreeError, TreeFileError, plain_value
from regiontree.system.lazy import lazy
from regiontree.tree import checks, cuts, kernel
from regiontree.tree.descriptors import node_descriptors
from regiontree.tree.doors import TreeDoors
from regiontree.tree.file import ARRAYS, read_tree_file, read_tree_structure, write_tree_file
from regiontree.tree.nodata import no_data_nodes, not_regions
from regiontree.tree.paths import Paths, heavy_paths
from regiontree.tree.prune import kept_arrays, kept_within
from regiontree.tree.renumber import renumbered
from regiontree.tree.salience import salient_nodes
from regiontree.tree.stop import StopReason
from regiontree.tree.text import counted, node_lines

if TYPE_CHECKING:
    from regiontree.tree.pieces import NodePieces

__all__ = ["RegionTree"]

_OPTIONAL = ("embedding", "descriptor", "stability")  # arrays that a tree may lack
_PRINTED = 20  # regions of the cut that print(tree) ends at

Int32 = NDArray[np.int32]


@dataclass(frozen=True, eq=False, repr=False)
class RegionTree(TreeDoors):
    """Nested regions of one image. Arrays are copied, checked and made read-only.

    Attributes
    ----------
    labels : (H, W) int32
        Leaf of each pixel, 0 to L - 1; every leaf has a pixel.
    parents : (N,) int32
        Parent of each node; ``parents[i] > i`` but for the root, ``parents[N - 1] == N - 1``.
    height : (N,) float32
        At least 0 and never above the parent's. In trees of this package the root has 1, leaves
        have 0. Ward's heights are the square root of a merge's cost, divided by the last merge's.
        Those of the recursion are the node's share of the image's feature scatter.
    ncut : (N,) float32
        Normalised cut of the node against its siblings, 0 to 1. It is 0 at the root, and in trees
        whose builder does not use it.
    stop : (N,) uint8
        :class:`~regiontree.tree.stop.StopReason`: why a leaf was not divided.
    embedding : (N, d) float16 or None
        Mean of each node's patch features, at unit length. The features are those that the tree was
        built on: smoothed, if the settings say so.
    meta : mapping of JSON values
        Software version, backbone, settings, image size and source digest. Meta is copied as JSON
        would copy it, so tuples become lists. A file gives back the same meta.
    descriptor : (L, e) float16 or None
        Mean over each leaf's patches of what the network's last block says of them, not scaled. A
        leaf of pixels without data has zeros. :meth:`descriptors` gives those of all nodes.
    stability : (N,) float16 or None
        How well each node comes back under small changes of the features, 0 to 1: the mean of its
        best overlaps (IoU, in patches) with the nodes of trees of other features. See
        :mod:`regiontree.hierarchy.stability`. The root has 1, and so has the leaf of pixels without
        data, which depends on no feature. A rest, which no other tree was searched for, has 0.
    area : (N,) int64
        Pixels of each node (derived).
    level : (N,) int32
        Depth of each node, 0 at the root (derived).

    Raises
    ------
    TreeError
        The arrays contradict each other; the message names the array and the first offender.
    """

    labels: Int32
    parents: Int32
    height: NDArray[np.float32]
    ncut: NDArray[np.float32] = None  # type: ignore[assignment]
    stop: NDArray[np.uint8] = None  # type: ignore[assignment]
    embedding: NDArray[np.float16] | None = None
    meta: Mapping[str, Any] = field(default_factory=dict)
    descriptor: NDArray[np.float16] | None = None
    stability: NDArray[np.float16] | None = None
    area: NDArray[np.int64] = field(init=False)
    level: Int32 = field(init=False)

    def __post_init__(self) -> None:
        parents = checks.checked_array("parents", self.parents, 1, "iu", np.int32)
        checks.check_parents(parents)
        n, inner = len(parents), kernel.is_inner(parents)
        n_leaves = n - int(inner.sum())

        labels = checks.checked_array("labels", self.labels, 2, "iu", np.int32)
        checks.check_labels(labels, n_leaves)
        leaf_area = checks.leaf_areas(labels, n_leaves)
        area = kernel.accumulate_sum(parents, np.pad(leaf_area, (0, n - n_leaves)))
        level = kernel.levels(parents).astype(np.int32)

        height = checks.checked_array("height", self.height, 1, "fiu", np.float32, n)
        checks.check_height(height, parents)
        given_ncut: Any = np.zeros(n, np.float32) if self.ncut is None else self.ncut
        ncut = checks.checked_array("ncut", given_ncut, 1, "fiu", np.float32, n)
        checks.check_ncut(ncut)
        reasons: Any = self.stop
        if reasons is None:
            reasons = np.where(inner, StopReason.INNER, StopReason.UNKNOWN)
        stop = checks.checked_array("stop", reasons, 1, "iu", np.uint8, n)
        checks.check_stop(stop, inner)
        embedding = self.embedding
        if embedding is not None:
            embedding = checks.checked_array("embedding", embedding, 2, "f", np.float16)
            checks.check_rows("embedding", embedding, n)
        descriptor = self.descriptor
        if descriptor is not None:
            descriptor = checks.checked_array("descriptor", descriptor, 2, "f", np.float16)
            checks.check_rows("descriptor", descriptor, n_leaves, "leaves")
        stability = self.stability
        if stability is not None:
            stability = checks.checked_array("stability", stability, 1, "f", np.float16, n)
            checks.check_stability(stability)

        arrays = {"labels": labels, "parents": parents, "height": height, "ncut": ncut,
                  "stop": stop, "embedding": embedding, "descriptor": descriptor,
                  "stability": stability, "area": area, "level": level}  # fmt: skip
        for name, array in arrays.items():
            if array is not None:
                array.setflags(write=False)
            object.__setattr__(self, name, array)
        object.__setattr__(self, "meta", MappingProxyType(checks.json_copy(self.meta)))

    @classmethod
    def from_parents(
        cls,
        labels: ArrayLike,
        parents: ArrayLike,
        height: ArrayLike | None = None,
        *,
        meta: Mapping[str, Any] | None = None,
    ) -> RegionTree:
        """A region tree from a label map and parents in any order.

        Nodes are renumbered: leaves first, then inner nodes, the deepest first and the root last. A
        node without a pixel is left out.

        Parameters
        ----------
        labels : (H, W) integers
            The node that each pixel lies in. It must be a leaf.
        parents : (N,) integers
            The parent of each node. The one root has -1 or itself.
        height : (N,) numbers, optional
            At least 0, and a parent's never below its children's. Without heights, an inner node
            of depth d has height 1 / (1 + d), so that cuts divide level by level.
        meta
            As in the class.

        Raises
        ------
        TreeError
            A label that is no node or not a leaf, no root or several, a cycle, lengths that differ,
            or a height above the parent's.

        Examples
        --------
        Node 0 is the root, node 2 an inner node:

        >>> tree = RegionTree.from_parents([[1, 3], [1, 4]], [-1, 0, 0, 2, 2])
        >>> tree.parents, tree.height
        (array([4, 3, 3, 4, 4], dtype=int32), array([0. , 0. , 0. , 0.5, 1. ], dtype=float32))
        >>> tree.labels
        array([[0, 1],
               [0, 2]], dtype=int32)
        """
        return cls(**renumbered(labels, parents, height), meta=dict(meta or {}))

    def __reduce__(self) -> tuple[Any, ...]:
        # Worker processes pickle and copy trees. A read-only meta alone allows neither.
        arrays = (self.labels, self.parents, self.height, self.ncut, self.stop, self.embedding)
        return RegionTree, (*arrays, dict(self.meta), self.descriptor, self.stability)

    # -- size and shape ---------------------------------------------------------------------------

    @property
    def shape(self) -> tuple[int, int]:
        """(H, W) of the image in pixels."""
        return self.labels.shape[0], self.labels.shape[1]

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

    def __repr__(self) -> str:
        h, w = self.shape
        return (
            f"RegionTree of {h} x {w} pixels: {counted(self.n_nodes, 'node')}, "
            f"{counted(self.n_leaves, 'leaf', 'leaves')}, depth {self.depth}"
        )

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, RegionTree):
            return NotImplemented
        names = ("labels", "parents", "height", "ncut", "stop")
        same = all(np.array_equal(getattr(self, k), getattr(other, k)) for k in names)
        for name in _OPTIONAL:
            own, others = getattr(self, name), getattr(other, name)
            if (own is None) != (others is None):
                return False
            same = same and (own is None or np.array_equal(own, others))
        return same and self.meta == other.meta

    __hash__: ClassVar[None] = None  # type: ignore[assignment]

    # -- walking ----------------------------------------------------------------------------------

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

    def at(self, y: int, x: int) -> list[int]:
        """Regions that hold pixel (row y, column x), from its leaf to the root."""
        h, w = self.shape
        y, x = checks.whole_number("a pixel's row", y), checks.whole_number("a pixel's column", x)
        if not (0 <= y < h and 0 <= x < w):
            raise TreeError(f"pixel ({y}, {x}) is outside the image of {h} x {w} pixels")
        leaf = int(self.labels[y, x])
        return [leaf, *self.ancestors(leaf)]

    def mask(self, node: int) -> NDArray[np.bool_]:
        """Pixels of a node, (H, W) bool."""
        mask: NDArray[np.bool_] = self._leaves_of(self._checked(node))[self.labels]
        return mask

    def masks(self) -> Iterator[NDArray[np.bool_]]:
        """Masks of nodes 0 to N - 1, one at a time, so that they do not fill the memory."""
        for node in range(self.n_nodes):
            yield self.mask(node)

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

    # -- cutting ----------------------------------------------------------------------------------

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

    def cut(
        self,
        *,
        n_regions: int | None = None,
        height: float | None = None,
        depth: int | None = None,
        contrast: float | None = None,
    ) -> Int32:
        """A partition of the image, (H, W) int32: region j is node ``cut_nodes(...)[j]``.

        Parameters and errors as :meth:`cut_nodes`.
        """
        nodes = self.cut_nodes(n_regions=n_regions, height=height, depth=depth, contrast=contrast)
        region = cuts.node_of_leaf(self.parents, nodes, self.n_leaves).astype(np.int32)
        labels: Int32 = region[self.labels]
        return labels

    def prune(
        self,
        *,
        n_regions: int | None = None,
        height: float | None = None,
        depth: int | None = None,
        contrast: float | None = None,
        min_area: int | None = None,
    ) -> RegionTree:
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

    def condense(self, n_nodes: int, *, min_stability: float = 0.0) -> RegionTree:
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

    def _of(self, keep: NDArray[np.bool_]) -> RegionTree:
        """The tree of some nodes, the root among them; see :mod:`regiontree.tree.prune`."""
        names = ("labels", "parents", "area", "height", "ncut", "stop", *_OPTIONAL)
        arrays: Any = kept_arrays(keep, **{name: getattr(self, name) for name in names})
        return RegionTree(**arrays, meta=self.meta)

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

    # -- connected pieces -------------------------------------------------------------------------

    def pieces(self, min_area: int | None = None) -> RegionTree:
        """A finer tree, in which each node in several places is divided into connected pieces.

        Pieces are nodes below their node, and what was below the node goes on below them. Each node
        of the new tree is a node of this one or a piece of it. A node below a piece lies within
        that piece. A cut of the new tree by height has the pieces of the regions of this tree's
        cut. A cut into a number of regions counts pieces. See :mod:`regiontree.tree.piecetree`.

        The pieces of the new tree are the same tree. ``meta["pieces"]`` records `min_area`.

        Parameters
        ----------
        min_area
            A piece of fewer pixels is a speck, which stays with the nearest piece of its node. None
            is half a patch, as in refinement, or 1/2000 of an image whose patches are not recorded.

        Raises
        ------
        TreeError
            `min_area` is not a whole number of at least 1.

        Examples
        --------
        >>> tree = RegionTree([[0, 1, 0], [0, 1, 1]], [2, 2, 2], [0, 0, 1])
        >>> tree.pieces(1).labels
        array([[0, 2, 1],
               [0, 2, 2]], dtype=int32)
        >>> tree.pieces(1).parents
        array([3, 3, 4, 4, 4], dtype=int32)
        """
        # Here, as reading a tree needs nothing of SciPy, and loading it takes long.
        from regiontree.tree.piecetree import piece_tree, smallest_piece

        if min_area is None:
            min_area = smallest_piece(self.shape, self.meta)
        min_area = checks.whole_number("min_area", min_area)
        if min_area < 1:
            raise TreeError(f"pieces: min_area must be at least 1 pixel, got {min_area}")
        names = ("parents", "area", "height", "ncut", "stop", *_OPTIONAL)
        own: Any = {name: getattr(self, name) for name in names}
        arrays: Any = piece_tree(self.node_pieces(), min_area, **own)
        return RegionTree(**arrays, meta={**self.meta, "pieces": {"min_area": min_area}})

    def node_pieces(self) -> NodePieces:
        """The connected pieces of all nodes, each set of pixels once, whatever its size.

        For a photograph of 640 x 480 pixels and 800 nodes this takes some 5 ms. The pieces form a
        tree of their own, over ``labels`` of their own: see
        :class:`~regiontree.tree.pieces.NodePieces`.

        Examples
        --------
        >>> tree = RegionTree([[0, 1, 0], [0, 1, 1]], [2, 2, 2], [0, 0, 1])
        >>> pieces = tree.node_pieces()
        >>> pieces.node.tolist(), pieces.area.tolist(), pieces.is_node.tolist()
        ([0, 1, 0, 2], [2, 3, 1, 6], [False, True, False, True])
        >>> pieces.mask(2)
        array([[False, False,  True],
               [False, False, False]])
        """
        from regiontree.tree.pieces import pieces_of_nodes

        return pieces_of_nodes(self.labels, self.parents, self.area, self.stop)

    # -- showing and saving -----------------------------------------------------------------------

    def __str__(self) -> str:
        return self.to_text(n_regions=_PRINTED)

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
        lines = node_lines(*arrays, ends, self.stability)
        return "\n".join([repr(self), *lines])

    def save(self, path: str | Path) -> Path:
        """Write the tree to one ``.npz`` file; see :mod:`regiontree.tree.file`."""
        arrays = {name: getattr(self, name) for name in ARRAYS}
        return write_tree_file(path, arrays, self.meta)

    @classmethod
    def load(cls, path: str | Path) -> RegionTree:
        """The tree that :meth:`save` wrote. Every array is checked.

        Raises
        ------
        TreeFileError
            The file does not exist, is not a region tree, is damaged, was made by a later version
            of this package, or its arrays contradict each other.
        """
        arrays, meta = read_tree_file(path)
        area, level = arrays.pop("area"), arrays.pop("level")
        tree = _from_file(path, arrays, meta)
        for name, stored in (("area", area), ("level", level)):
            if not np.array_equal(stored, getattr(tree, name)):
                raise TreeFileError(f"{path}: {name} does not follow from labels and parents")
        return tree

    @classmethod
    def load_structure(cls, path: str | Path) -> RegionTree:
        """The tree of a file without its pixels, over an image that has one pixel for each leaf.

        Nodes, heights, stop reasons, cuts and meta are those of the file. Areas and masks are not.
        Reading takes milliseconds at any image size.

        Raises
        ------
        TreeFileError
            As :meth:`load`; damage to the pixels goes unnoticed.
        """
        arrays, meta = read_tree_structure(path)
        leaves = np.arange(np.count_nonzero(arrays["stop"]), dtype=np.int32)
        return _from_file(path, {"labels": leaves[None], **arrays}, meta)

    def _checked(self, node: int) -> int:
        node = checks.whole_number("a node", node)
        if not 0 <= node < self.n_nodes:
            raise TreeError(f"node {node} does not exist: this tree has nodes 0 to {self.root}")
        return node


def _from_file(path: str | Path, arrays: Mapping[str, Any], meta: Mapping[str, Any]) -> RegionTree:
    """The tree of a file's arrays. An error about them names the file."""
    try:
        return RegionTree(**arrays, meta=meta)
    except TreeError as error:
        raise TreeFileError(f"{path}: {error}") from error
