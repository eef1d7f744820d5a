"""Open a saved tree together with the photograph that it was made from.

A tree records the name of the photograph and the sha256 of its bytes. The tree of a batch also
records the path to the photograph (:mod:`regiontree.forest.origin`), and a row of a store has its
address. :func:`open_source` looks for a file of that name in the places that the caller gives. For
a tree file it then looks in the tree's folder, at the recorded path, and where the ``summary.json``
of a batch says. For a row it then looks at the address. It prefers a file with the recorded sha256.

A missing or changed photograph is not an error, since the tree is complete without it. ``notice``
then says what is wrong. :func:`open_outline` describes a tree without reading its label map, which
is enough for a list of thousands of trees.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from regiontree.errors import TreeError, TreeFileError
from regiontree.forest.finding import (
    Images,
    Photograph,
    Places,
    examined,
    find_photograph,
    lack_of,
    read_photograph,
    require_images,
)
from regiontree.forest.origin import recorded_name
from regiontree.forest.saved import SavedTree, saved_tree
from regiontree.images import load_again
from regiontree.references.reference import Reference
from regiontree.system.inputs import FEATURE_SUFFIXES
from regiontree.system.paths import input_problem
from regiontree.tree import RegionTree

__all__ = [
    "FEATURE_SUFFIXES",
    "TREE_SUFFIX",
    "Images",
    "Outline",
    "Places",
    "Source",
    "open_found",
    "open_outline",
    "open_source",
    "require_images",
    "tree_problem",
]

TREE_SUFFIX = ".npz"
"""Ending of the names of tree files."""


@dataclass(frozen=True, slots=True)
class Source:
    """A tree, where it is saved, and its photograph.

    Attributes
    ----------
    tree : RegionTree
    saved : SavedTree
        Where the tree is saved.
    photo : Photograph or None
        The photograph, if one of its name was found.
    notice : str or None
        A sentence for the user if the photograph is missing, not readable or changed.
    is_saved : bool
        Whether the tree is the one that is saved, and not one made of it.
    """

    tree: RegionTree
    saved: SavedTree
    photo: Photograph | None = None
    notice: str | None = None
    is_saved: bool = True

    @property
    def path(self) -> Path | None:
        """The tree's file; None for a row of a store."""
        return self.saved.path

    @property
    def name(self) -> str:
        """File name of the photograph, or of the tree if the tree does not name a photograph."""
        return recorded_name(self.tree.meta) or self.saved.name

    @property
    def lack(self) -> str | None:
        """What is wrong with the photograph that the tree names, and what the user can do.

        None if the tree names no photograph, because it was made from features, for example, or if
        the photograph is there and nothing says that it has changed.
        """
        return lack_of(self.saved, self.tree.meta, self.photo, self.notice)

    def picture(self, longest: int | None = None) -> NDArray[np.uint8]:
        """The photograph at the size of the tree: (h, w, 3) uint8, or white without a photograph.

        Parameters
        ----------
        longest
            Most pixels on the longer side. None: the size of the tree's label map.

        Raises
        ------
        ImageError, SourceError
            The photograph cannot be read.
        """
        size = self.tree.shape
        if longest is not None and max(size) > longest:
            size = tuple(max(1, round(side * longest / max(size))) for side in size)  # type: ignore[assignment]
        if self.photo is None:
            return np.full((*size, 3), 255, np.uint8)
        photo = self.photo
        photo = read_photograph(photo) if isinstance(photo, Reference) else photo
        image = load_again(photo, self.tree.meta, shape=self.tree.shape, cover=size)
        if image.rgb.shape[:2] == size:
            return image.rgb
        resized = Image.fromarray(image.rgb).resize(size[::-1], Image.Resampling.LANCZOS)
        return np.asarray(resized)


@dataclass(frozen=True, slots=True)
class Outline:
    """A short description of a saved tree, made without its label map.

    Attributes
    ----------
    saved, photo, notice
        As for :class:`Source`. The photograph may be one that was not looked at.
    name : str
        As for :class:`Source`.
    shape : tuple of int, or None
        (H, W) of the image in pixels. None if the tree's meta does not say it.
    n_regions : int
        Number of regions of the natural cut.
    n_leaves : int
        Number of leaves.
    lack : str or None
        As for :class:`Source`.
    error : str or None
        Why there is no tree. The numbers are then 0.
    """

    saved: SavedTree
    name: str
    shape: tuple[int, int] | None = None
    n_regions: int = 0
    n_leaves: int = 0
    photo: Photograph | None = None
    notice: str | None = None
    lack: str | None = None
    error: str | None = None

    @property
    def path(self) -> Path | None:
        """The tree's file; None for a row of a store."""
        return self.saved.path


def tree_problem(file: Path) -> str | None:
    """Why a path is no tree file; None if it may be one.

    The path is one that :func:`~regiontree.system.inputs.find_files` gives.
    """
    if problem := input_problem(file):
        return f"{file}: {problem}"
    if os.path.isdir(file):
        return f"{file}: holds no trees ({TREE_SUFFIX}); make some with 'regiontree segment'"
    return None


def open_source(tree: str | Path | SavedTree, *, images: Images = ()) -> Source:
    """A tree and its photograph. A photograph that lies elsewhere is read.

    Parameters
    ----------
    tree
        The tree's file, or where it is saved.
    images
        Photographs, or folders to search first: see :class:`Places`.

    Raises
    ------
    TreeFileError
        The tree cannot be read: see :meth:`regiontree.forest.saved.SavedTree.load`.
    """
    saved = saved_tree(tree)
    read = saved.load()
    return Source(read, saved, *find_photograph(saved, read.meta, images))


def open_outline(
    tree: str | Path | SavedTree, *, images: Images = (), verify: bool = True
) -> Outline:
    """A short description of a saved tree.

    It takes milliseconds for a tree of any size, plus the time to compute the sha256 of the
    photograph. Damage to the label map is not noticed. A photograph that lies elsewhere is not
    read.

    Parameters
    ----------
    tree, images
        As for :func:`open_source`.
    verify
        Whether to compare the sha256 of the photograph, if it is a file of this machine.

    Raises
    ------
    TreeFileError
        The tree cannot be read, or its structure is damaged.
    """
    saved = saved_tree(tree)
    read = saved.load_structure()
    try:
        n_regions = len(read.cut_nodes())
    except TreeError as error:  # the natural height in the meta is not valid
        raise TreeFileError(f"{saved}: {error}") from error
    meta = read.meta
    name = recorded_name(meta) or saved.name
    found = find_photograph(saved, meta, images, fetch=False, verify=verify)
    lack = lack_of(saved, meta, *found)
    return Outline(saved, name, _size(meta), n_regions, read.n_leaves, *found, lack)


def open_found(outline: Outline) -> Source:
    """The tree of an outline, with the photograph that the outline found.

    Raises
    ------
    TreeFileError
        The tree cannot be read.
    """
    tree, photo, notice = outline.saved.load(), outline.photo, outline.notice
    if isinstance(photo, Reference):
        photo, notice = examined([photo], photo.name, tree.meta["image"].get("sha256"))
    return Source(tree, outline.saved, photo, notice)


def _size(meta: Mapping[str, Any]) -> tuple[int, int] | None:
    """(H, W) of the image in a tree's meta; None if it has none."""
    image = meta.get("image")
    size = image.get("size") if isinstance(image, dict) else None
    if isinstance(size, list) and len(size) == 2 and all(type(side) is int for side in size):
        return size[0], size[1]
    return None
