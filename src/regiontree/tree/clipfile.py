"""Trees of clips on disk: one ``.npz`` in which each frame's labels are a member of their own.

A file holds the arrays of the nodes, as the file of a photograph's tree does
(:mod:`regiontree.tree.file`), and

- ``labels/000000.npy`` and so on: the leaf of each pixel of each frame, (H, W) uint16, or int32 if
  there are more leaves;
- ``frames.npy``: (T, 2) int32, height and width of each frame in pixels;
- ``span.npy``: (L, 2) int32, the first and the last frame in which each leaf has a pixel.

So one frame is read without the others, and a clip of any length is written one frame at a time.
Reading trusts nothing, as with photographs.
"""

from __future__ import annotations

import json
import zipfile
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, overload

import numpy as np
from numpy.typing import NDArray

from regiontree.errors import TreeError, TreeFileError
from regiontree.system.files import atomic_write
from regiontree.tree import checks, kernel
from regiontree.tree.file import CLIP_MEMBER, opened, read_array, read_own_meta, write_member

__all__ = [
    "CLIP_FORMAT",
    "FrameLabels",
    "LeafCounts",
    "is_clip_file",
    "read_clip_file",
    "read_clip_meta",
    "write_clip_file",
]

CLIP_FORMAT = "regiontree clip"
"""What the file of a clip's tree calls its format."""
_VERSION = 1
_NODES: dict[str, tuple[str, int]] = {
    "parents": ("int32", 1),
    "area": ("int64", 1),
    "height": ("float32", 1),
    "ncut": ("float32", 1),
    "stop": ("uint8", 1),
    "span": ("int32", 2),
    "embedding": ("float16", 2),
    "descriptor": ("float16", 2),
    "stability": ("float16", 1),
}
_OPTIONAL = {"embedding", "descriptor", "stability"}
_SMALL = 65_535  # leaves that fit in 16 bits

Int32 = NDArray[np.int32]


class LeafCounts:
    """What a pass over a clip's label maps finds: areas of leaves, where they appear, sizes.

    Parameters
    ----------
    n_leaves : int

    Attributes
    ----------
    area : (L,) int64
        Pixels of each leaf in all frames.
    span : (L, 2) int32
        The first and the last frame with a pixel of the leaf; -1 if there is none.
    sizes : list of (int, int)
        (H, W) of each frame.
    """

    def __init__(self, n_leaves: int) -> None:
        self.area = np.zeros(n_leaves, np.int64)
        self.span = np.full((n_leaves, 2), -1, np.int32)
        self.sizes: list[tuple[int, int]] = []

    def add(self, labels: NDArray[Any]) -> Int32:
        """Count the next frame; its labels, checked, as (H, W) int32.

        Raises
        ------
        TreeError
            The labels are not (H, W) integers of leaves; the message names the frame.
        """
        t = len(self.sizes)
        own = checks.checked_array(f"labels of frame {t}", labels, 2, "iu", np.int32)
        if not own.size:
            raise TreeError(f"labels of frame {t} are empty: a frame has at least one pixel")
        low, high = int(own.min()), int(own.max())
        if low < 0 or high >= len(self.area):
            wrong = low if low < 0 else high
            raise TreeError(
                f"labels of frame {t} hold {wrong}, which is no leaf: there are leaves 0 to "
                f"{len(self.area) - 1}"
            )
        count = np.bincount(own.reshape(-1), minlength=len(self.area))
        here = np.flatnonzero(count)
        self.area += count
        self.span[here, 1] = t
        self.span[here[self.span[here, 0] < 0], 0] = t
        self.sizes.append((own.shape[0], own.shape[1]))
        return own

    def check(self) -> None:
        """Raise a TreeError unless there is a frame and each leaf has a pixel."""
        if not self.sizes:
            raise TreeError("labels have no frame: a clip has at least one")
        if not self.area.all():
            raise TreeError(f"leaf {int(self.area.argmin())} has no pixel in any frame")


class FrameLabels(Sequence[Int32]):
    """The label maps of a clip's file, each read when it is asked for: (H, W) int32."""

    def __init__(self, path: Path, sizes: Sequence[tuple[int, int]], n_leaves: int) -> None:
        self.path, self.sizes, self.n_leaves = path, list(sizes), n_leaves

    def __len__(self) -> int:
        return len(self.sizes)

    @overload
    def __getitem__(self, frame: int) -> Int32: ...
    @overload
    def __getitem__(self, frame: slice) -> list[Int32]: ...
    def __getitem__(self, frame: int | slice) -> Int32 | list[Int32]:
        if isinstance(frame, slice):
            return [self[t] for t in range(*frame.indices(len(self)))]
        if not -len(self) <= frame < len(self):
            raise IndexError(f"frame {frame} does not exist: there are {len(self)}")
        with opened(self.path, of_clip=True) as archive:
            return self._read(archive, frame % len(self))

    def __iter__(self) -> Iterator[Int32]:
        with opened(self.path, of_clip=True) as archive:
            for frame in range(len(self)):
                yield self._read(archive, frame)

    def _read(self, archive: zipfile.ZipFile, frame: int) -> Int32:
        name = _member(frame)
        kind = "uint16" if self.n_leaves <= _SMALL else "int32"
        labels = read_array(archive, self.path, name, kind, 2)
        if labels.shape != tuple(self.sizes[frame]):
            raise TreeFileError(
                f"{self.path}: frame {frame} has {labels.shape} pixels, and {self.sizes[frame]} "
                "were written; the file is damaged"
            )
        if int(labels.min(initial=0)) < 0 or int(labels.max(initial=0)) >= self.n_leaves:
            raise TreeFileError(f"{self.path}: frame {frame} holds a label that is no leaf")
        return labels.astype(np.int32)


def write_clip_file(
    path: str | Path,
    arrays: Mapping[str, NDArray[Any] | None],
    meta: Mapping[str, Any],
    frames: Iterable[NDArray[Any]],
) -> Path:
    """Write a clip's tree; ``.clip.npz`` is added if ``.npz`` is missing. Returns that path.

    Parameters
    ----------
    path
        The file. One of that name is replaced when all is written.
    arrays
        parents, height, ncut, stop, and if there are any embedding, descriptor and stability, as in
        :class:`~regiontree.tree.ClipTree`.
    meta
        JSON values.
    frames
        The leaf of each pixel of each frame, (H, W), one at a time.

    Raises
    ------
    TreeError
        A label is no leaf, a leaf has no pixel, or `meta` uses a key that the format needs.
    OSError
        The file cannot be written. An older file of that name is then unchanged.
    """
    path = Path(path)
    if path.suffix.lower() != ".npz":
        path = path.with_name(path.name + ".clip.npz")
    own = {"format": CLIP_FORMAT, "format_version": _VERSION}
    if taken := sorted(own.keys() & meta.keys()):
        raise TreeError(f"meta key {taken[0]!r} belongs to the file format; rename it")
    text = json.dumps({**own, **meta}, sort_keys=True, ensure_ascii=True, allow_nan=False)
    parents: Any = arrays["parents"]
    n_leaves = len(parents) - int(kernel.is_inner(parents).sum())
    counts = LeafCounts(n_leaves)
    with atomic_write(path) as file, zipfile.ZipFile(file, "w") as archive:
        for t, labels in enumerate(frames):
            whole = counts.add(labels)
            small = whole.astype(np.uint16) if n_leaves <= _SMALL else whole
            write_member(archive, _member(t), small)
        counts.check()
        area = np.pad(counts.area, (0, len(parents) - n_leaves))
        written = {
            **arrays,
            "area": kernel.accumulate_sum(parents, area),
            "span": counts.span,
        }
        write_member(archive, CLIP_MEMBER.removesuffix(".npy"), np.array(counts.sizes, np.int32))
        for name, (kind, _) in _NODES.items():
            array = written.get(name)
            if array is not None:
                write_member(archive, name, np.asarray(array).astype(kind))
        write_member(archive, "meta", np.array(text))
    return path


def read_clip_file(path: str | Path) -> tuple[dict[str, Any], dict[str, Any]]:
    """The arrays of a clip's tree and its meta, without its pixels.

    Returns
    -------
    arrays : dict
        Those of the nodes; ``labels``, a :class:`FrameLabels`; ``area`` and ``span``.
    meta : dict

    Raises
    ------
    TreeFileError
        The file is not there, is not a clip's tree, is damaged, or was made by a later version.
    """
    path = Path(path)
    with opened(path, of_clip=True) as archive:
        meta = read_own_meta(archive, path, CLIP_FORMAT, _VERSION)
        there = set(archive.namelist())
        arrays: dict[str, Any] = {
            name: read_array(archive, path, name, kind, ndim)
            for name, (kind, ndim) in _NODES.items()
            if not (name in _OPTIONAL and f"{name}.npy" not in there)
        }
        sizes = read_array(archive, path, CLIP_MEMBER.removesuffix(".npy"), "int32", 2)
        if sizes.shape[1] != 2 or not len(sizes) or sizes.min() < 1:
            raise TreeFileError(f"{path}: damaged: it has no sizes of frames")
        missing = next((t for t in range(len(sizes)) if f"{_member(t)}.npy" not in there), None)
        if missing is not None:
            raise TreeFileError(f"{path}: damaged: frame {missing} of {len(sizes)} is missing")
    n_leaves = int(np.count_nonzero(arrays["stop"]))
    pairs = [(int(h), int(w)) for h, w in sizes]
    arrays["labels"] = FrameLabels(path, pairs, n_leaves)
    return arrays, meta


def is_clip_file(path: str | Path) -> bool:
    """Whether a path is the file of a clip's tree; False if there is no file, or another one."""
    try:
        with zipfile.ZipFile(path) as archive:
            return CLIP_MEMBER in archive.namelist()
    except (OSError, ValueError, zipfile.BadZipFile):
        return False


def read_clip_meta(path: str | Path) -> dict[str, Any]:
    """Only the ``meta`` of a clip's tree; errors as :func:`read_clip_file`."""
    path = Path(path)
    with opened(path, of_clip=True) as archive:
        return read_own_meta(archive, path, CLIP_FORMAT, _VERSION)


def _member(frame: int) -> str:
    return f"labels/{frame:06d}"
