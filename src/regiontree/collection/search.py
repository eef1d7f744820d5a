"""The most similar rows among the unit rows of all regions, by cosine.

The rows stand in the collection's folder as ``vectors.npy``, in half precision, and are mapped into
memory. Search is exact: blocks of rows are compared with the examples, and the best of each block
join the best so far. So memory does not grow with the number of rows. Above `EXACT_UP_TO` rows, an
approximate index proposes candidates, and these are compared exactly
(:mod:`regiontree.collection.approximate`).

The cosine of a pair depends on these two rows alone, not on their places, so equal rows have equal
cosines. Among equal cosines, the row that comes first is the better one.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Container, Iterable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

import numpy as np
from numpy.typing import NDArray

from regiontree.collection.approximate import CANDIDATES, Approximate, is_installed
from regiontree.collection.files import CollectionFiles
from regiontree.collection.projection import Projection
from regiontree.collection.regions import viewed_regions
from regiontree.errors import CollectionError
from regiontree.system.files import locked
from regiontree.system.lazy import lazy
from regiontree.system.npyfile import read_header

__all__ = ["EXACT_UP_TO", "Vectors", "search_exactly", "vectors_of"]

EXACT_UP_TO = 1_000_000
"""Rows up to which search is exact, unless the caller says otherwise."""
_BLOCK = 16_384  # rows at a time
_FLOAT32 = float(np.finfo(np.float32).eps)

Float16 = NDArray[np.float16]
Float32 = NDArray[np.float32]
Found = tuple[NDArray[np.int64], NDArray[np.float64]]
"""Places (m,) of the most similar rows, the most similar first, and their cosines (m,)."""


# -- exact search ---------------------------------------------------------------------------------


def search_exactly(rows: Float16, examples: Float32, counts: Sequence[int]) -> list[Found]:
    """The most similar rows of each example.

    Parameters
    ----------
    rows
        (n, p) unit rows, for example mapped from a file.
    examples
        (q, p) unit rows.
    counts
        How many rows are wanted for each example, >= 1. There are fewer if n is less.

    Returns
    -------
    list of pairs, one an example
        Places in [0, n) and cosines, in descending order. Of equal cosines the lower place is
        first.
    """
    # A product in single precision finds the candidates of a block. It is wrong by less than half
    # of `margin`, since both rows have unit length. Their cosines are then computed in double.
    margin = 4 * examples.shape[1] * _FLOAT32
    best: list[Found] = [(np.zeros(0, np.int64), np.zeros(0)) for _ in counts]
    for start in range(0, len(rows), _BLOCK):
        block = np.asarray(rows[start : start + _BLOCK], np.float32)
        near = examples @ block.T
        for i, count in enumerate(counts):
            found = np.flatnonzero(near[i] >= _threshold(near[i], best[i], count) - margin)
            best[i] = _merged(best[i], (start + found, _cosines(block[found], examples[i])), count)
    return best


def _threshold(near: Float32, best: Found, count: int) -> float:
    """A cosine that the `count` best rows of a block reach, if they are better than `best`."""
    own = -np.inf if len(near) <= count else np.partition(near, -count)[-count]
    known = best[1][-1] if len(best[1]) == count else -np.inf
    return float(max(own, known))


def _cosines(rows: NDArray[np.floating[Any]], example: Float32) -> NDArray[np.float64]:
    """The cosine (m,) of each unit row (m, p) with a unit row (p,), in double precision."""
    products = rows.astype(np.float64) * example.astype(np.float64)
    cosines: NDArray[np.float64] = products.sum(axis=1)  # row by row, unlike a product of matrices
    return cosines


def _merged(one: Found, other: Found, count: int) -> Found:
    places, cosines = (np.concatenate(pair) for pair in zip(one, other, strict=True))
    order = np.lexsort((places, -cosines))[:count]
    return places[order], cosines[order]


# -- the rows of a collection ---------------------------------------------------------------------


@dataclass(frozen=True, eq=False)
class Vectors:
    """The unit rows of the regions of a collection, and how they are searched.

    Attributes
    ----------
    rows : (n, p) float16
        Mapped from ``vectors.npy``. In memory, if the folder cannot be written.
    files : CollectionFiles
    key : str
        Digest of what the rows were made of.
    """

    rows: Float16
    files: CollectionFiles
    key: str

    @classmethod
    def of(
        cls,
        files: CollectionFiles,
        key: str,
        shape: tuple[int, int],
        blocks: Callable[[], Iterable[Float32]],
    ) -> Vectors:
        """The rows in the collection's folder, which are written first if they are not there.

        Parameters
        ----------
        files
            Files of the collection.
        key
            Digest of what the rows are made of. Rows of another key are replaced.
        shape
            Number of rows and length of a row, (n, p).
        blocks
            Gives all rows, some at a time.
        """
        with locked(files.folder):
            found = _mapped(files.vectors, shape) if _keys(files).get("rows") == key else None
            if found is None:
                with suppress(CollectionError):  # a folder that is read-only, or full
                    with files.writing(files.vectors) as file:
                        _write_rows(file, blocks(), shape)
                    _write_keys(files, {"rows": key})
                    found = _mapped(files.vectors, shape)
        if found is None:
            empty = np.zeros((0, shape[1]), np.float16)
            found = np.concatenate([empty, *(_half(block) for block in blocks())])
        return cls(found, files, key)

    def search(
        self, examples: Float32, counts: Sequence[int], *, exact: bool | None = None
    ) -> list[Found]:
        """The most similar rows of each example, as :func:`search_exactly` gives them.

        Parameters
        ----------
        examples, counts
            As for :func:`search_exactly`.
        exact
            Whether every row is compared. None: if there are at most `EXACT_UP_TO`, or if usearch
            is not installed.

        Raises
        ------
        MissingExtraError
            `exact` is False, and usearch is not installed.
        """
        if exact is None:
            exact = len(self.rows) <= EXACT_UP_TO or not is_installed()
        if exact or not len(self.rows):
            return search_exactly(self.rows, examples, counts)
        index = self._index
        found: list[Found] = []
        for example, count in zip(examples, counts, strict=True):
            wanted = min(max(CANDIDATES, 2 * count), len(self.rows))
            places = index.candidates(example, wanted)
            cosines = _cosines(self.rows[places], example)
            found.append(_merged((places[:0], cosines[:0]), (places, cosines), count))
        return found

    @lazy
    def _index(self) -> Approximate:
        """The approximate index beside the rows, which is built first if it is not there."""
        path = self.files.folder / "vectors.index"
        shape = (self.rows.shape[0], self.rows.shape[1])
        with locked(self.files.folder):
            keys = _keys(self.files)
            known = Approximate.read(path, shape) if keys.get("index") == self.key else None
            if known is not None:
                return known
            index = Approximate.build(self.rows)
            with suppress(CollectionError):
                with self.files.writing(path) as file:
                    index.write(Path(file.name))
                _write_keys(self.files, {**keys, "index": self.key})
                return Approximate.read(path, shape) or index
        return index


def _half(rows: Float32) -> Float16:
    """Rows in half precision; what is not finite becomes 0, so it is like nothing."""
    with np.errstate(over="ignore"):
        half = rows.astype(np.float16)
    half[~np.isfinite(half).all(axis=1)] = 0
    return half


def _write_rows(file: IO[bytes], blocks: Iterable[Float32], shape: tuple[int, int]) -> None:
    """Write a ``.npy`` file of rows, some at a time."""
    header = {"descr": "<f2", "fortran_order": False, "shape": shape}
    np.lib.format.write_array_header_1_0(file, header)
    for block in blocks:
        file.write(_half(block).astype("<f2", copy=False).tobytes())


def _mapped(path: Path, shape: tuple[int, int]) -> Float16 | None:
    """The rows in a file; None if it is damaged or gone, or has another shape."""
    try:
        with path.open("rb") as file:
            said, fortran, kind = read_header(file)
            start = file.tell()
        right = (said, fortran, kind) == (shape, False, np.dtype("<f2"))
        if not right or path.stat().st_size != start + 2 * shape[0] * shape[1]:
            return None
        return np.memmap(path, np.dtype("<f2"), "r", start, shape)
    except (OSError, ValueError):
        return None


def _keys(files: CollectionFiles) -> dict[str, Any]:
    """Digests of what the rows and the index were made of; empty if nothing is known."""
    try:
        said = json.loads((files.folder / "vectors.json").read_bytes()[:4096])
    except (OSError, ValueError, RecursionError):
        return {}
    return said if isinstance(said, dict) else {}


def _write_keys(files: CollectionFiles, keys: dict[str, Any]) -> None:
    with files.writing(files.folder / "vectors.json") as file:
        file.write(json.dumps(keys, sort_keys=True).encode() + b"\n")


def vectors_of(files: CollectionFiles, projection: Projection, known: Container[str]) -> Vectors:
    """The unit rows of the regions of a collection, in the order of its parts.

    Parameters
    ----------
    files
    projection
        From descriptors to unit rows.
    known
        Ids of the photographs that have their categories. Others are left out.
    """
    digest, count = hashlib.sha256(), 0
    for array in (projection.mean, projection.axes, projection.start):
        digest.update(array.tobytes())
    for part in files.read_parts("regions", set()):
        for one, regions in zip(part.photographs, np.diff(part.start).tolist(), strict=True):
            if one["id"] in known:
                said = [one["id"], one.get("sha256"), regions]
                digest.update(json.dumps(said).encode())
                count += regions

    def blocks() -> Iterator[Float32]:
        for part in files.read_parts("regions", {"values", "share"}):
            of_photo = np.array([one["id"] in known for one in part.photographs], bool)
            chosen = np.repeat(of_photo, np.diff(part.start))
            yield projection(viewed_regions(part)[chosen])

    return Vectors.of(files, digest.hexdigest(), (count, projection.axes.shape[1]), blocks)
