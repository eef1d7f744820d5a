"""A saved tree and the photograph it was made from, found again.

A tree file records the photograph's name and the sha256 of its bytes, not where it lies: trees
travel. :func:`open_source` looks for a file of that name where it is told, beside the tree and
where the ``summary.json`` of a batch says it was, and prefers one with the same digest. A
photograph that is gone or has changed is no error: the tree is whole without it, and ``notice``
says in a sentence what is wrong. :func:`open_outline` tells the same of a tree without reading its
pixels: what a list of thousands needs to know.
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
from regiontree.images import MAX_PIXELS, load_image
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
"""Ending of a tree's file."""
_FEATURES = (".npy", ".npz")  # what a tree made without a photograph names as its image


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
        What to tell the user of the photograph: not found, not readable, changed since.
    """

    tree: RegionTree
    path: Path
    photo: Path | None = None
    notice: str | None = None

    @property
    def name(self) -> str:
        """The photograph's file name; the tree's if it has none."""
        return _name(self.tree.meta) or self.path.name

    def picture(self, longest: int | None = None) -> NDArray[np.uint8]:
        """The photograph fitted to the tree: (h, w, 3) uint8, at most `longest` pixels a side.

        White where there is no photograph.

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
        image = load_image(
            self.photo, max_pixels=max(MAX_PIXELS, self.tree.labels.size), cover=size
        )
        if image.rgb.shape[:2] == size:
            return image.rgb
        resized = Image.fromarray(image.rgb).resize(size[::-1], Image.Resampling.LANCZOS)
        return np.asarray(resized)


@dataclass(frozen=True, slots=True)
class Outline:
    """What can be told of a tree file without reading its pixels.

    Attributes
    ----------
    path, name, photo, notice
        As of a :class:`Source`.
    shape : tuple of int, or None
        (H, W) of the image, as far as the file's meta says it.
    n_regions, n_leaves : int
        Regions of the natural cut, and of the finest.
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
    """Where photographs may lie, before any other place.

    Attributes
    ----------
    files : mapping of str to list of Path
        Photographs by file name.
    folders : tuple of Path
        Folders to look in, not in their subfolders.
    """

    files: Mapping[str, list[Path]] = field(default_factory=dict)
    folders: tuple[Path, ...] = ()

    @classmethod
    def of(cls, given: Iterable[str | Path]) -> Places:
        """Files and folders sorted; what is neither is not looked at again."""
        files: dict[str, list[Path]] = {}
        folders = []
        for path in map(Path, given):
            if path.is_dir():
                folders.append(path)
            else:
                files.setdefault(path.name, []).append(path)
        return cls(files, tuple(folders))

    def named(self, name: str) -> Iterator[Path]:
        """Where a photograph of that name would be."""
        yield from self.files.get(name, ())
        for folder in self.folders:
            yield folder / name


Images = Sequence[str | Path] | Places
"""Where photographs may lie: folders and files, or places already listed."""


def find_trees(paths: Sequence[str | Path]) -> list[Path]:
    """Tree files meant by files, folders (to any depth) and glob patterns, in order, each once.

    Feature files and other ``.npz`` are found, too: opening them says what they are.

    Raises
    ------
    TreeFileError
        A path names nothing, or a folder holds no ``.npz``.
    """
    found = [file for file, _ in find_files(paths, frozenset({TREE_SUFFIX}))]
    if not found:
        raise TreeFileError("no input: name at least one tree (.npz), folder or pattern")
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
        Photographs, or folders to look in (not in their subfolders), before any other place.

    Raises
    ------
    TreeFileError
        The tree cannot be read: see :func:`regiontree.tree.RegionTree.load`.
    """
    path = Path(path)
    tree = RegionTree.load(path)
    return Source(tree, path, *_find_photo(path, tree.meta, images))


def open_outline(path: str | Path, *, images: Images = ()) -> Outline:
    """A tree in a few words: milliseconds at any size, and the time to digest its photograph.

    Parameters and errors as :func:`open_source`; damage to the pixels alone goes unnoticed.
    """
    path = Path(path)
    tree = RegionTree.load_structure(path)
    try:
        n_regions = len(tree.cut_nodes())
    except TreeError as error:  # what meta calls the natural height is none
        raise TreeFileError(f"{path}: {error}") from error
    meta = tree.meta
    name, photo = _name(meta) or path.name, _find_photo(path, meta, images)
    return Outline(path, name, _size(meta), n_regions, tree.n_leaves, *photo)


# -- finding the photograph -----------------------------------------------------------------------


def _name(meta: Mapping[str, Any]) -> str:
    """What the tree calls its photograph; empty if it does not say. Meta may hold anything."""
    image = meta.get("image")
    name = image.get("name") if isinstance(image, dict) else None
    return name if isinstance(name, str) else ""


def _size(meta: Mapping[str, Any]) -> tuple[int, int] | None:
    image = meta.get("image")
    size = image.get("size") if isinstance(image, dict) else None
    if isinstance(size, list) and len(size) == 2 and all(type(side) is int for side in size):
        return size[0], size[1]
    return None


def _find_photo(
    tree: Path, meta: Mapping[str, Any], images: Images
) -> tuple[Path | None, str | None]:
    """The photograph of a tree's meta, and what to say of it."""
    name = Path(_name(meta)).name
    if not name:
        return None, "The tree does not say what photograph it was made from."
    if name.lower().endswith(_FEATURES):
        return None, f"The tree was made from the features in {name}, without a photograph."
    places = images if isinstance(images, Places) else Places.of(images)
    digest = meta["image"].get("sha256")
    said = f"The photograph {name} was not found."
    likeliest = None
    for place in dict.fromkeys(_places(tree, name, places)):
        try:
            found = sha256_of(place)
        except OSError as error:
            said = f"The photograph {name} cannot be read ({error.strerror})."
            continue
        if found == digest:
            return place, None
        likeliest = likeliest or place
    if likeliest is not None:
        said = f"{name} is not the file that the tree was made from: it has changed since."
        if digest is None:
            said = f"The tree does not say whether this is the {name} that it was made from."
    return likeliest, said


def _places(tree: Path, name: str, images: Places) -> Iterator[Path]:
    """Files that may be the photograph, the likeliest first."""
    for candidate in (*images.named(name), tree.parent / name):
        if os.path.isfile(candidate):  # unlike Path's, false for names that no file can have
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
    """Photographs by tree, as the summary of a batch says; empty if it is another program's."""
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
