"""The photographs themselves, for data sets that contain them: where they lie, and their copies."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path, PurePosixPath

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from regiontree.errors import CollectionError
from regiontree.forest.finding import Places, examined
from regiontree.forest.origin import path_below, recorded_name
from regiontree.forest.photographs import places_of
from regiontree.forest.pictures import Picture, plain_picture, upright_image
from regiontree.forest.row import Row
from regiontree.images.given import Encoded
from regiontree.references.reference import Reference
from regiontree.tree import RegionTree

__all__ = ["photograph_pixels", "picture_of", "upright_picture"]


def picture_of(row: Row, tree: RegionTree, address: str, images: Places) -> Picture:
    """The photograph, as its file if other programs see the same pixels there, else as PNG.

    See :mod:`regiontree.forest.pictures`.

    Parameters
    ----------
    row, tree
        The photograph's row and its tree.
    address
        Where the trees lie.
    images
        Where the user says that photographs lie.

    Raises
    ------
    CollectionError
        It is not found, cannot be read, or has changed since its tree was made.
    ImageError
        It is damaged.
    """
    return plain_picture(_found(row, tree, address, images), tree)


def upright_picture(row: Row, tree: RegionTree, address: str, images: Places) -> Image.Image:
    """The photograph of a row, as its tree saw it and of its size.

    Raises
    ------
    CollectionError, ImageError
        As :func:`picture_of`.
    """
    return upright_image(_found(row, tree, address, images), tree, tree.shape)


def photograph_pixels(
    row: Row, tree: RegionTree, address: str, images: Places, size: tuple[int, int]
) -> NDArray[np.uint8]:
    """The photograph of a row, as its tree saw it, at a size (h, w): (h, w, 3) uint8.

    Raises
    ------
    CollectionError, ImageError
        As :func:`picture_of`.
    """
    return np.asarray(upright_image(_found(row, tree, address, images), tree, size))


def _found(row: Row, tree: RegionTree, address: str, images: Places) -> Path | Encoded:
    """The file of a photograph, which has not changed."""
    name = Path(recorded_name(tree.meta)).name
    if not name:
        raise CollectionError(f"{row.id}: its tree does not say which photograph it was made from")
    digest = tree.meta["image"].get("sha256")
    places = dict.fromkeys(_places(row, tree, name, address, images))
    found, notice = examined(places, name, digest)
    if found is None or (digest is not None and notice is not None):
        raise CollectionError(
            f"{row.id}: {notice} Say where the photograph is with --images FOLDER."
        )
    assert not isinstance(found, Reference)
    return found


def _places(
    row: Row, tree: RegionTree, name: str, address: str, images: Places
) -> Iterator[Path | Reference]:
    """Where the photograph may be, the likeliest first. Files of this machine exist."""
    below = path_below(tree.meta) or row.id
    beside = Path(address, *PurePosixPath(row.id).parts[:-1], name)
    for place in (
        *images.named(name, below),
        *places_of(row.id, row.reference or "", name, address),
        beside,
    ):
        if isinstance(place, Reference) or os.path.isfile(place):
            yield place
