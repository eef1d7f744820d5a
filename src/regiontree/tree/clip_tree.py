"""ClipTree: the frames of a clip as nested tubes.

It is a :class:`~regiontree.tree.RegionTree` whose labels are (T, H, W). A node is a *tube*: a
region in each of the frames that it appears in. A cut partitions all frames at once, so a region
has one number in the whole clip. The frames of a set of photographs may differ in size; then
labels, cuts and masks are tuples of one map a frame.

>>> tree = ClipTree([[[0, 0, 1]], [[0, 2, 2]]], [3, 4, 3, 4, 4], [0, 0, 0, .5, 1])
>>> tree.cut(n_regions=2)
array([[[1, 1, 0]],
<BLANKLINE>
       [[1, 1, 1]]], dtype=int32)
>>> tree.span(2), tree.span(3)
((1, 1), (0, 1))
>>> print(tree)
ClipTree of 2 frames of 1 x 3 pixels: 5 nodes, 3 leaves, depth 2
node       area  depth  height  frames  why it ends
4        100.0%      0   1.000     0-1
├─ 3      83.3%      1   0.500     0-1
│  ├─ 0   50.0%      2   0.000     0-1  not recorded
│  └─ 2   33.3%      2   0.000       1  not recorded
└─ 1      16.7%      1   0.000       0  not recorded
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from types import MappingProxyType
from typing import Any, Self, overload

import numpy as np
from numpy.typing import ArrayLike, NDArray

from regiontree.errors import TreeError, TreeFileError
from regiontree.system.lazy import lazy
from regiontree.tree import checks, cuts, kernel
from regiontree.tree.clipfile import FrameLabels, LeafCounts, read_clip_file, write_clip_file
from regiontree.tree.nodes import OPTIONAL, TreeNodes, checked_nodes, checked_parents
from regiontree.tree.prune import kept_arrays
from regiontree.tree.region_tree import RegionTree
from regiontree.tree.text import counted

__all__ = ["ClipTree"]

Int32 = NDArray[np.int32]
Maps = NDArray[np.int32] | tuple[Int32, ...]

_MOST = 8 << 30  # bytes of labels that are put together


class ClipTree(TreeNodes):
    """Nested tubes of one clip. Arrays are copied, checked and made read-only.

    Parameters
    ----------
    labels : (T, H, W) integers, or a sequence of (H, W) integers
        Leaf of each pixel of each frame. Every leaf has a pixel in some frame.
    parents, height, ncut, stop, embedding, meta, descriptor, stability
        As in :class:`~regiontree.tree.RegionTree`.

    Attributes
    ----------
    parents, height, ncut, stop, embedding, meta, descriptor, stability
        As in :class:`~regiontree.tree.RegionTree`.
    area : (N,) int64
        Pixels of each node in all frames (derived).
    level : (N,) int32
        Depth of each node, 0 at the root (derived).
    sizes : list of (int, int)
        (H, W) of each frame in pixels.

    Raises
    ------
    TreeError
        The arrays contradict each other; the message names the array, or the frame.
    """

    def __init__(
        self,
        labels: ArrayLike | Sequence[ArrayLike],
        parents: ArrayLike,
        height: ArrayLike,
        ncut: ArrayLike | None = None,
        stop: ArrayLike | None = None,
        embedding: ArrayLike | None = None,
        meta: Mapping[str, Any] | None = None,
        descriptor: ArrayLike | None = None,
        stability: ArrayLike | None = None,
    ) -> None:
        given: dict[str, Any] = {
            "parents": parents, "height": height, "ncut": ncut, "stop": stop,
            "embedding": embedding, "descriptor": descriptor, "stability": stability,
        }  # fmt: skip
        self._set_nodes(given, {} if meta is None else meta)
        counts = LeafCounts(self.n_leaves)
        frames = _frames_of(labels)
        kept: list[Int32] = []
        for frame in frames:
            own = counts.add(frame)
            own.setflags(write=False)
            kept.append(own)
        counts.check()
        self._frames: Sequence[Int32] = tuple(kept)
        self._set_counts(counts.sizes, counts.area, counts.span)

    def _set_nodes(self, given: Mapping[str, Any], meta: Mapping[str, Any]) -> None:
        vars(self).update(given)
        parents = checked_parents(self.parents)
        for name, array in checked_nodes(self, parents, kernel.is_inner(parents)).items():
            if array is not None:
                array.setflags(write=False)
            setattr(self, name, array)
        self.level = kernel.levels(self.parents).astype(np.int32)
        self.level.setflags(write=False)
        self.meta = MappingProxyType(checks.json_copy(meta))

    def _set_counts(
        self, sizes: list[tuple[int, int]], leaf_area: NDArray[np.int64], span: Int32
    ) -> None:
        self.sizes = sizes
        whole = np.pad(leaf_area, (0, self.n_nodes - len(leaf_area)))
        self.area = kernel.accumulate_sum(self.parents, whole)
        self.area.setflags(write=False)
        self._leaf_span = span

    def __reduce__(self) -> tuple[Any, ...]:
        names = ("parents", "height", "ncut", "stop", "embedding")
        arrays = (tuple(self._frames), *(getattr(self, name) for name in names))
        return ClipTree, (*arrays, dict(self.meta), self.descriptor, self.stability)

    # -- size and shape ---------------------------------------------------------------------------

    @property
    def n_frames(self) -> int:
        """Number of frames, T."""
        return len(self.sizes)

    @property
    def is_even(self) -> bool:
        """Whether all frames have one size."""
        return len(set(self.sizes)) == 1

    @property
    def shape(self) -> tuple[int, int, int]:
        """(T, H, W): frames, and their height and width in pixels.

        Raises
        ------
        TreeError
            The frames have different sizes, which are in ``sizes``.
        """
        if not self.is_even:
            raise TreeError("the frames have different sizes; see sizes, and take them one by one")
        return self.n_frames, *self.sizes[0]

    def __repr__(self) -> str:
        h, w = self.sizes[0]
        size = f"{h} x {w} pixels" if self.is_even else "different sizes"
        return (
            f"ClipTree of {counted(self.n_frames, 'frame')} of {size}: "
            f"{counted(self.n_nodes, 'node')}, {counted(self.n_leaves, 'leaf', 'leaves')}, "
            f"depth {self.depth}"
        )

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, ClipTree):
            return NotImplemented
        names = ("parents", "height", "ncut", "stop")
        same = self.sizes == other.sizes and all(
            np.array_equal(getattr(self, name), getattr(other, name)) for name in names
        )
        for name in OPTIONAL:
            own, others = getattr(self, name), getattr(other, name)
            same = same and (own is None) == (others is None)
            same = same and (own is None or np.array_equal(own, others))
        return (
            same
            and self.meta == other.meta
            and all(np.array_equal(a, b) for a, b in zip(self._frames, other._frames, strict=True))
        )

    __hash__ = None  # type: ignore[assignment]

    # -- frames -----------------------------------------------------------------------------------

    def frame_labels(self, t: int) -> Int32:
        """The leaf of each pixel of a frame, (H, W) int32."""
        return self._frames[self._frame(t)]

    @property
    def labels(self) -> Maps:
        """The leaf of each pixel: (T, H, W) int32, or one map a frame if their sizes differ.

        Raises
        ------
        TreeError
            They would take more than 8 GB; see :meth:`frame_labels`.
        """
        labels: Maps = self._whole(None, np.int32)
        return labels

    def frame(self, t: int) -> RegionTree:
        """The tree of one frame.

        Nodes without a pixel in the frame are left out, and so are nodes of whose children only one
        has a pixel. ``meta["clip"]["nodes"]`` says which node of the clip each of its nodes is, so
        regions of different frames can be compared.
        """
        t = self._frame(t)
        labels = self.frame_labels(t)
        there = np.zeros(self.n_nodes, np.int64)
        there[: self.n_leaves] = np.bincount(labels.reshape(-1), minlength=self.n_leaves)
        shown = kernel.accumulate_sum(self.parents, there) > 0
        ways = np.bincount(self.parents[:-1][shown[:-1]], minlength=self.n_nodes)
        kept = shown & (ways != 1)
        kept[: self.n_leaves] = shown[: self.n_leaves]
        nodes = np.flatnonzero(kept)  # the last of them holds all others: it is the frame's root
        number = np.full(self.n_nodes, -1, np.int64)
        number[nodes] = np.arange(len(nodes))
        parents = kernel.propagate(self.parents, number, kept)[self.parents[nodes]]
        parents[-1] = len(nodes) - 1
        own: dict[str, Any] = {
            name: None if getattr(self, name) is None else getattr(self, name)[nodes]
            for name in ("height", "ncut", "stop", "embedding", "stability")
        }
        if self.descriptor is not None:
            own["descriptor"] = self.descriptor[nodes[nodes < self.n_leaves]]
        clip = {**self.meta.get("clip", {}), "frame": t, "nodes": nodes.tolist()}
        return RegionTree(
            number.astype(np.int32)[labels],
            parents.astype(np.int32),
            **own,
            meta={**self.meta, "clip": clip},
        )

    def frame_areas(self) -> NDArray[np.int64]:
        """Pixels of each node in each frame, (T, N) int64.

        Every frame is looked at once.

        Raises
        ------
        TreeError
            They would take more than 8 GB; count the pixels of ``frame_labels(t)``.
        """
        if self.n_frames * self.n_nodes * 8 > _MOST:
            raise TreeError(
                f"the areas of {self.n_nodes} nodes in {self.n_frames} frames take more than "
                f"{_MOST / 1e9:.1f} GB; count the pixels of frame_labels(t), frame by frame"
            )
        areas = np.zeros((self.n_frames, self.n_nodes), np.int64)
        for t, labels in enumerate(self._frames):
            own = np.bincount(labels.reshape(-1), minlength=self.n_nodes)
            areas[t] = kernel.accumulate_sum(self.parents, own)
        return areas

    def span(self, node: int) -> tuple[int, int]:
        """The first and the last frame in which a node has a pixel."""
        first, last = self._spans
        node = self._checked(node)
        return int(first[node]), int(last[node])

    @lazy
    def _spans(self) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """The first and the last frame of each node, (N,) each."""
        from_end = np.zeros((self.n_nodes, 2), np.int64)
        from_end[: self.n_leaves, 0] = self.n_frames - self._leaf_span[:, 0]
        from_end[: self.n_leaves, 1] = self._leaf_span[:, 1]
        latest = kernel.accumulate_max(self.parents, from_end)
        return self.n_frames - latest[:, 0], latest[:, 1]

    # -- pixels -----------------------------------------------------------------------------------

    def at(self, t: int, y: int, x: int) -> list[int]:
        """Tubes that hold pixel (row y, column x) of frame t, from its leaf to the root."""
        t = self._frame(t)
        h, w = self.sizes[t]
        y, x = checks.whole_number("a pixel's row", y), checks.whole_number("a pixel's column", x)
        if not (0 <= y < h and 0 <= x < w):
            raise TreeError(f"pixel ({y}, {x}) is outside frame {t} of {h} x {w} pixels")
        leaf = int(self.frame_labels(t)[y, x])
        return [leaf, *self.ancestors(leaf)]

    def mask(self, node: int, frame: int | None = None) -> Any:
        """Pixels of a node: (T, H, W) bool, or (H, W) bool of one frame.

        If the frames have different sizes, the whole clip's mask is a tuple of one mask a frame.
        """
        leaves = self._leaves_of(self._checked(node))
        if frame is not None:
            return leaves[self.frame_labels(frame)]
        return self._whole(leaves, np.bool_)

    def cut(
        self,
        *,
        n_regions: int | None = None,
        height: float | None = None,
        depth: int | None = None,
        contrast: float | None = None,
    ) -> Maps:
        """A partition of the clip, (T, H, W) int32: region j is node ``cut_nodes(...)[j]``.

        Parameters and errors as :meth:`cut_nodes`. It is a tuple of maps if the frames have
        different sizes.
        """
        nodes = self.cut_nodes(n_regions=n_regions, height=height, depth=depth, contrast=contrast)
        labels: Maps = self._whole(self._regions(nodes), np.int32)
        return labels

    def cut_frame(
        self,
        t: int,
        *,
        n_regions: int | None = None,
        height: float | None = None,
        depth: int | None = None,
        contrast: float | None = None,
    ) -> Int32:
        """The part of :meth:`cut` in one frame, (H, W) int32, without the other frames."""
        nodes = self.cut_nodes(n_regions=n_regions, height=height, depth=depth, contrast=contrast)
        labels: Int32 = self._regions(nodes)[self.frame_labels(t)]
        return labels

    def _regions(self, nodes: NDArray[np.int64]) -> Int32:
        """The region of each leaf, (L,)."""
        return cuts.node_of_leaf(self.parents, nodes, self.n_leaves).astype(np.int32)

    def _whole(self, table: NDArray[Any] | None, dtype: Any) -> Any:
        """All frames, each leaf replaced by its entry of `table`."""
        pixels = sum(h * w for h, w in self.sizes)
        if pixels * np.dtype(dtype).itemsize > _MOST:
            raise TreeError(
                f"all {self.n_frames} frames together take {pixels / 1e9:.1f} billion values; take "
                "them one by one, by frame_labels(t), cut_frame(t, ...) or mask(node, frame=t)"
            )
        frames = (own if table is None else table[own] for own in self._frames)
        if not self.is_even:
            return tuple(frames)
        whole = np.empty(self.shape, dtype)
        for t, own in enumerate(frames):
            whole[t] = own
        return whole

    # -- smaller trees, files, text ---------------------------------------------------------------

    def _of(self, keep: NDArray[np.bool_]) -> Self:
        leaves = np.arange(self.n_leaves, dtype=np.int32)
        names = ("parents", "area", "height", "ncut", "stop", *OPTIONAL)
        arrays: Any = kept_arrays(
            keep, labels=leaves, **{name: getattr(self, name) for name in names}
        )
        table = arrays.pop("labels")
        own = type(self).__new__(type(self))
        own._set_nodes(arrays, self.meta)
        frames = Relabelled(self._frames, table)
        # What lies in a file stays there.
        own._frames = tuple(frames) if isinstance(self._frames, tuple) else frames
        area = np.zeros(own.n_leaves, np.int64)
        np.add.at(area, table, self.area[: self.n_leaves])
        span = np.stack([np.full(own.n_leaves, self.n_frames), np.full(own.n_leaves, -1)], axis=1)
        np.minimum.at(span[:, 0], table, self._leaf_span[:, 0])
        np.maximum.at(span[:, 1], table, self._leaf_span[:, 1])
        own._set_counts(self.sizes, area, span.astype(np.int32))
        return own

    def _columns(self) -> dict[str, list[str]]:
        first, last = self._spans
        spans = zip(first.tolist(), last.tolist(), strict=True)
        return {"frames": [f"{a}-{b}" if a < b else f"{a}" for a, b in spans]}

    def save(self, path: str | Path) -> Path:
        """Write the tree to one ``.clip.npz`` file; see :mod:`regiontree.tree.clipfile`."""
        names = ("parents", "height", "ncut", "stop", *OPTIONAL)
        arrays = {name: getattr(self, name) for name in names}
        return write_clip_file(path, arrays, self.meta, self._frames)

    @classmethod
    def load(cls, path: str | Path) -> Self:
        """The tree that :meth:`save` wrote. Frames are read from the file when they are asked for.

        Raises
        ------
        TreeFileError
            The file does not exist, is not a clip's tree, is damaged, was made by a later version
            of this package, or its arrays contradict each other.
        """
        arrays, meta = read_clip_file(path)
        labels: FrameLabels = arrays.pop("labels")
        area, span = arrays.pop("area"), arrays.pop("span")
        tree = cls.__new__(cls)
        try:
            tree._set_nodes({**dict.fromkeys(OPTIONAL), **arrays}, meta)
            n = tree.n_leaves
            right = span.shape == (n, 2) and len(area) == tree.n_nodes
            if not right or span.min() < 0 or span.max() >= len(labels):
                raise TreeError("span or area do not fit the nodes")
            if (wrong := np.flatnonzero(span[:, 0] > span[:, 1])).size:
                raise TreeError(f"leaf {wrong[0]} ends before it begins")
            tree._frames = labels
            tree._set_counts(labels.sizes, area[:n], span)
            if not np.array_equal(tree.area, area) or (area[:n] < 1).any():
                raise TreeError("area does not follow from the leaves")
            if area[-1] != sum(h * w for h, w in tree.sizes):
                raise TreeError("area does not follow from the sizes of the frames")
        except TreeError as error:
            raise TreeFileError(f"{path}: {error}") from error
        return tree

    def _frame(self, t: int) -> int:
        t = checks.whole_number("a frame", t)
        if not 0 <= t < self.n_frames:
            raise TreeError(f"frame {t} does not exist: this clip has 0 to {self.n_frames - 1}")
        return t


class Relabelled(Sequence[Int32]):
    """Label maps whose labels are replaced by a table when a map is asked for."""

    def __init__(self, frames: Sequence[Int32], table: Int32) -> None:
        self._frames, self._table = frames, table

    def __len__(self) -> int:
        return len(self._frames)

    @overload
    def __getitem__(self, frame: int) -> Int32: ...
    @overload
    def __getitem__(self, frame: slice) -> list[Int32]: ...
    def __getitem__(self, frame: int | slice) -> Int32 | list[Int32]:
        if isinstance(frame, slice):
            return [self[t] for t in range(*frame.indices(len(self)))]
        own: Int32 = self._table[self._frames[frame]]
        own.setflags(write=False)
        return own


def _frames_of(labels: Any) -> Sequence[Any]:
    """The label maps of each frame, as they were given.

    Raises
    ------
    TreeError
        `labels` is neither (T, H, W) nor a sequence of maps.
    """
    if isinstance(labels, np.ndarray) and labels.ndim != 3:
        raise TreeError(
            f"labels must be (T, H, W) integers, or a sequence of (H, W), got {labels.shape}"
        )
    try:
        return list(labels)
    except TypeError:
        raise TreeError(
            f"labels must be (T, H, W) integers, or a sequence of (H, W), got {labels!r}"
        ) from None
