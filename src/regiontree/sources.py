"""A saved tree and the photograph it was made from, found again.

A tree file records the photograph's name and the sha256 of its bytes, not where it lies: trees
travel. :func:`open_source` looks for a file of that name in the folders it is told, beside the tree
and where the ``summary.json`` of a batch says it was, and prefers one with the same digest. A
photograph that is gone or has changed is no error: the tree is whole without it, and ``notice``
says in a sentence what is wrong.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from regiontree.errors import TreeFileError
from regiontree.files import sha256_of
from regiontree.images import MAX_PIXELS, load_image
from regiontree.inputs import SUMMARY_NAME, find_files
from regiontree.tree import RegionTree

__all__ = ["TREE_SUFFIX", "Source", "find_trees", "open_source"]

TREE_SUFFIX = ".npz"


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
        What to tell the user of the photograph: not found, changed since, of another shape.
    """

    tree: RegionTree
    path: Path
    photo: Path | None = None
    notice: str | None = None

    @property
    def name(self) -> str:
        """The photograph's file name; the tree's if it has none."""
        return str(self.tree.meta.get("image", {}).get("name") or self.path.name)

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


def open_source(path: str | Path, *, images: Sequence[str | Path] = ()) -> Source:
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
        The tree cannot be read: see :func:`regiontree.treefile.load_tree`.
    """
    path = Path(path)
    tree = RegionTree.load(path)
    made_from = tree.meta.get("image", {})
    name, digest = made_from.get("name"), made_from.get("sha256")
    if not isinstance(name, str) or not name:
        return Source(tree, path, None, "The tree does not say what photograph it was made from.")
    places = list(dict.fromkeys(_places(path, Path(name).name, images)))
    if not places:
        return Source(tree, path, None, f"The photograph {name} was not found.")
    for place in places:
        if sha256_of(place) == digest:
            return Source(tree, path, place)
    changed = f"{name} is not the file that the tree was made from: it has changed since."
    return Source(tree, path, places[0], changed)


def _places(tree: Path, name: str, images: Sequence[str | Path]) -> Iterator[Path]:
    """Files that may be the photograph, the likeliest first."""
    for given in map(Path, images):
        candidate = given if given.is_file() else given / name
        if candidate.name == name and candidate.is_file():
            yield candidate
    if (tree.parent / name).is_file():
        yield tree.parent / name
    yield from _in_summary(tree)


def _in_summary(tree: Path) -> Iterator[Path]:
    """Where the summary of the batch that made the tree, in its folder or above, says it was."""
    for folder in tree.absolute().parents:
        summary = folder / SUMMARY_NAME
        if not summary.is_file():
            continue
        try:
            files = json.loads(summary.read_text(encoding="utf-8"))["files"]
            pairs = [(file["source"], file["output"]) for file in files]
        except (OSError, ValueError, LookupError, TypeError):
            return  # of another program, or damaged
        for source, output in pairs:
            if isinstance(output, str) and isinstance(source, str):
                same = Path(output).absolute() == tree.absolute()
                if same and Path(source).is_file():
                    yield Path(source)
        return
