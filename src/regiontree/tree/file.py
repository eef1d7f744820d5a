"""Region trees on disk: one compressed ``.npz``, readable with plain NumPy, never pickled.

A file holds one ``.npy`` member for each array of :class:`~regiontree.tree.RegionTree`, under the
array's name, and ``meta``, a JSON text. ``numpy.load(path)`` and any zip program open it.

A file is written under a temporary name in the same folder and renamed when it is complete. So a
file that exists is whole. Members have a fixed date, so equal trees give equal bytes.

Reading trusts nothing. Member names, types, shapes and sizes are checked against the headers before
memory is allocated. Then the tree's own checks run. The stored area and level must be those that
follow from labels and parents.
"""

from __future__ import annotations

import io
import json
import lzma
import os
import struct
import sys
import zipfile
import zlib
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any, NoReturn

import numpy as np
from numpy.typing import NDArray

from regiontree.errors import RegionTreeError, TreeError, TreeFileError
from regiontree.system.damage import plain_reason
from regiontree.system.files import atomic_write
from regiontree.system.npyfile import read_header
from regiontree.system.paths import path_problem
from regiontree.tree.stop import StopReason

__all__ = [
    "ARRAYS",
    "CLIP_MEMBER",
    "FORMAT",
    "FORMAT_VERSION",
    "MAX_BYTES",
    "damage_named",
    "opened",
    "read_array",
    "read_member",
    "read_meta",
    "read_own_meta",
    "read_shapes",
    "read_tree_file",
    "read_tree_structure",
    "write_member",
    "write_tree_file",
]

FORMAT = "regiontree"
"""What a tree file calls its format."""
FORMAT_VERSION = 4
"""The last version of the format that this package reads; later ones are refused.

Version 2 is version 1 with :attr:`StopReason.NO_DATA <regiontree.tree.stop.StopReason.NO_DATA>`
among the stop reasons. Version 3 has the array ``descriptor``, and version 4 the array
``stability``. A tree is written as the first version that it fits, so that older programs read it
if they can.
"""
CLIP_MEMBER = "frames.npy"
"""A member that only the trees of clips have: see :mod:`regiontree.tree.clipfile`."""
MAX_BYTES = 4 << 30
"""The most bytes of all arrays of a tree together: labels of a 1,000-megapixel image."""
_MAX_META_BYTES = 16 << 20

# name -> (dtypes allowed, dimensions); written in this order
_MEMBERS: dict[str, tuple[str, int]] = {
    "labels": ("int32", 2),
    "parents": ("int32", 1),
    "area": ("int64", 1),
    "level": ("int32", 1),
    "height": ("float32", 1),
    "ncut": ("float32", 1),
    "stop": ("uint8", 1),
    "embedding": ("float16", 2),
    "descriptor": ("float16", 2),
    "stability": ("float16", 1),
}
ARRAYS = tuple(_MEMBERS)
"""The arrays of a tree file, in the order in which they are written."""
_OPTIONAL = {"embedding", "descriptor", "stability"}
# What zipfile and its decompressors raise on damaged or hostile files.
_DAMAGE = (ValueError, TypeError, LookupError, OverflowError, SyntaxError, RecursionError,
           MemoryError, zipfile.BadZipFile, zlib.error, lzma.LZMAError, struct.error, OSError,
           EOFError, RuntimeError)  # fmt: skip


def write_tree_file(
    path: str | Path,
    arrays: Mapping[str, NDArray[Any] | None],
    meta: Mapping[str, Any],
    *,
    replace: bool = True,
) -> Path:
    """Write a tree's arrays to `path`; ``.npz`` is added if it is missing. Returns that path.

    Parameters
    ----------
    path
        The file to write.
    arrays
        Every name of :data:`ARRAYS`, with shapes and types as in
        :class:`~regiontree.tree.RegionTree`. ``embedding``, ``descriptor`` and ``stability`` may be
        None.
    meta
        JSON values.
    replace
        Whether a file of the same name is replaced.

    Raises
    ------
    TreeError
        `meta` uses a key that the format needs.
    OSError
        The file cannot be written. An older file of that name is then unchanged.
    FileExistsError
        `replace` is False and a file has the name.
    """
    path = Path(path)
    if path.suffix.lower() != ".npz":
        path = path.with_name(path.name + ".npz")
    stop = arrays["stop"]
    has_gaps = stop is not None and bool((stop == StopReason.NO_DATA).any())
    version = 2 if has_gaps else 1
    version = 3 if arrays["descriptor"] is not None else version
    version = 4 if arrays["stability"] is not None else version
    own = {"format": FORMAT, "format_version": version}
    if taken := sorted(own.keys() & meta.keys()):
        raise TreeError(f"meta key {taken[0]!r} belongs to the file format; rename it")
    text = json.dumps({**own, **meta}, sort_keys=True, ensure_ascii=True, allow_nan=False)
    with atomic_write(path, replace=replace) as file, zipfile.ZipFile(file, "w") as archive:
        for name in ARRAYS:
            array = arrays[name]
            if array is not None:
                write_member(archive, name, array)
        write_member(archive, "meta", np.array(text))
    return path


def write_member(archive: zipfile.ZipFile, name: str, array: NDArray[Any]) -> None:
    """Write an array as a member of a tree file, with a date that is always the same."""
    info = zipfile.ZipInfo(f"{name}.npy", date_time=(1980, 1, 1, 0, 0, 0))
    info.compress_type = zipfile.ZIP_DEFLATED
    info.create_system = 3  # otherwise the writer's operating system
    info.external_attr = 0o644 << 16
    with archive.open(info, "w", force_zip64=True) as member:
        little = array.astype(array.dtype.newbyteorder("<"), copy=False)
        np.lib.format.write_array(member, little, version=(1, 0), allow_pickle=False)


def read_tree_file(path: str | Path) -> tuple[dict[str, NDArray[Any]], dict[str, Any]]:
    """Every array of a tree file and its meta; types, dimensions and sizes are checked.

    The arrays are read-only. What they mean together is checked by
    :class:`~regiontree.tree.RegionTree`.

    Raises
    ------
    TreeFileError
        The file is not there, is not a region tree, is damaged, or was made by a later version.
    """
    path = Path(path)
    with opened(path) as archive:
        sizes = {info.filename: info.file_size for info in archive.infolist()}
        # A damaged name must not look like an optional array that is missing.
        if unknown := sizes.keys() - {f"{name}.npy" for name in (*_MEMBERS, "meta")}:
            raise TreeFileError(f"{path}: not a region tree: it holds {min(unknown)[:60]!r}")
        if len(sizes) != len(archive.infolist()):
            raise TreeFileError(f"{path}: damaged: it holds an array twice")
        total = sum(sizes.values())
        if total > MAX_BYTES:
            raise TreeFileError(
                f"{path}: arrays of {total / 1e9:.1f} GB are more than the "
                f"{MAX_BYTES / 1e9:.1f} GB a tree may hold"
            )
        meta = read_own_meta(archive, path)
        arrays = {
            name: read_array(archive, path, name, dtype, ndim)
            for name, (dtype, ndim) in _MEMBERS.items()
            if not (name in _OPTIONAL and f"{name}.npy" not in sizes)
        }
    return arrays, meta


def read_meta(path: str | Path) -> dict[str, Any]:
    """Only the ``meta`` of a tree file, checked as in :func:`read_tree_file`; fast at any size."""
    path = Path(path)
    with opened(path) as archive:
        return read_own_meta(archive, path)


def read_shapes(path: str | Path) -> dict[str, tuple[int, ...]]:
    """The shapes of the arrays that a tree file has, by name; fast at any size.

    Errors are those of :func:`read_tree_file`. Damage behind the headers goes unnoticed.
    """
    path = Path(path)
    shapes = {}
    with opened(path) as archive:
        there = set(archive.namelist())
        for name in ARRAYS:
            if f"{name}.npy" in there:
                with archive.open(f"{name}.npy") as member:
                    shapes[name] = read_header(member)[0]
    if missing := [name for name in ARRAYS if name not in shapes and name not in _OPTIONAL]:
        raise TreeFileError(f"{path}: not a region tree: it has no array {missing[0]!r}")
    return shapes


def read_tree_structure(path: str | Path) -> tuple[dict[str, NDArray[Any]], dict[str, Any]]:
    """parents, height, ncut and stop of a tree file, and its meta; fast at any image size.

    Errors are those of :func:`read_tree_file`. Damage to other arrays goes unnoticed.
    """
    path = Path(path)
    with opened(path) as archive:
        meta = read_own_meta(archive, path)
        names = ("parents", "height", "ncut", "stop")
        arrays = {name: read_array(archive, path, name, *_MEMBERS[name]) for name in names}
    return arrays, meta


@contextmanager
def opened(path: Path, *, of_clip: bool = False) -> Iterator[zipfile.ZipFile]:
    """A tree file, open as a zip archive; whatever goes wrong in the block names the file.

    Raises
    ------
    TreeFileError
        The file is not there, is damaged, or is of a photograph where a clip is wanted, or the
        other way round.
    """
    with damage_named(path), zipfile.ZipFile(path) as archive:
        is_clip = CLIP_MEMBER in archive.NameToInfo
        if is_clip and not of_clip:
            raise TreeFileError(
                f"{path}: is the tree of a clip; read it with regiontree.ClipTree.load"
            )
        if of_clip and not is_clip and "labels.npy" in archive.NameToInfo:
            raise TreeFileError(
                f"{path}: is the tree of a photograph; read it with regiontree.RegionTree.load"
            )
        yield archive


@contextmanager
def damage_named(path: Path) -> Iterator[None]:
    """Whatever goes wrong in the block with a tree file becomes an error that names the file.

    Raises
    ------
    TreeFileError
        The file is not there, cannot be read, or is damaged.
    """
    if os.path.isdir(path):
        raise TreeFileError(f"{path}: is a folder; name a tree file in it")
    if problem := path_problem(path, "file; check the path"):
        raise TreeFileError(f"{path}: {problem}")
    try:
        yield
    except RegionTreeError:
        raise
    except (FileNotFoundError, PermissionError) as error:
        raise TreeFileError(f"{path}: cannot be read ({error.strerror})") from error
    except _DAMAGE as error:
        said = plain_reason(error)
        raise TreeFileError(f"{path}: damaged or not a region tree ({said})") from error


def read_own_meta(
    archive: zipfile.ZipFile, path: Path, form: str = FORMAT, version: int = FORMAT_VERSION
) -> dict[str, Any]:
    """The meta of an open file of a format, up to a version."""
    text = read_array(archive, path, "meta", "str", 0, limit=_MAX_META_BYTES)
    if text.reshape(1).view("<u4").max() > sys.maxunicode:  # Python itself trips over such text
        raise TreeFileError(f"{path}: meta is not text")
    try:
        meta = json.loads(str(text), parse_constant=_refuse_constant)
    except (ValueError, RecursionError) as error:
        raise TreeFileError(f"{path}: meta is not JSON ({plain_reason(error)})") from error
    if not isinstance(meta, dict) or meta.pop("format", None) != form:
        raise TreeFileError(f"{path}: not a region tree: meta does not name the format {form!r}")
    found = meta.pop("format_version", None)
    if type(found) is not int or not 1 <= found <= version:
        raise TreeFileError(
            f"{path}: format version {found!r}, this program reads up to {version}; "
            "upgrade regiontree to read it"
        )
    return meta


def _refuse_constant(name: str) -> NoReturn:
    raise ValueError(f"{name} is not a JSON value")


def read_array(
    archive: zipfile.ZipFile, path: Path, name: str, dtype: str, ndim: int, limit: int = MAX_BYTES
) -> NDArray[Any]:
    """One array, after checking that its header agrees with the format and the zip entry."""
    try:
        info = archive.getinfo(f"{name}.npy")
    except KeyError:
        raise TreeFileError(f"{path}: not a region tree: it has no array {name!r}") from None
    with archive.open(info) as member:
        return read_member(member, info.file_size, path, name, dtype, ndim, limit)


def read_member(
    member: IO[bytes],
    length: int,
    path: Path,
    name: str,
    dtype: str,
    ndim: int,
    limit: int = MAX_BYTES,
) -> NDArray[Any]:
    """The array of a member of so many bytes, of a known type and at most `limit` bytes.

    Raises
    ------
    TreeFileError
        Its header does not fit the format or the length; the message names the file and the array.
    """
    try:
        shape, fortran, found = read_header(member)
    except ValueError as error:
        raise TreeFileError(f"{path}: array {name!r} has a bad header") from error
    expected = found.str if dtype == "str" and found.kind == "U" else dtype
    right = found == np.dtype(expected).newbyteorder("<")
    if not right or fortran or len(shape) != ndim:
        raise TreeFileError(
            f"{path}: array {name!r} is {found} of shape {shape}; {ndim}-D {dtype} expected"
        )
    size = found.itemsize * int(np.prod(shape, dtype=object))
    if size > limit:
        raise TreeFileError(f"{path}: array {name!r} has {size} bytes, at most {limit} expected")
    if size != length - member.tell():
        raise TreeFileError(f"{path}: array {name!r} is not as long as its header says")
    data = io.BytesIO(member.read())
    if data.getbuffer().nbytes != size:
        raise TreeFileError(f"{path}: array {name!r} is cut short")
    try:
        return np.frombuffer(data.getbuffer(), dtype=found).reshape(shape)
    except ValueError as error:  # negative or enormous sides can have the right product
        raise TreeFileError(f"{path}: array {name!r} cannot be {shape} of {found}") from error
