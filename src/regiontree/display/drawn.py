"""The pictures of a tree beside its file: which are there, and drawing those that are missing.

Each picture records the sha256 of the tree's file in a text of its PNG. So a picture of an earlier
tree is told from one of this tree. A picture without such a record, of an older version, counts as
one of this tree.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

from PIL import Image

from regiontree.display.pictures import picture_names, picture_path, save_pictures
from regiontree.images.pillow import DAMAGE
from regiontree.system.files import sha256_of
from regiontree.tree import RegionTree

__all__ = ["draw", "draw_missing"]

MARK = "regiontree"
"""Key of the text in a PNG that holds the sha256 of the tree's file."""
_END = b"IEND\xaeB`\x82"  # the last chunk of every PNG, with its checksum


def draw(tree: RegionTree, file: Path, photo: Any) -> None:
    """Draw every picture of a tree beside its file. Cuts of an earlier tree are removed.

    Parameters
    ----------
    tree, file
        The tree, and the file that holds it.
    photo
        As `image` of :func:`regiontree.display.pictures.save_pictures`.

    Raises
    ------
    ImageError
        The photograph cannot be read.
    OSError
        A picture cannot be written.
    """
    stem, digest = file.with_suffix(""), sha256_of(file)
    written = {path.name for path in save_pictures(tree, photo, stem, texts={MARK: digest})}
    beside = file.parent.iterdir()
    for old in [path for path in beside if _is_cut(path, stem)]:
        if old.name not in written and _text(old) not in (None, digest):
            old.unlink(missing_ok=True)


def draw_missing(file: Path, photo: Any) -> bool:
    """Draw the pictures of a finished tree that are not there; whether there were any.

    If all pictures are there, only the structure of the tree is read.

    Parameters
    ----------
    file, photo
        As for :func:`draw`.

    Raises
    ------
    TreeFileError
        The tree cannot be read.
    ImageError, OSError
        As for :func:`draw`.
    """
    stem, digest = file.with_suffix(""), sha256_of(file)
    names = picture_names(RegionTree.load_structure(file))
    missing = [name for name in names if not _shows(picture_path(stem, name), digest)]
    if missing:
        save_pictures(RegionTree.load(file), photo, stem, only=missing, texts={MARK: digest})
    return bool(missing)


def _shows(picture: Path, digest: str) -> bool:
    """Whether a picture is there and shows the tree."""
    return (
        os.path.isfile(picture)
        and _is_whole(picture)
        and _text(picture, otherwise="") in (None, digest)
    )


def _is_whole(picture: Path) -> bool:
    """Whether the end of a PNG is there: the copy of a full disk or of a broken line has none."""
    try:
        with picture.open("rb") as file:
            file.seek(-len(_END), os.SEEK_END)
            return file.read() == _END
    except OSError:
        return False


def _text(picture: Path, otherwise: str | None = None) -> str | None:
    """What a picture records; None without a record, `otherwise` if it is no picture."""
    try:
        with Image.open(picture) as opened:
            text = opened.info.get(MARK)
    except (Image.DecompressionBombError, *DAMAGE):
        return otherwise
    return text if isinstance(text, str) else None


def _is_cut(path: Path, stem: Path) -> bool:
    number = path.name.rpartition(".cut-")[2].removesuffix(".png")
    return number.isdecimal() and path == picture_path(stem, f"cut-{number}")
