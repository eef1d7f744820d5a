"""Find the photograph that a saved tree was made from.

A tree file records the name of the photograph and the sha256 of its bytes. The tree of a batch also
records the path to the photograph (:mod:`regiontree.forest.origin`). :func:`open_source` looks for
a file of that name in the places that the caller gives, then in the tree's folder, then at the
recorded path, and then where the ``summary.json`` of a batch says. It prefers a file with the
recorded sha256.

A missing or changed photograph is not an error, since the tree is complete without it. ``notice``
then says what is wrong. :func:`open_outline` describes a tree without reading its label map, which
is enough for a list of thousands of trees.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import chain
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from regiontree.errors import SettingsError, TreeError, TreeFileError
from regiontree.forest.origin import path_below, recorded_name, recorded_places
from regiontree.images import load_again
from regiontree.system.files import sha256_of
from regiontree.system.inputs import FEATURE_SUFFIXES
from regiontree.system.paths import input_problem, path_problem
from regiontree.tree import RegionTree

__all__ = [
    "FEATURE_SUFFIXES",
    "TREE_SUFFIX",
    "Images",
    "Outline",
    "Places",
    "Source",
    "open_outline",
    "open_source",
    "require_images",
    "tree_problem",
]

TREE_SUFFIX = ".npz"
"""Ending of the names of tree files."""
_DEPTH = 16  # most folders of a recorded path that are looked for


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
        return recorded_name(self.tree.meta) or self.path.name

    @property
    def lack(self) -> str | None:
        """What is wrong with the photograph that the tree names, and what the user can do.

        None if the tree names no photograph, because it was made from features, for example, or if
        the photograph is there and nothing says that it has changed.
        """
        return _lack(self.path, self.tree.meta, self.photo, self.notice)

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
    lack : str or None
        As for :class:`Source`.
    """

    path: Path
    name: str
    shape: tuple[int, int] | None
    n_regions: int
    n_leaves: int
    photo: Path | None = None
    notice: str | None = None
    lack: str | None = None


@dataclass(frozen=True, slots=True)
class Places:
    """The places to search first for photographs.

    Attributes
    ----------
    files : mapping of str to list of Path
        Paths of photographs, by file name.
    folders : tuple of Path
        Folders to search. Of their subfolders, only those of the recorded path are searched.
    """

    files: Mapping[str, list[Path]] = field(default_factory=dict)
    folders: tuple[Path, ...] = ()

    @classmethod
    def of(cls, given: Iterable[str | Path]) -> Places:
        """The places in a list of paths. A path that is not a folder counts as a file."""
        files: dict[str, list[Path]] = {}
        folders = []
        for path in map(Path, given):
            if os.path.isdir(path):
                folders.append(path)
            else:
                files.setdefault(path.name, []).append(path)
        return cls(files, tuple(folders))

    def named(self, name: str, below: str = "") -> Iterator[Path]:
        """The paths that a photograph of that name can have. The files need not exist.

        `below` is the path that a tree records, for example ``photos/sub/photo.jpg``. In a folder,
        the photograph may be ``photo.jpg``, ``sub/photo.jpg`` or ``photos/sub/photo.jpg``.
        """
        yield from self.files.get(name, ())
        parts = below.split("/")[:-1][-_DEPTH:]
        ends = ["/".join([*parts[start:], name]) for start in range(len(parts), -1, -1)]
        for folder in self.folders:
            for end in ends:
                yield folder / end


Images = Sequence[str | Path] | Places
"""Where photographs may lie: files and folders, or places made of them."""


def require_images(images: Iterable[str | Path]) -> None:
    """Check that the places where a user says that photographs lie can be looked at.

    Raises
    ------
    SettingsError
        A file or folder does not exist, or cannot be looked at.
    """
    for given in images:
        if problem := path_problem(given, "file or folder; check the path"):
            raise SettingsError(f"--images {given}: {problem}")


def tree_problem(file: Path) -> str | None:
    """Why a path that :func:`find_files` gives is no tree file; None if it may be one."""
    if problem := input_problem(file):
        return f"{file}: {problem}"
    if os.path.isdir(file):
        return f"{file}: holds no trees ({TREE_SUFFIX}); make some with 'regiontree segment'"
    return None


def open_source(path: str | Path, *, images: Images = ()) -> Source:
    """A tree and its photograph.

    Parameters
    ----------
    path
        The tree's file.
    images
        Photographs, or folders to search first: see :class:`Places`.

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
    name, found = recorded_name(meta) or path.name, _find_photo(path, meta, images)
    lack = _lack(path, meta, *found)
    return Outline(path, name, _size(meta), n_regions, tree.n_leaves, *found, lack)


# -- finding the photograph -----------------------------------------------------------------------


def _size(meta: Mapping[str, Any]) -> tuple[int, int] | None:
    """(H, W) of the image in a tree's meta; None if it has none."""
    image = meta.get("image")
    size = image.get("size") if isinstance(image, dict) else None
    if isinstance(size, list) and len(size) == 2 and all(type(side) is int for side in size):
        return size[0], size[1]
    return None


def _lack(
    tree: Path, meta: Mapping[str, Any], photo: Path | None, notice: str | None
) -> str | None:
    """What is wrong with the photograph that a tree names, and what the user can do."""
    name = recorded_name(meta)
    if notice is None or not name or Path(name).suffix.lower() in FEATURE_SUFFIXES:
        return None
    if photo is not None and meta["image"].get("sha256") is None:
        return None
    return f"{tree}: {notice} Say where the photograph is with --images FOLDER."


def _find_photo(
    tree: Path, meta: Mapping[str, Any], images: Images
) -> tuple[Path | None, str | None]:
    """The photograph that a tree's meta names, and a notice for the user."""
    name = Path(recorded_name(meta)).name
    if not name:
        return None, "The tree does not say which photograph it was made from."
    if Path(name).suffix.lower() in FEATURE_SUFFIXES:
        return None, f"The tree was made from the features in {name}, without a photograph."
    places = images if isinstance(images, Places) else Places.of(images)
    digest = meta["image"].get("sha256")
    notice = f"The photograph {name} was not found."
    likeliest = None
    for place in dict.fromkeys(_places(tree, meta, name, places)):
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


def _places(tree: Path, meta: Mapping[str, Any], name: str, images: Places) -> Iterator[Path]:
    """The files that may be the photograph, the most likely first."""
    given = images.named(name, path_below(meta))
    for candidate in chain(given, [tree.parent / name], recorded_places(tree, meta)):
        if os.path.isfile(candidate):  # Path.is_file raises an error for some impossible names
            yield candidate
