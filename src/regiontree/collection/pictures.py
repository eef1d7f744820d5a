"""The photographs themselves, for data sets that contain them: where they lie, and their copies."""

from __future__ import annotations

import io
import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from regiontree.collection.photograph import ClassedPhotograph
from regiontree.errors import CollectionError
from regiontree.forest.finding import Places, examined
from regiontree.forest.origin import path_below, recorded_name
from regiontree.forest.photographs import places_of
from regiontree.forest.row import Row
from regiontree.images import Choice, load_again
from regiontree.images.given import Encoded
from regiontree.references.reference import Reference
from regiontree.tree import RegionTree

__all__ = ["Picture", "photograph_pixels", "picture_of", "upright_picture"]

# What programs that train networks read.
_COMMON = (".jpg", ".jpeg", ".png", ".bmp", ".tif", ".tiff", ".webp")
_ORIENTATION = 0x0112  # tag of EXIF


@dataclass(frozen=True, slots=True)
class Picture:
    """A photograph whose pixels are those of its tree.

    Attributes
    ----------
    suffix : str
        Ending of its file's name.
    source : Path or bytes
        The file, or the bytes of one.
    """

    suffix: str
    source: Path | bytes

    def write(self, path: Path, *, link: bool) -> None:
        """Write it, as a link to the file if there is one and `link` is true.

        Raises
        ------
        OSError
            It cannot be written.
        """
        path.parent.mkdir(parents=True, exist_ok=True)
        if isinstance(self.source, bytes):
            path.write_bytes(self.source)
        elif link:
            path.symlink_to(os.path.realpath(self.source))
        else:
            path.write_bytes(self.source.read_bytes())


def picture_of(photo: ClassedPhotograph, address: str, images: Places) -> Picture:
    """The photograph, as its file if other programs see the same pixels there, else as PNG.

    A file is not used as it is if it is of an unusual kind, if it says that it must be turned, if
    the tree shows some of its bands or pages, or if the tree has another size.

    Parameters
    ----------
    photo
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
    rows, columns = photo.tree.shape
    found = _found(photo.row, photo.tree, address, images)
    suffix = Path(recorded_name(photo.tree.meta)).suffix
    is_whole = Choice.of_meta(photo.tree.meta) == Choice()
    if is_whole and suffix.lower() in _COMMON and _is_plain(found, (columns, rows)):
        return Picture(suffix, found.data if isinstance(found, Encoded) else found)
    encoded = io.BytesIO()
    _upright(found, photo.tree, photo.tree.shape).save(encoded, format="PNG")
    return Picture(".png", encoded.getvalue())


def upright_picture(row: Row, tree: RegionTree, address: str, images: Places) -> Image.Image:
    """The photograph of a row, as its tree saw it and of its size.

    Raises
    ------
    CollectionError, ImageError
        As :func:`picture_of`.
    """
    return _upright(_found(row, tree, address, images), tree, tree.shape)


def photograph_pixels(
    row: Row, tree: RegionTree, address: str, images: Places, size: tuple[int, int]
) -> NDArray[np.uint8]:
    """The photograph of a row, as its tree saw it, at a size (h, w): (h, w, 3) uint8.

    Raises
    ------
    CollectionError, ImageError
        As :func:`picture_of`.
    """
    return np.asarray(_upright(_found(row, tree, address, images), tree, size))


def _upright(found: Path | Encoded, tree: RegionTree, size: tuple[int, int]) -> Image.Image:
    rgb = load_again(found, tree.meta, shape=tree.shape, cover=size).rgb
    picture, (rows, columns) = Image.fromarray(rgb), size
    if picture.size != (columns, rows):
        picture = picture.resize((columns, rows), Image.Resampling.LANCZOS)
    return picture


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


def _is_plain(found: Path | Encoded, size: tuple[int, int]) -> bool:
    """Whether any program sees the pixels of the tree in a file: (width, height) upright."""
    try:
        source = io.BytesIO(found.data) if isinstance(found, Encoded) else str(found)
        with Image.open(source) as image:
            upright = image.getexif().get(_ORIENTATION, 1) == 1
            return image.size == size and upright and image.mode in ("L", "RGB")
    except (OSError, ValueError, SyntaxError, Image.DecompressionBombError):
        return False
