"""Find the photograph that a saved tree was made from.

A tree file records the name of the photograph and the sha256 of its bytes. It does not record the
folder, because tree files are moved between folders and machines. :func:`open_source` looks for a
file of that name in the places that the caller gives, then in the tree's folder, and then at the
path in the ``summary.json`` of a batch. It prefers a file with the recorded sha256.

A missing or changed photograph is not an error, since the tree is complete without it. ``notice``
then says what is wrong. :func:`open_outline` describes a tree without reading its label map, which
is enough for a list of thousands of trees.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from regiontree.errors import TreeError, TreeFileError
from regiontree.images import load_again
from regiontree.system.files import sha256_of
from regiontree.system.inputs import SUMMARY_NAME, find_files
from regiontree.tree import RegionTree

__all__ = [
    "TREE_SUFFIX",
    "Images",
    "Outline",
    "Places",
    "Source",
    "find_trees",
    "open_outline",
    "open_source",
]

TREE_SUFFIX = ".npz"
"""Ending of the names of tree files."""
_FEATURES = (".npy", ".npz")  # suffixes of the "image" of a tree that was made from features alone


@dataclass(frozen=True, slots=True)
class Source:
    """A tree, its file, and its photograph.

    Attributes
    ----------
    tree : RegionTree
    path : Path
        The tree's file.
    photo : Path or None
        The photograph, if a file of its name was found.
    notice : str or None
        A sentence for the user if the photograph is missing, not readable or changed.
    """

    tree: RegionTree
    path: Path
    photo: Path | None = None
    notice: str | None = None

    @property
    def name(self) -> str:
        """File name of the photograph, or of the tree if the tree does not name a photograph."""
        return _name(self.tree.meta) or self.path.name

    def picture(self, longest: int | None = None) -> NDArray[np.uint8]:
        """The photograph at the size of the tree: (h, w, 3) uint8, or white without a photograph.

        Parameters
        ----------
        longest
            Most pixels on the longer side. None: the size of the tree's label map.

        Raises
        ------
        ImageError
            The photograph cannot be read.
        """
        size = self.tree.shape
        if longest is not None and max(size) > longest:
            size = tuple(max(1, round(side * longest / max(size))) for side in size)  # type: ignore[assignment]
        if self.photo is None:
            return np.full((*size, 3), 255, np.uint8)
        image = load_again(self.photo, self.tree.meta, shape=self.tree.shape, cover=size)
        if image.rgb.shape[:2] == size:
            return image.rgb
        resized = Image.fromarray(image.rgb).resize(size[::-1], Image.Resampling.LANCZOS)
        return np.asarray(resized)


@dataclass(frozen=True, slots=True)
class Outline:
    """A short description of a tree file, made without its label map.

    Attributes
    ----------
    path, name, photo, notice
        As for :class:`Source`.
    shape : tuple of int, or None
        (H, W) of the image in pixels. None if the file's meta does not say it.
    n_regions : int
        Number of regions of the natural cut.
    n_leaves : int
        Number of leaves.
    """

    path: Path
    name: str
    shape: tuple[int, int] | None
    n_regions: int
    n_leaves: int
    photo: Path | None = None
    notice: str | None = None


@dataclass(frozen=True, slots=True)
class Places:
    """The places to search first for photographs.

    Attributes
    ----------
    files : mapping of str to list of Path
        Paths of photographs, by file name.
    folders : tuple of Path
        Folders to search. Their subfolders are not searched.
    """

    files: Mapping[str, list[Path]] = field(default_factory=dict)
    folders: tuple[Path, ...] = ()

    @classmethod
    def of(cls, given: Iterable[str | Path]) -> Places:
        """The places in a list of paths. A path that is not a folder counts as a file."""
        files: dict[str, list[Path]] = {}
        folders = []
        for path in map(Path, given):
            if path.is_dir():
                folders.append(path)
            else:
                files.setdefault(path.name, []).append(path)
        return cls(files, tuple(folders))

    def named(self, name: str) -> Iterator[Path]:
        """The paths that a photograph of that name can have. The files need not exist."""
        yield from self.files.get(name, ())
        for folder in self.folders:
            yield folder / name


Images = Sequence[str | Path] | Places
"""Where photographs may lie: files and folders, or places made of them."""


def find_trees(paths: Sequence[str | Path]) -> list[Path]:
    """The ``.npz`` files among the paths, in order, each once.

    Feature files also end in ``.npz``. Opening such a file raises an error that says what it is.

    Parameters
    ----------
    paths
        Tree files, folders (searched with all subfolders) and glob patterns.

    Raises
    ------
    TreeFileError
        There is no path, a path does not exist, or a folder holds no ``.npz``.
    """
    found = [file for file, _ in find_files(paths, frozenset({TREE_SUFFIX}))]
    if not found:
        raise TreeFileError("no input: give at least one tree file (.npz), folder or pattern")
    for file in found:
        if file.is_dir():
            raise TreeFileError(
                f"{file}: holds no trees ({TREE_SUFFIX}); make some with 'regiontree segment'"
            )
        if not file.exists():
            raise TreeFileError(f"{file}: no such file or folder, and no file matches it")
    return found


def open_source(path: str | Path, *, images: Images = ()) -> Source:
    """A tree and its photograph.

    Parameters
    ----------
    path
        The tree's file.
    images
        Photographs, or folders to search first. Their subfolders are not searched.

    Raises
    ------
    TreeFileError
        The tree cannot be read: see :func:`regiontree.tree.RegionTree.load`.
    """
    path = Path(path)
    tree = RegionTree.load(path)
    return Source(tree, path, *_find_photo(path, tree.meta, images))


def open_outline(path: str | Path, *, images: Images = ()) -> Outline:
    """A short description of a tree file.

    It takes milliseconds for a tree of any size, plus the time to compute the sha256 of the
    photograph. Damage to the label map is not noticed.

    Parameters
    ----------
    path, images
        As for :func:`open_source`.

    Raises
    ------
    TreeFileError
        The file is not a tree file, or its tree structure is damaged.
    """
    path = Path(path)
    tree = RegionTree.load_structure(path)
    try:
        n_regions = len(tree.cut_nodes())
    except TreeError as error:  # the natural height in the file's meta is not valid
        raise TreeFileError(f"{path}: {error}") from error
    meta = tree.meta
    name, photo = _name(meta) or path.name, _find_photo(path, meta, images)
    return Outline(path, name, _size(meta), n_regions, tree.n_leaves, *photo)


# -- finding the photograph -----------------------------------------------------------------------


def _name(meta: Mapping[str, Any]) -> str:
    """The name of the photograph in a tree's meta, or an empty text. Meta may hold anything."""
    image = meta.get("image")
    name = image.get("name") if isinstance(image, dict) else None
    return name if isinstance(name, str) else ""


def _size(meta: Mapping[str, Any]) -> tuple[int, int] | None:
    """(H, W) of the image in a tree's meta; None if it has none."""
    image = meta.get("image")
    size = image.get("size") if isinstance(image, dict) else None
    if isinstance(size, list) and len(size) == 2 and all(type(side) is int for side in size):
        return size[0], size[1]
    return None


def _find_photo(
    tree: Path, meta: Mapping[str, Any], images: Images
) -> tuple[Path | None, str | None]:
    """The photograph that a tree's meta names, and a notice for the user."""
    name = Path(_name(meta)).name
    if not name:
        return None, "The tree does not say which photograph it was made from."
    if name.lower().endswith(_FEATURES):
        return None, f"The tree was made from the features in {name}, without a photograph."
    places = images if isinstance(images, Places) else Places.of(images)
    digest = meta["image"].get("sha256")
    notice = f"The photograph {name} was not found."
    likeliest = None
    for place in dict.fromkeys(_places(tree, name, places)):
        try:
            found = sha256_of(place)
        except OSError as error:
            notice = f"The photograph {name} cannot be read ({error.strerror})."
            continue
        if found == digest:
            return place, None
        likeliest = likeliest or place
    if likeliest is not None:
        notice = f"{name} is not the file that the tree was made from: it has changed since."
        if digest is None:
            notice = f"The tree does not say whether this is the {name} that it was made from."
    return likeliest, notice


def _places(tree: Path, name: str, images: Places) -> Iterator[Path]:
    """The files that may be the photograph, the most likely first."""
    for candidate in (*images.named(name), tree.parent / name):
        if os.path.isfile(candidate):  # Path.is_file raises an error for some impossible names
            yield candidate
    for folder in tree.absolute().parents:
        summary = folder / SUMMARY_NAME
        if summary.is_file():
            source = _in_summary(summary, summary.stat().st_mtime_ns).get(str(tree.absolute()))
            if source is not None and Path(source).name == name and os.path.isfile(source):
                yield Path(source)
            return


@lru_cache(maxsize=16)
def _in_summary(summary: Path, modified: int) -> dict[str, str]:
    """The photograph of each tree in the summary of a batch; empty if the file is not a summary."""
    try:
        files = json.loads(summary.read_text(encoding="utf-8"))["files"]
        pairs = [(file["output"], file["source"]) for file in files]
    except (OSError, ValueError, LookupError, TypeError, RecursionError):
        return {}
    return {
        str(Path(output).absolute()): source
        for output, source in pairs
        if isinstance(output, str) and isinstance(source, str)
    }
