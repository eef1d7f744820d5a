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

from regiontree.errors import TreeError, TreeFileError
from regiontree.tree import checks, cuts, kernel
from regiontree.tree.doors import TreeDoors
from regiontree.tree.file import ARRAYS, read_tree_file, read_tree_structure, write_tree_file
from regiontree.tree.nodes import OPTIONAL, TreeNodes, checked_nodes, checked_parents
from regiontree.tree.prune import kept_arrays
from regiontree.tree.renumber import renumbered
from regiontree.tree.text import counted

if TYPE_CHECKING:
    from regiontree.tree.pieces import NodePieces

__all__ = ["RegionTree"]

Int32 = NDArray[np.int32]


@dataclass(frozen=True, eq=False, repr=False)
class RegionTree(TreeNodes, TreeDoors):
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
        parents = checked_parents(self.parents)
        n, inner = len(parents), kernel.is_inner(parents)
        n_leaves = n - int(inner.sum())

        labels = checks.checked_array("labels", self.labels, 2, "iu", np.int32)
        checks.check_labels(labels, n_leaves)
        leaf_area = checks.leaf_areas(labels, n_leaves)
        area = kernel.accumulate_sum(parents, np.pad(leaf_area, (0, n - n_leaves)))
        level = kernel.levels(parents).astype(np.int32)

        nodes = checked_nodes(self, parents, inner)
        arrays = {"labels": labels, **nodes, "area": area, "level": level}
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
        for name in OPTIONAL:
            own, others = getattr(self, name), getattr(other, name)
            if (own is None) != (others is None):
                return False
            same = same and (own is None or np.array_equal(own, others))
        return same and self.meta == other.meta

    __hash__: ClassVar[None] = None  # type: ignore[assignment]

    # -- walking ----------------------------------------------------------------------------------

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

    # -- cutting ----------------------------------------------------------------------------------

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

    def _of(self, keep: NDArray[np.bool_]) -> RegionTree:
        """The tree of some nodes, the root among them; see :mod:`regiontree.tree.prune`."""
        names = ("labels", "parents", "area", "height", "ncut", "stop", *OPTIONAL)
        arrays: Any = kept_arrays(keep, **{name: getattr(self, name) for name in names})
        return RegionTree(**arrays, meta=self.meta)

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
        names = ("parents", "area", "height", "ncut", "stop", *OPTIONAL)
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


def _from_file(path: str | Path, arrays: Mapping[str, Any], meta: Mapping[str, Any]) -> RegionTree:
    """The tree of a file's arrays. An error about them names the file."""
    try:
        return RegionTree(**arrays, meta=meta)
    except TreeError as error:
        raise TreeFileError(f"{path}: {error}") from error
