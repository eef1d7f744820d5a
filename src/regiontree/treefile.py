"""Region trees on disk: one compressed ``.npz``, readable with plain NumPy, never pickled.

A file holds one ``.npy`` member for each array of :class:`~regiontree.tree.RegionTree`, under the
array's own name, and ``meta``, a JSON text. ``numpy.load(path)`` opens it; so does any zip tool.

Writing goes to a temporary name in the same folder, which is renamed when complete: a file that
exists is whole. Members carry a fixed date, so equal trees give equal bytes.

Reading trusts nothing: member names, types, shapes and sizes are checked against the headers
before anything is allocated, then the tree's own checks run, and the stored area and level must be
the ones that labels and parents imply.
"""

from __future__ import annotations

import io
import json
import os
import tempfile
import zipfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any

import numpy as np
from numpy.typing import NDArray

from regiontree.errors import TreeError, TreeFileError
from regiontree.tree import RegionTree

__all__ = ["FORMAT", "FORMAT_VERSION", "atomic_write", "load_tree", "read_meta", "save_tree"]

FORMAT = "regiontree"
FORMAT_VERSION = 1
MAX_BYTES = 4 << 30  # of all arrays together; labels of a 1,000-megapixel image
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
}
_OPTIONAL = {"embedding"}


@contextmanager
def atomic_write(path: str | Path) -> Iterator[IO[bytes]]:
    """A binary file that takes its name only when the block ends without an error."""
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, temporary = tempfile.mkstemp(prefix=f".{path.name[:100]}.", suffix=".tmp", dir=path.parent)
    try:
        with os.fdopen(handle, "wb") as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        os.chmod(temporary, 0o666 & ~_UMASK)
        os.replace(temporary, path)
    except BaseException:
        Path(temporary).unlink(missing_ok=True)
        raise


def _umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask


_UMASK = _umask()  # once at import: reading it means setting it, which threads must not see


def save_tree(tree: RegionTree, path: str | Path) -> Path:
    """Write a tree to `path`; ``.npz`` is added if it is missing. Returns the path written."""
    path = Path(path)
    if path.suffix.lower() != ".npz":
        path = path.with_name(path.name + ".npz")
    meta = {"format": FORMAT, "format_version": FORMAT_VERSION, **tree.meta}
    text = json.dumps(meta, sort_keys=True, ensure_ascii=True, allow_nan=False)
    with atomic_write(path) as file, zipfile.ZipFile(file, "w") as archive:
        for name in _MEMBERS:
            array = getattr(tree, name)
            if array is not None:
                _write_member(archive, name, array)
        _write_member(archive, "meta", np.array(text))
    return path


def _write_member(archive: zipfile.ZipFile, name: str, array: NDArray[Any]) -> None:
    info = zipfile.ZipInfo(f"{name}.npy", date_time=(1980, 1, 1, 0, 0, 0))
    info.compress_type = zipfile.ZIP_DEFLATED
    info.create_system = 3  # otherwise the writer's operating system
    info.external_attr = 0o644 << 16
    with archive.open(info, "w", force_zip64=True) as member:
        little = array.astype(array.dtype.newbyteorder("<"), copy=False)
        np.lib.format.write_array(member, little, version=(1, 0), allow_pickle=False)


def load_tree(path: str | Path) -> RegionTree:
    """Read and check a tree.

    Raises
    ------
    TreeFileError
        Not there, not a region tree, damaged, made by a later version, or contradicting itself.
    """
    path = Path(path)
    with _opened(path) as archive:
        sizes = {info.filename: info.file_size for info in archive.infolist()}
        if sum(sizes.values()) > MAX_BYTES:
            raise TreeFileError(f"{path}: arrays of {sum(sizes.values()) / 1e9:.1f} GB are more than "
                                f"the {MAX_BYTES / 1e9:.1f} GB a tree may hold")  # fmt: skip
        meta = _read_meta(archive, path)
        arrays = {
            name: _read_array(archive, path, name, dtype, ndim)
            for name, (dtype, ndim) in _MEMBERS.items()
            if not (name in _OPTIONAL and f"{name}.npy" not in sizes)
        }
    area, level = arrays.pop("area"), arrays.pop("level")
    try:
        tree = RegionTree(**arrays, meta=meta)
    except TreeFileError:
        raise
    except TreeError as error:
        raise TreeFileError(f"{path}: {error}") from error
    for name, stored in (("area", area), ("level", level)):
        if not np.array_equal(stored, getattr(tree, name)):
            raise TreeFileError(f"{path}: {name} does not follow from labels and parents")
    return tree


def read_meta(path: str | Path) -> dict[str, Any]:
    """Only the ``meta`` of a tree file, checked as in :func:`load_tree`; cheap at any image size."""
    path = Path(path)
    with _opened(path) as archive:
        return _read_meta(archive, path)


@contextmanager
def _opened(path: Path) -> Iterator[zipfile.ZipFile]:
    if not path.is_file():
        raise TreeFileError(f"{path}: no such file")
    try:
        with zipfile.ZipFile(path) as archive:
            yield archive
    except (zipfile.BadZipFile, zlib.error, EOFError, OSError, NotImplementedError, RuntimeError) as error:
        if isinstance(error, FileNotFoundError | PermissionError):
            raise TreeFileError(f"{path}: {error.strerror}") from error
        raise TreeFileError(f"{path}: damaged or not a region tree ({error})") from error


def _read_meta(archive: zipfile.ZipFile, path: Path) -> dict[str, Any]:
    text = _read_array(archive, path, "meta", "str", 0, limit=_MAX_META_BYTES)
    try:
        meta = json.loads(str(text))
    except (ValueError, RecursionError) as error:
        raise TreeFileError(f"{path}: meta is not JSON ({error})") from error
    if not isinstance(meta, dict) or meta.pop("format", None) != FORMAT:
        raise TreeFileError(f"{path}: not a region tree: meta does not name the format {FORMAT!r}")
    version = meta.pop("format_version", None)
    if not isinstance(version, int) or not 1 <= version <= FORMAT_VERSION:
        raise TreeFileError(
            f"{path}: format version {version!r}, this program reads up to {FORMAT_VERSION}; "
            "upgrade regiontree to read it"
        )
    return meta


def _read_array(
    archive: zipfile.ZipFile, path: Path, name: str, dtype: str, ndim: int, limit: int = MAX_BYTES
) -> NDArray[Any]:
    """One member, after its header was found to promise what the format and the zip entry say."""
    try:
        info = archive.getinfo(f"{name}.npy")
    except KeyError:
        raise TreeFileError(f"{path}: not a region tree: it has no array {name!r}") from None
    with archive.open(info) as member:
        try:
            version = np.lib.format.read_magic(member)
            if version != (1, 0):
                raise ValueError(f".npy version {version}")
            shape, fortran, found = np.lib.format.read_array_header_1_0(member)
        except ValueError as error:
            raise TreeFileError(f"{path}: array {name!r} has a bad header ({error})") from error
        right = found.kind == "U" if dtype == "str" else found == np.dtype(dtype).newbyteorder("<")
        if not right or fortran or len(shape) != ndim:
            raise TreeFileError(
                f"{path}: array {name!r} is {found} of shape {shape}; {ndim}-D {dtype} expected"
            )
        size = found.itemsize * int(np.prod(shape, dtype=object))
        if size > limit or size != info.file_size - member.tell():
            raise TreeFileError(f"{path}: array {name!r} is not as long as its header says")
        data = io.BytesIO(member.read())
    if data.getbuffer().nbytes != size:
        raise TreeFileError(f"{path}: array {name!r} is cut short")
    return np.frombuffer(data.getbuffer(), dtype=found).reshape(shape)
