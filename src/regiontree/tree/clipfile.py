"""Trees of clips on disk: one ``.npz`` in which each frame's labels are a member of their own.

A file holds the arrays of the nodes, as the file of a photograph's tree does
(:mod:`regiontree.tree.file`), and

- ``labels/000000.npy`` and so on: the leaf of each pixel of each frame, (H, W) uint16, or int32 if
  there are more leaves;
- ``frames.npy``: (T, 2) int32, height and width of each frame in pixels;
- ``span.npy``: (L, 2) int32, the first and the last frame in which each leaf has a pixel.

So one frame is read without the others, and a clip of any length is written one frame at a time.
Where each frame lies is read once, as a zip file of 100,000 members takes long to open.

Reading trusts nothing, as with photographs. The sizes of the frames bound what each of them may
take, before it is unpacked. A frame that was written anew since the tree was read is not returned:
its checksum differs.
"""

from __future__ import annotations

import io
import json
import os
import struct
import zipfile
import zlib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, overload

import numpy as np
from numpy.typing import NDArray

from regiontree.errors import TreeError, TreeFileError
from regiontree.system.files import atomic_write
from regiontree.system.npyfile import DAMAGE
from regiontree.system.paths import CLIP_SUFFIX
from regiontree.tree import checks, kernel
from regiontree.tree.file import (
    CLIP_MEMBER,
    MAX_BYTES,
    damage_named,
    opened,
    read_array,
    read_member,
    read_own_meta,
    write_member,
)

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
_SMALL = 65_536  # leaves whose numbers fit in 16 bits
_HEADER = 1 << 10  # most bytes before the labels of a frame
_LOCAL = struct.Struct("<4s22xHH")  # a zip member's own header: mark, lengths of name and extra

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
    """The label maps of a clip's file, each read when it is asked for: (H, W) int32.

    Parameters
    ----------
    path
        The file.
    sizes
        (H, W) of each frame.
    n_leaves
    members : (T, 5) int64
        Of each frame: where its member starts, its bytes packed and unpacked, its checksum, and how
        it is packed.

    Raises
    ------
    TreeFileError
        From reading a frame: it is damaged, or the file has changed. The message names the frame.
    """

    def __init__(
        self,
        path: Path,
        sizes: Sequence[tuple[int, int]],
        n_leaves: int,
        members: NDArray[np.int64],
    ) -> None:
        self.path, self.sizes, self.n_leaves = path, list(sizes), n_leaves
        self._members = members

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
        frame = frame % len(self)
        with damage_named(self.path):
            return self._read(frame)

    def __iter__(self) -> Iterator[Int32]:
        return (self[frame] for frame in range(len(self)))

    def _read(self, frame: int) -> Int32:
        data = self._unpacked(frame)
        kind, size = _kind(self.n_leaves), tuple(self.sizes[frame])
        file = io.BytesIO(data)
        labels = read_member(file, len(data), self.path, _member(frame), kind, 2)
        if labels.shape != size:
            raise TreeFileError(
                f"{self.path}: frame {frame} has {labels.shape} pixels, and {size} were written; "
                "the file is damaged"
            )
        if int(labels.min()) < 0 or int(labels.max()) >= self.n_leaves:
            raise TreeFileError(f"{self.path}: frame {frame} holds a label that is no leaf")
        own = labels.astype(np.int32)
        own.setflags(write=False)
        return own

    def _unpacked(self, frame: int) -> bytes:
        """The bytes of a frame's member, after the check of their number and their sum."""
        start, packed_size, size, checksum, method = self._members[frame].tolist()
        with open(self.path, "rb") as file:
            file.seek(start)
            header = file.read(_LOCAL.size)
            mark, name, extra = _LOCAL.unpack(header.ljust(_LOCAL.size, b"\0"))
            file.seek(name + extra, 1)
            data = file.read(packed_size)
        if method == zipfile.ZIP_DEFLATED:
            try:
                data = zlib.decompressobj(-zlib.MAX_WBITS).decompress(data, size + 1)
            except zlib.error:
                data = b""
        if mark != b"PK\3\4" or len(data) != size or zlib.crc32(data) != checksum:
            raise TreeFileError(
                f"{self.path}: frame {frame} ({_member(frame)}) is damaged, or the file has "
                "changed since its tree was read; read it again"
            )
        return data


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
        path = path.with_name(path.name + CLIP_SUFFIX)
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
            write_member(archive, _member(t), whole.astype(_kind(n_leaves)))
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
        sizes = read_array(archive, path, CLIP_MEMBER.removesuffix(".npy"), "int32", 2)
        if sizes.shape[1] != 2 or not len(sizes) or sizes.min() < 1:
            raise TreeFileError(f"{path}: damaged: it has no sizes of frames")
        _check_names(archive, path, len(sizes))
        arrays: dict[str, Any] = {
            name: read_array(archive, path, name, kind, ndim)
            for name, (kind, ndim) in _NODES.items()
            if not (name in _OPTIONAL and f"{name}.npy" not in archive.NameToInfo)
        }
        pairs = [(int(h), int(w)) for h, w in sizes]
        n_leaves = int(np.count_nonzero(arrays["stop"]))
        members = _members(archive, path, pairs, n_leaves)
    arrays["labels"] = FrameLabels(path, pairs, n_leaves, members)
    return arrays, meta


def _check_names(archive: zipfile.ZipFile, path: Path, n_frames: int) -> None:
    """Check that the file has its frames, no member twice, none unknown, and nodes of a sane size.

    Raises
    ------
    TreeFileError
        It has not. A damaged name must not look like an optional array that is missing.
    """
    there = archive.NameToInfo
    if len(there) != len(archive.infolist()):
        raise TreeFileError(f"{path}: damaged: it holds an array twice")
    missing = next((t for t in range(n_frames) if f"{_member(t)}.npy" not in there), None)
    if missing is not None:
        raise TreeFileError(f"{path}: damaged: frame {missing} of {n_frames} is missing")
    own = {f"{name}.npy" for name in (*_NODES, "meta")} | {CLIP_MEMBER}
    others = there.keys() - {f"{_member(t)}.npy" for t in range(n_frames)}
    if unknown := others - own:
        raise TreeFileError(f"{path}: not a clip's tree: it holds {min(unknown)[:60]!r}")
    total = sum(there[name].file_size for name in others)
    if total > MAX_BYTES:
        raise TreeFileError(
            f"{path}: nodes of {total / 1e9:.1f} GB are more than the {MAX_BYTES / 1e9:.1f} GB a "
            "tree may hold"
        )


def _members(
    archive: zipfile.ZipFile, path: Path, sizes: Sequence[tuple[int, int]], n_leaves: int
) -> NDArray[np.int64]:
    """Where the labels of each frame lie, as :class:`FrameLabels` wants it.

    Raises
    ------
    TreeFileError
        A member is not as long as the frame's size says, is too long, or is packed in another way.
    """
    found = np.empty((len(sizes), 5), np.int64)
    each = np.dtype(_kind(n_leaves)).itemsize
    for t, (height, width) in enumerate(sizes):
        info = archive.NameToInfo[f"{_member(t)}.npy"]
        size = height * width * each
        if size > MAX_BYTES:
            raise TreeFileError(
                f"{path}: frame {t} of {height} x {width} pixels is larger than the "
                f"{MAX_BYTES / 1e9:.1f} GB a frame may take"
            )
        if not size < info.file_size <= size + _HEADER:
            raise TreeFileError(
                f"{path}: frame {t} is not as long as its {height} x {width} pixels; the file is "
                "damaged"
            )
        if info.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
            raise TreeFileError(f"{path}: frame {t} is packed in a way that no clip is written")
        found[t] = (info.header_offset, info.compress_size, info.file_size, info.CRC,
                    info.compress_type)  # fmt: skip
    return found


def is_clip_file(path: str | Path) -> bool:
    """Whether a path is the file of a clip's tree; False if there is no file, or another one."""
    if not os.path.isfile(path):  # a named pipe would be waited for for ever
        return False
    try:
        with zipfile.ZipFile(path) as archive:
            return CLIP_MEMBER in archive.NameToInfo
    except DAMAGE:
        return False


def read_clip_meta(path: str | Path) -> dict[str, Any]:
    """Only the ``meta`` of a clip's tree; errors as :func:`read_clip_file`."""
    path = Path(path)
    with opened(path, of_clip=True) as archive:
        return read_own_meta(archive, path, CLIP_FORMAT, _VERSION)


def _kind(n_leaves: int) -> str:
    """The type of a frame's labels in the file."""
    return "uint16" if n_leaves <= _SMALL else "int32"


def _member(frame: int) -> str:
    return f"labels/{frame:06d}"
