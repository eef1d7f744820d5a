"""RegionTree: an image as nested regions, the one result type of the package.

A tree is a handful of flat arrays. ``labels`` gives every pixel its leaf; ``parents`` links N nodes
in the order that Higra uses: leaves first (0 to L - 1), every parent after its children, the root
last and its own parent. A node is the set of pixels of the leaves below it, so the children of a
node always partition it, and any cut through the tree partitions the image.

``height`` orders the divisions: a parent's is never below a child's. Dividing nodes from the
highest down gives one sequence of ever finer partitions, each nested in the one before, and
:meth:`RegionTree.cut` stops it at a number of regions or at a height. It costs one table look-up a
pixel; nothing is computed again.

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

import json
import operator
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, cast

import numpy as np
from numpy.typing import ArrayLike, NDArray

from regiontree.errors import TreeError, TreeFileError
from regiontree.system.doors import TREE_DOORS
from regiontree.tree.file import ARRAYS, read_tree_file, read_tree_structure, write_tree_file
from regiontree.tree.salience import salient_nodes
from regiontree.tree.stop import StopReason

if TYPE_CHECKING:
    from matplotlib.figure import Figure

__all__ = ["RegionTree"]

_PRINTED = 20  # regions of the cut that print(tree) ends at

Int32 = NDArray[np.int32]


@dataclass(frozen=True, eq=False, repr=False)
class RegionTree:
    """Nested regions of one image. Arrays are copied, checked and made read-only.

    Attributes
    ----------
    labels : (H, W) int32
        Leaf of each pixel, 0 to L - 1; every leaf has a pixel.
    parents : (N,) int32
        Parent of each node; ``parents[i] > i`` but for the root, ``parents[N - 1] == N - 1``.
    height : (N,) float32
        >= 0 and never above the parent's: 1 at the root and 0 at leaves of this package's trees.
        Ward's is the square root of a merge's cost as a share of the last merge's; the recursion's
        the share of the image's feature scatter that lies within the node.
    ncut : (N,) float32
        Normalised cut of the node against its siblings when its parent was divided, 0 to 1; 0 at
        the root and where the builder makes no use of it.
    stop : (N,) uint8
        :class:`~regiontree.tree.stop.StopReason`: why a leaf was not divided.
    embedding : (N, d) float16 or None
        Unit-length mean of each node's patch features, as the tree was built on them: smoothed, if
        the settings say so.
    meta : mapping of JSON values
        Software version, backbone, settings, image size and source digest. Copied by way of JSON,
        so that it reads back from a file as it is here: tuples become lists.
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
    area: NDArray[np.int64] = field(init=False)
    level: Int32 = field(init=False)

    def __post_init__(self) -> None:
        parents = _array("parents", self.parents, 1, "iu", np.int32)
        n = len(parents)
        if n == 0:
            raise TreeError("parents is empty: a tree has at least its root")
        index = np.arange(n)
        wrong = np.flatnonzero((parents[:-1] <= index[:-1]) | (parents[:-1] >= n))
        if len(wrong):
            i = int(wrong[0])
            raise TreeError(
                f"parents[{i}] is {parents[i]}: every node but the root needs a parent after "
                f"itself, in [{i + 1}, {n - 1}]"
            )
        if parents[-1] != n - 1:
            raise TreeError(f"parents[{n - 1}] is {parents[-1]}: the last node must be the root")
        has_child = np.zeros(n, dtype=bool)
        has_child[parents[:-1]] = True
        n_leaves = int((~has_child).sum())
        if has_child[:n_leaves].any():
            i = int(np.argmax(has_child[:n_leaves]))
            raise TreeError(f"node {i} has children but comes before a leaf: leaves come first")

        labels = _array("labels", self.labels, 2, "iu", np.int32)
        if labels.size == 0:
            raise TreeError(f"labels has shape {labels.shape}: an image has at least one pixel")
        low, high = int(labels.min()), int(labels.max())
        if low < 0 or high >= n_leaves:
            raise TreeError(
                f"labels hold {low} to {high}, but the leaves of this tree are 0 to {n_leaves - 1}"
            )
        area = np.zeros(n, dtype=np.int64)
        for rows in np.array_split(labels, 1 + labels.size // 4_000_000):
            # bincount widens what it counts to 64 bits: not the whole of a large image at once
            area[:n_leaves] += np.bincount(rows.reshape(-1), minlength=n_leaves)
        if (area[:n_leaves] == 0).any():
            raise TreeError(f"leaf {int(np.argmin(area[:n_leaves]))} has no pixel in labels")
        level = np.zeros(n, dtype=np.int32)
        for i in range(n - 1):
            area[parents[i]] += area[i]
        for i in range(n - 2, -1, -1):
            level[i] = level[parents[i]] + 1

        height = _array("height", self.height, 1, "fiu", np.float32, n)
        below_zero, above_parent = height < 0, height > height[parents]
        if below_zero.any() or above_parent.any():
            i = int(np.argmax(below_zero | above_parent))
            raise TreeError(
                f"height[{i}] is {height[i]:g} under a parent of {height[parents[i]]:g}: heights "
                "are at least 0 and never above the parent's"
            )
        ncut = np.zeros(n, np.float32) if self.ncut is None else self.ncut
        ncut = _array("ncut", ncut, 1, "fiu", np.float32, n)
        if (ncut < 0).any() or (ncut > 1).any():
            i = int(np.argmax((ncut < 0) | (ncut > 1)))
            raise TreeError(f"ncut[{i}] is {ncut[i]:g}: a normalised cut lies in [0, 1]")
        reasons: Any = self.stop
        if reasons is None:
            reasons = np.where(has_child, StopReason.INNER, StopReason.UNKNOWN)
        stop = _array("stop", reasons, 1, "iu", np.uint8, n)
        if (stop > max(StopReason)).any() or ((stop == StopReason.INNER) != has_child).any():
            bad = (stop > max(StopReason)) | ((stop == StopReason.INNER) != has_child)
            i = int(np.argmax(bad))
            raise TreeError(f"stop[{i}] is {stop[i]}: inner nodes have 0, leaves a StopReason")
        embedding = self.embedding
        if embedding is not None:
            embedding = _array("embedding", embedding, 2, "f", np.float16)
            if len(embedding) != n:
                raise TreeError(f"embedding has {len(embedding)} rows for {n} nodes")

        arrays = {"labels": labels, "parents": parents, "height": height, "ncut": ncut,
                  "stop": stop, "embedding": embedding, "area": area, "level": level}  # fmt: skip
        for name, array in arrays.items():
            if array is not None:
                array.setflags(write=False)
            object.__setattr__(self, name, array)
        object.__setattr__(self, "meta", MappingProxyType(_json_copy(self.meta)))

    def __reduce__(self) -> tuple[Any, ...]:
        # A read-only meta cannot be pickled or copied by itself; worker processes need both.
        arrays = (self.labels, self.parents, self.height, self.ncut, self.stop, self.embedding)
        return RegionTree, (*arrays, dict(self.meta))

    # -- size and shape ---------------------------------------------------------------------------

    @property
    def shape(self) -> tuple[int, int]:
        """(H, W) of the image in pixels."""
        return self.labels.shape[0], self.labels.shape[1]

    @property
    def n_nodes(self) -> int:
        """Number of nodes, N."""
        return len(self.parents)

    @cached_property
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
            f"RegionTree of {h} x {w} pixels: {self.n_nodes} nodes, {self.n_leaves} leaves, "
            f"depth {self.depth}"
        )

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, RegionTree):
            return NotImplemented
        names = ("labels", "parents", "height", "ncut", "stop")
        same = all(np.array_equal(getattr(self, k), getattr(other, k)) for k in names)
        if (self.embedding is None) != (other.embedding is None):
            return False
        if self.embedding is not None and other.embedding is not None:
            same = same and np.array_equal(self.embedding, other.embedding)
        return same and self.meta == other.meta

    __hash__ = None  # type: ignore[assignment]

    # -- walking ----------------------------------------------------------------------------------

    @cached_property
    def _children(self) -> list[list[int]]:
        children: list[list[int]] = [[] for _ in range(self.n_nodes)]
        for i, parent in enumerate(self.parents[:-1].tolist()):
            children[parent].append(i)
        for siblings in children:
            siblings.sort(key=lambda c: (-int(self.area[c]), c))
        return children

    def children(self, node: int) -> list[int]:
        """Children of a node, largest first; empty for a leaf."""
        return list(self._children[self._checked(node)])

    def ancestors(self, node: int) -> list[int]:
        """From the parent of a node up to the root; empty for the root."""
        node = self._checked(node)
        found = []
        while node != self.root:
            node = int(self.parents[node])
            found.append(node)
        return found

    def at(self, y: int, x: int) -> list[int]:
        """Regions that hold pixel (row y, column x), from its leaf to the root."""
        h, w = self.shape
        y, x = _whole("a pixel's row", y), _whole("a pixel's column", x)
        if not (0 <= y < h and 0 <= x < w):
            raise TreeError(f"pixel ({y}, {x}) is outside the image of {h} x {w} pixels")
        leaf = int(self.labels[y, x])
        return [leaf, *self.ancestors(leaf)]

    def mask(self, node: int) -> NDArray[np.bool_]:
        """Pixels of a node, (H, W) bool."""
        node = self._checked(node)
        inside = np.zeros(self.n_nodes, dtype=bool)
        inside[node] = True
        for i in range(node - 1, -1, -1):
            inside[i] |= inside[self.parents[i]]
        mask: NDArray[np.bool_] = inside[self.labels]
        return mask

    def masks(self) -> Iterator[NDArray[np.bool_]]:
        """Masks of nodes 0 to N - 1, one at a time: all at once could fill the memory."""
        for node in range(self.n_nodes):
            yield self.mask(node)

    # -- cutting ----------------------------------------------------------------------------------

    @cached_property
    def _divisions(self) -> NDArray[np.int64]:
        """Inner nodes in the order in which they are divided: highest first, parents first."""
        inner = np.flatnonzero(self.stop == StopReason.INNER)
        return inner[np.lexsort((-inner, self.level[inner], -self.height[inner]))]

    def cut_nodes(
        self,
        *,
        n_regions: int | None = None,
        height: float | None = None,
        depth: int | None = None,
    ) -> NDArray[np.int64]:
        """The nodes of a cut, ascending. At most one criterion is given.

        Parameters
        ----------
        n_regions
            The finest cut with at most that many regions, >= 1: nodes are divided from the highest
            down while they fit. A division into many children can make a cut end below the number.
        height
            Every node above that height is divided, >= 0.
        depth
            Every node above that depth is divided, >= 0.

        Without one, the cut is at the natural granularity of the tree: at ``natural_height`` of its
        meta, which its builder put there, or 0, at all leaves.

        Notes
        -----
        Regions of any two cuts of a tree are nested or disjoint; by the same criterion, the finer
        cut refines the coarser.
        """
        given = [(k, v) for k, v in (("n_regions", n_regions), ("height", height), ("depth", depth))
                 if v is not None]  # fmt: skip
        if len(given) > 1:
            raise TreeError(
                "a cut takes one of n_regions, height and depth; got "
                + ", ".join(k for k, _ in given)
            )
        name, value = given[0] if given else ("height", self.meta.get("natural_height", 0.0))
        least = 1 if name == "n_regions" else 0
        if not (_is_number(value) and value >= least):
            raise TreeError(f"cut: {name} must be a number of at least {least}, got {value!r}")
        divided = np.zeros(self.n_nodes, dtype=bool)
        if name == "n_regions":
            gain = np.array([len(self._children[i]) - 1 for i in self._divisions], dtype=np.int64)
            fits = int(np.searchsorted(1 + np.cumsum(gain), value, side="right"))
            divided[self._divisions[:fits]] = True
        else:
            inner = self.stop == StopReason.INNER
            # As precise as the heights themselves, whatever kind of number was given.
            limit = np.float32(min(value, float(np.finfo(np.float32).max)))
            divided = inner & (self.height > limit if name == "height" else self.level < value)
        shown = ~divided
        shown[:-1] &= divided[self.parents[:-1]]
        return np.flatnonzero(shown)

    def cut(
        self,
        *,
        n_regions: int | None = None,
        height: float | None = None,
        depth: int | None = None,
    ) -> Int32:
        """A partition of the image, (H, W) int32: region j is node ``cut_nodes(...)[j]``.

        Parameters as :meth:`cut_nodes`.
        """
        nodes = self.cut_nodes(n_regions=n_regions, height=height, depth=depth)
        region = np.full(self.n_nodes, -1, dtype=np.int32)
        region[nodes] = np.arange(len(nodes), dtype=np.int32)
        for i in range(self.n_nodes - 2, -1, -1):
            if region[i] < 0:
                region[i] = region[self.parents[i]]
        labels: Int32 = region[self.labels]
        return labels

    def prune(
        self,
        *,
        n_regions: int | None = None,
        height: float | None = None,
        depth: int | None = None,
        min_area: int | None = None,
    ) -> RegionTree:
        """A smaller tree whose leaves are the regions of a cut.

        ``min_area`` (pixels) instead undoes every division that made a child smaller than that.
        """
        if min_area is None:
            leaves = self.cut_nodes(n_regions=n_regions, height=height, depth=depth)
        else:
            if any(v is not None for v in (n_regions, height, depth)):
                raise TreeError("prune: give min_area or one criterion of a cut, not both")
            if not (_is_number(min_area) and min_area >= 1):
                raise TreeError(f"prune: min_area must be at least 1 pixel, got {min_area!r}")
            whole = np.zeros(self.n_nodes, dtype=bool)  # no longer divided
            small = np.flatnonzero(self.area[:-1] < min_area)
            whole[self.parents[small]] = True
            whole[:-1] |= ~np.isin(np.arange(self.n_nodes - 1), self.parents[:-1])
            for i in range(self.n_nodes - 2, -1, -1):
                whole[i] |= whole[self.parents[i]]
            top = whole.copy()
            top[:-1] &= ~whole[self.parents[:-1]]
            if self.n_nodes == 1:
                top[:] = True
            leaves = np.flatnonzero(top)
        keep = np.zeros(self.n_nodes, dtype=bool)
        keep[leaves] = True
        for i in range(self.n_nodes - 1):
            keep[self.parents[i]] |= keep[i]
        return self._of(keep)

    def condense(self, n_nodes: int) -> RegionTree:
        """A small tree of the most salient nodes, at most `n_nodes` beside the root.

        Nodes are taken in the order of :meth:`salient` while they fit, each under the nearest taken
        one that holds it. What the children leave of a node is one more leaf, so that every pixel
        is in one, and counts as well; its ``stop`` is :attr:`StopReason.REST`. Where a cut spends
        half its nodes on the divisions between, this tree has only what stands out: the better
        choice when nodes are few, as in a figure or a set of masks. Measured in docs/trees.md.
        """
        n_nodes = _whole("n_nodes", n_nodes)
        if n_nodes < 1:
            raise TreeError(f"condense: n_nodes must be at least 1, got {n_nodes}")
        keep = np.zeros(self.n_nodes, dtype=bool)
        keep[self.root] = True
        for node in self.salient(n_nodes):
            keep[node] = True
            if keep.sum() - 1 + len(self._held(keep)[2]) > n_nodes:
                keep[node] = False
                break
        return self._of(keep)

    def _held(
        self, keep: NDArray[np.bool_]
    ) -> tuple[NDArray[np.int64], NDArray[np.bool_], NDArray[np.int64]]:
        """Of some nodes, the root among them: the lowest that holds each node, itself if it is one
        of them; which have others of them below, (N,); and those which these fill in part."""
        holder = np.arange(self.n_nodes)
        for i in np.flatnonzero(~keep)[::-1].tolist():
            holder[i] = holder[self.parents[i]]
        has_child = np.zeros(self.n_nodes, dtype=bool)
        has_child[holder[self.parents[:-1][keep[:-1]]]] = True
        of_leaves = np.unique(holder[: self.n_leaves])
        return holder, has_child, of_leaves[has_child[of_leaves]]

    def _of(self, keep: NDArray[np.bool_]) -> RegionTree:
        """The tree of some nodes, the root among them; what they leave of one is one more leaf."""
        holder, has_child, rests = self._held(keep)
        leaves, inner = np.flatnonzero(keep & ~has_child), np.flatnonzero(keep & has_child)
        nodes = np.concatenate([leaves, inner])
        at = len(leaves)  # where the rests go: leaves come first
        new = np.full(self.n_nodes, -1, dtype=np.int32)
        new[leaves], new[inner] = np.arange(at), np.arange(len(inner)) + at + len(rests)
        leaf = new.copy()  # the new leaf of what only this node holds
        leaf[rests] = np.arange(len(rests)) + at
        own = leaf[holder[: self.n_leaves]]

        stop, height = self.stop[nodes].copy(), self.height[nodes].copy()
        pruned = np.flatnonzero(stop[:at] == StopReason.INNER)
        stop[pruned], height[pruned] = StopReason.PRUNED, 0.0
        parents = new[holder[self.parents[nodes]]]
        embedding = self.embedding
        if embedding is not None:
            mean = np.zeros((len(rests), embedding.shape[1]))
            some = np.flatnonzero(own >= at)
            weight = self.area[some, None].astype(np.float64)
            np.add.at(mean, own[some] - at, weight * embedding[some])
            mean /= np.maximum(np.linalg.norm(mean, axis=1, keepdims=True), 1e-12)
            embedding = np.insert(embedding[nodes], at, mean.astype(np.float16), axis=0)
        return RegionTree(
            labels=own[self.labels],
            parents=np.insert(parents, at, new[rests]),
            height=np.insert(height, at, np.zeros(len(rests), np.float32)),
            ncut=np.insert(self.ncut[nodes], at, np.zeros(len(rests), np.float32)),
            stop=np.insert(stop, at, np.full(len(rests), StopReason.REST, np.uint8)),
            embedding=embedding,
            meta=self.meta,
        )

    def salient(self, k: int) -> list[int]:
        """The `k` nodes most likely to be things or parts, from any level, the first first.

        Those that hold together over the longest stretch of heights, less what the ones before them
        cover already: see :mod:`regiontree.tree.salience`. The first of them are the answer for a
        smaller k. Fewer come back from a smaller tree; the root, which has no siblings, never does.
        """
        k = _whole("k", k)
        if k < 1:
            raise TreeError(f"salient: k must be at least 1, got {k}")
        return salient_nodes(self.parents, self.area, self.height, k)

    # -- showing and saving -----------------------------------------------------------------------

    def __str__(self) -> str:
        return self.to_text(n_regions=_PRINTED)

    def to_text(self, max_depth: int | None = None, n_regions: int | None = None) -> str:
        """The tree as text, a line a node: area, depth, height and why a leaf ends.

        Nodes deeper than `max_depth`, and those below the cut into `n_regions`, are counted, not
        shown.
        """
        ends = np.zeros(self.n_nodes, dtype=bool)
        if max_depth is not None:
            ends |= self.level >= max_depth
        if n_regions is not None:
            ends[self.cut_nodes(n_regions=n_regions)] = True
        rows: list[tuple[str, int]] = []
        stack: list[tuple[int, str, str]] = [(self.root, "", "")]
        while stack:
            node, lead, indent = stack.pop()
            rows.append((f"{lead}{node}", node))
            children = [] if ends[node] else self._children[node]
            for k in range(len(children) - 1, -1, -1):
                last = k == len(children) - 1
                stack.append(
                    (
                        children[k],
                        indent + ("└─ " if last else "├─ "),
                        indent + ("   " if last else "│  "),
                    )
                )
        width = max(len("node"), *(len(text) for text, _ in rows))
        total = int(self.area[self.root])
        lines = [repr(self), f"{'node':<{width}}    area  depth  height  why it ends"]
        for text, i in rows:
            reason = StopReason(int(self.stop[i]))
            why = "" if reason == StopReason.INNER else f"  {reason.sentence}"
            if ends[i] and reason == StopReason.INNER:
                why = f"  … {self.n_below(i)} more below"
            lines.append(
                f"{text:<{width}}  {self.area[i] / total:>6.1%}  {self.level[i]:>5}"
                f"  {self.height[i]:>6.3f}{why}"
            )
        return "\n".join(lines)

    def n_below(self, node: int) -> int:
        """Number of nodes below a node."""
        count = np.zeros(self.n_nodes, dtype=np.int64)
        for i in range(self._checked(node)):
            count[self.parents[i]] += count[i] + 1
        return int(count[node])

    def show(self, image: Any = None, *, n_regions: int = 16) -> Figure:
        """One figure of photograph, cut, hierarchy and tree: :func:`regiontree.plot.overview`.

        A Matplotlib figure, which notebooks display by themselves; call ``.savefig(path)`` on it
        elsewhere. `image`: path, Pillow image or array; None draws plain colours.

        Raises
        ------
        MissingExtraError
            Matplotlib, of the extra ``plot``, is not installed.
        """
        figure: Figure = TREE_DOORS.get("show")(self, image, n_regions=n_regions)
        return figure

    def _repr_html_(self) -> str:
        return str(TREE_DOORS.get("_repr_html_")(self))

    def save(self, path: str | Path) -> Path:
        """Write the tree to one ``.npz`` file; see :mod:`regiontree.tree.file`."""
        arrays = {name: getattr(self, name) for name in ARRAYS}
        return write_tree_file(path, arrays, self.meta)

    @classmethod
    def load(cls, path: str | Path) -> RegionTree:
        """The tree that :meth:`save` wrote. Every array is checked before it is trusted.

        Raises
        ------
        TreeFileError
            The file is not there, is not a region tree, is damaged, was made by a later version,
            or contradicts itself.
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
        """The tree over an image of one pixel a leaf, read without the file's pixels.

        Its nodes, heights, stop reasons, cuts and meta are those of the file. Its areas and masks
        are not. Reading takes milliseconds at any image size.

        Raises
        ------
        TreeFileError
            As :meth:`load`; damage to the pixels goes unnoticed.
        """
        arrays, meta = read_tree_structure(path)
        leaves = np.arange(np.count_nonzero(arrays["stop"]), dtype=np.int32)
        return _from_file(path, {"labels": leaves[None], **arrays}, meta)

    # -- for other programs: formats are described in regiontree.export, options where each is from

    def to_coco(self, name: str | None = None, **options: Any) -> dict[str, Any]:
        """A COCO data set of the nodes: :func:`regiontree.export.coco.to_coco`."""
        return cast("dict[str, Any]", TREE_DOORS.get("to_coco")(self, name, **options))

    def to_panoptic(
        self, name: str | None = None, **cut: Any
    ) -> tuple[dict[str, Any], NDArray[np.uint8]]:
        """A cut as COCO panoptic: :func:`regiontree.export.panoptic.to_panoptic`."""
        return cast(
            "tuple[dict[str, Any], NDArray[np.uint8]]",
            TREE_DOORS.get("to_panoptic")(self, name, **cut),
        )

    def to_label_studio(self, name: str | None = None, **options: Any) -> dict[str, Any]:
        """A Label Studio task: :func:`regiontree.export.labelstudio.to_label_studio`."""
        return cast("dict[str, Any]", TREE_DOORS.get("to_label_studio")(self, name, **options))

    def to_label_image(self, **cut: Any) -> NDArray[np.uint16]:
        """A cut, regions from 1: :func:`regiontree.export.labelmap.to_label_image`."""
        return cast(NDArray[np.uint16], TREE_DOORS.get("to_label_image")(self, **cut))

    def to_label_stack(self, **options: Any) -> NDArray[np.uint16]:
        """Cuts, coarse to fine: :func:`regiontree.export.labelmap.to_label_stack`."""
        return cast(NDArray[np.uint16], TREE_DOORS.get("to_label_stack")(self, **options))

    def to_geojson(self, **options: Any) -> dict[str, Any]:
        """Polygons: :func:`regiontree.export.geojson.to_geojson`."""
        return cast("dict[str, Any]", TREE_DOORS.get("to_geojson")(self, **options))

    def to_newick(self) -> str:
        """The tree alone, as text: :func:`regiontree.export.newick.to_newick`."""
        return cast(str, TREE_DOORS.get("to_newick")(self))

    def to_networkx(self) -> Any:
        """A ``networkx.DiGraph``: :func:`regiontree.export.graph.to_networkx`."""
        return TREE_DOORS.get("to_networkx")(self)

    def to_higra(self) -> tuple[Any, Any, Any]:
        """Higra tree, altitudes, leaf map: :func:`regiontree.export.higra.to_higra`."""
        return cast("tuple[Any, Any, Any]", TREE_DOORS.get("to_higra")(self))

    def to_masks(self, folder: str | Path) -> Path:
        """A PNG of every node, into a folder: :func:`regiontree.export.masks.write_masks`."""
        return cast(Path, TREE_DOORS.get("to_masks")(self, folder))

    def _checked(self, node: int) -> int:
        node = _whole("a node", node)
        if not 0 <= node < self.n_nodes:
            raise TreeError(f"node {node} does not exist: this tree has nodes 0 to {self.root}")
        return node


def _from_file(path: str | Path, arrays: Mapping[str, Any], meta: Mapping[str, Any]) -> RegionTree:
    """The tree of a file's arrays; what is wrong with them is told with the file's name."""
    try:
        return RegionTree(**arrays, meta=meta)
    except TreeError as error:
        raise TreeFileError(f"{path}: {error}") from error


def _whole(name: str, value: Any) -> int:
    """A whole number, so that 1.5 is not taken for 1."""
    try:
        return operator.index(value)
    except TypeError:
        raise TreeError(f"{name} must be a whole number, got {value!r}") from None


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float | np.number) and not isinstance(value, bool)


def _json_copy(meta: Any) -> dict[str, Any]:
    try:
        copy = json.loads(json.dumps(dict(meta), allow_nan=False))
    except (TypeError, ValueError, RecursionError) as error:
        raise TreeError(f"meta must be a mapping of JSON values: {error}") from error
    return dict(copy)


def _array(
    name: str, value: ArrayLike, ndim: int, kinds: str, dtype: Any, length: int | None = None
) -> NDArray[Any]:
    """A checked, contiguous, own copy of an array."""
    try:
        array = np.asarray(value)
    except ValueError as error:  # rows of unequal length
        raise TreeError(f"{name} is not an array: {error}") from error
    if array.ndim != ndim or array.dtype.kind not in kinds:
        what = {"iu": "integers", "fiu": "numbers", "f": "floats"}[kinds]
        raise TreeError(f"{name} must be {ndim}-D {what}, got shape {array.shape} of {array.dtype}")
    if length is not None and len(array) != length:
        raise TreeError(f"{name} has {len(array)} entries for {length} nodes")
    if array.dtype.kind in "iu" and array.size:
        limit = np.iinfo(dtype) if np.dtype(dtype).kind in "iu" else None
        if limit and (int(array.min()) < limit.min or int(array.max()) > limit.max):
            raise TreeError(f"{name} holds values that do not fit {np.dtype(dtype).name}")
    with np.errstate(over="ignore"):
        own = np.array(array, dtype=dtype, order="C")
    if own.dtype.kind == "f" and not np.isfinite(own).all():
        raise TreeError(f"{name} holds values that are not finite as {own.dtype}")
    return own
