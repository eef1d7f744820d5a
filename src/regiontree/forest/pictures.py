"""Photographs as files for other programs, with the pixels of their trees.

A photograph is used as it is if any program sees the same pixels in its file. It becomes a PNG if
its file is of an unusual kind, if it says that it must be turned, if the tree shows some of its
bands or pages, or if the tree has another size.
"""

from __future__ import annotations

import io
import os
from dataclasses import dataclass
from pathlib import Path

from PIL import Image

from regiontree.errors import ExportError
from regiontree.forest.finding import read_photograph
from regiontree.forest.origin import recorded_name
from regiontree.forest.sources import Source
from regiontree.images import Choice, load_again
from regiontree.images.given import Encoded
from regiontree.references.reference import Reference
from regiontree.tree import RegionTree

__all__ = ["Picture", "picture_of_source", "plain_picture", "upright_image"]

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

    def data(self) -> bytes:
        """The bytes of its file.

        Raises
        ------
        OSError
            It cannot be read.
        """
        return self.source if isinstance(self.source, bytes) else self.source.read_bytes()

    def write(self, path: Path, *, link: bool) -> None:
        """Write it, as a link to the file if there is one and `link` is true.

        Raises
        ------
        OSError
            It cannot be written.
        """
        path.parent.mkdir(parents=True, exist_ok=True)
        if link and isinstance(self.source, Path):
            path.symlink_to(os.path.realpath(self.source))
        else:
            path.write_bytes(self.data())


def plain_picture(found: Path | Encoded, tree: RegionTree) -> Picture:
    """A photograph as its file if other programs see the same pixels there, else as PNG.

    Parameters
    ----------
    found
        The photograph of the tree, or its bytes.
    tree

    Raises
    ------
    ImageError
        It is damaged.
    """
    rows, columns = tree.shape
    suffix = Path(recorded_name(tree.meta)).suffix
    is_whole = Choice.of_meta(tree.meta) == Choice()
    if is_whole and suffix.lower() in _COMMON and _is_plain(found, (columns, rows)):
        return Picture(suffix, found.data if isinstance(found, Encoded) else found)
    encoded = io.BytesIO()
    upright_image(found, tree, tree.shape).save(encoded, format="PNG")
    return Picture(".png", encoded.getvalue())


def picture_of_source(source: Source) -> Picture:
    """The photograph of a tree that was opened.

    Raises
    ------
    ExportError
        It was not found, cannot be read, or has changed since the tree was made.
    ImageError, SourceError
        It is damaged, or cannot be read from where it lies.
    """
    if source.lack:
        raise ExportError(source.lack)
    if source.photo is None:
        raise ExportError(f"{source.saved}: {source.notice}")
    photo = source.photo
    photo = read_photograph(photo) if isinstance(photo, Reference) else photo
    return plain_picture(photo, source.tree)


def upright_image(found: Path | Encoded, tree: RegionTree, size: tuple[int, int]) -> Image.Image:
    """A photograph as its tree saw it, at a size (h, w).

    Raises
    ------
    ImageError
        It is damaged.
    """
    rgb = load_again(found, tree.meta, shape=tree.shape, cover=size).rgb
    picture, (rows, columns) = Image.fromarray(rgb), size
    if picture.size != (columns, rows):
        picture = picture.resize((columns, rows), Image.Resampling.LANCZOS)
    return picture


def _is_plain(found: Path | Encoded, size: tuple[int, int]) -> bool:
    """Whether any program sees the pixels of the tree in a file: (width, height) upright."""
    try:
        source = io.BytesIO(found.data) if isinstance(found, Encoded) else str(found)
        with Image.open(source) as image:
            upright = image.getexif().get(_ORIENTATION, 1) == 1
            return image.size == size and upright and image.mode in ("L", "RGB")
    except (OSError, ValueError, SyntaxError, Image.DecompressionBombError):
        return False
