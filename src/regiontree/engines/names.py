"""The name of each photograph's tree in the output folder, the same in every run.

A tree belongs to the photograph that its records name (:mod:`regiontree.forest.origin`). A
photograph that has a tree keeps it under its name, whatever else is in the folder or among the
inputs. A photograph without a tree gets the first of these names that no file has and that no other
photograph of the run wants::

    photo.npz                   of photo.jpg
    photo.jpg.npz
    folder/photo.jpg.npz        with one more folder, then with two
    photo.jpg.1a2b3c4d.npz      with the start of the photograph's sha256, then with a number

The first is left out for ``photo.clip.jpg``: files that end in ``.clip.npz`` are trees of clips.

So two photographs that would both be ``photo.npz`` both keep their suffix if they come together. If
the second comes later, only the second does.
"""

from __future__ import annotations

import os
import re
import zipfile
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from enum import Enum, auto
from functools import cache
from itertools import count
from pathlib import Path
from typing import Any

from regiontree.errors import TreeFileError
from regiontree.forest.origin import is_place, recorded_name
from regiontree.forest.summary import photographs_of
from regiontree.system.files import sha256_of
from regiontree.system.inputs import real_name
from regiontree.system.paths import CLIP_SUFFIX, MAX_NAME_BYTES, cut_name, suffix_of
from regiontree.tree.file import read_meta

__all__ = ["Owner", "Tree", "is_tree", "name_trees", "names_for", "owner_of"]

_MORE_FOLDERS = 2


class Owner(Enum):
    """Whose file has the name of a tree."""

    NOBODY = auto()  # there is no file
    PHOTOGRAPH = auto()  # the tree was made from this photograph, or from an earlier state of it
    OTHER = auto()  # the tree was made from another photograph
    DAMAGED = auto()  # the file was a tree once, and no record says of another photograph
    STRANGER = auto()  # the file is no tree


@dataclass(frozen=True, slots=True)
class Tree:
    """The file that has the name of a photograph's tree.

    Attributes
    ----------
    owner : Owner
    meta : dict
        Meta of the tree; empty if it has none.
    error : str or None
        Why the file cannot be read as a tree.
    is_own : bool
        Whether a record names this photograph. So a damaged tree is made again in its place.
    """

    owner: Owner
    meta: dict[str, Any]
    error: str | None = None
    is_own: bool = False


def is_tree(file: Path) -> bool:
    """Whether a file is a tree file that this version reads."""
    try:
        read_meta(file)
    except TreeFileError:
        return False
    return True


def owner_of(tree: Path, photo: Path) -> Tree:
    """Whether a file is the tree of a photograph.

    The records say so. If they name no photograph that exists, the photograph must have the
    recorded name and sha256: then it was moved.

    Raises
    ------
    OSError
        The photograph cannot be read.
    """
    if not os.path.lexists(tree):
        return Tree(Owner.NOBODY, {})
    found = _recorded(tree, real_name(photo))
    if found.owner is not Owner.NOBODY:
        return found
    return Tree(Owner.PHOTOGRAPH if _is_moved(found.meta, photo) else Owner.OTHER, found.meta)


def _recorded(tree: Path, photo: str) -> Tree:
    """The owner of a file by the records alone. NOBODY: they name no photograph that exists."""
    try:
        meta = read_meta(tree)
    except TreeFileError as error:
        if not _was_tree(tree):
            return Tree(Owner.STRANGER, {}, str(error))
        sources = list(photographs_of(tree))
        is_own = any(real_name(source) == photo for source in sources)
        others = not is_own and any(os.path.isfile(source) for source in sources)
        return Tree(Owner.OTHER if others else Owner.DAMAGED, {}, str(error), is_own)
    said = is_place(tree, meta, photo)
    owner = {True: Owner.PHOTOGRAPH, False: Owner.OTHER, None: Owner.NOBODY}[said]
    return Tree(owner, meta, is_own=said is True)


def _was_tree(file: Path) -> bool:
    """Whether a file that cannot be read is what is left of a tree: empty, or a broken archive."""
    if not os.path.isfile(file) or zipfile.is_zipfile(file):
        return False
    try:
        with file.open("rb") as opened:
            return opened.read(2) in (b"", b"P", b"PK")
    except OSError:
        return False


def _is_moved(meta: dict[str, Any], photo: Path) -> bool:
    """Whether a photograph has the name and the sha256 that a tree records."""
    if recorded_name(meta) != photo.name:
        return False
    return bool(meta["image"].get("sha256") == sha256_of(photo))


def names_for(photo: Path, root: Path) -> Iterator[Path]:
    """The names that a photograph's tree can have in the output folder, without end.

    Parameters
    ----------
    photo
        The photograph.
    root
        The folder that it was found from.

    Raises
    ------
    OSError
        The photograph cannot be read. Only the names with the sha256 need it.
    """
    for name in _short_names(photo, root):
        if len(os.fsencode(name.name)) <= MAX_NAME_BYTES:
            yield name
    below = photo.relative_to(root)
    mark = sha256_of(photo)[:8]
    for number in count(1):
        end = f".{mark}.npz" if number == 1 else f".{mark}-{number}.npz"
        yield below.with_name(_cut(below.name, end) + end)


def _short_names(photo: Path, root: Path) -> Iterator[Path]:
    below = photo.relative_to(root)
    # A name that ends like that of a clip's tree would be left out of searches for trees.
    if suffix_of(short := below.with_suffix(".npz")) != CLIP_SUFFIX:
        yield short
    whole = below.with_name(below.name + ".npz")
    yield whole
    for folder in Path(os.path.abspath(root)).parts[1:][: -_MORE_FOLDERS - 1 : -1]:
        whole = folder / whole
        yield whole


def _cut(name: str, end: str) -> str:
    """As much of a name as a file name holds together with `end`."""
    return cut_name(name, MAX_NAME_BYTES - len(end))


def name_trees(photos: Sequence[tuple[Path, Path]], out: Path) -> list[Path]:
    """The file of each photograph's tree. No two are the same.

    Parameters
    ----------
    photos
        Photographs, each with the folder that it was found from.
    out
        Folder for the trees.
    """
    return _Naming(photos, out).names()


class _Naming:
    """The names of the trees of one run."""

    def __init__(self, photos: Sequence[tuple[Path, Path]], out: Path) -> None:
        self.photos = photos
        self.out = out
        folders: dict[str, str] = {}
        self.real = [real_name(file, folders) for file, _ in photos]
        self.folders: dict[str, dict[str, str]] = {}  # the files in each folder of trees
        self.found: dict[int, Path] = {}
        self.taken: set[str] = set()

    def names(self) -> list[Path]:
        strays: dict[int, list[tuple[Path, Tree]]] = {}  # trees whose photograph is gone
        for i in range(len(self.photos)):
            for file in self._possible(i):
                tree = self._tree(file, self.real[i])
                if tree.is_own and self._take(i, file):
                    break
                if tree.owner is Owner.NOBODY:
                    strays.setdefault(i, []).append((file, tree))
        for i, files in strays.items():
            for file, tree in files:
                if i not in self.found and _moved_here(tree, self.photos[i][0]):
                    self._take(i, file)
        self._give_new_names()
        return [self.found[i] for i in range(len(self.photos))]

    def _take(self, i: int, file: Path) -> bool:
        """Give the photograph a file for its tree, unless another photograph has it."""
        name = os.path.normcase(file)
        if name in self.taken:
            return False
        self.taken.add(name)
        self.found[i] = file
        return True

    def _possible(self, i: int) -> Iterator[Path]:
        """The files that may be the tree of a photograph, by their names.

        An earlier run may have found the photograph from another folder. So the names have any
        number of the photograph's folders.
        """
        file, root = self.photos[i]
        places = self._places(file.relative_to(root).parent, os.path.dirname(self.real[i]))
        if not places:
            return
        short = [os.path.normcase(f"{name}.npz") for name in (file.stem, file.name)]
        stem = os.path.normcase(_cut(file.name, ".12345678.npz"))
        for folder in places:
            there = self._files_in(folder)
            yield from (folder / there[name] for name in short if name in there)
            yield from (folder / name for name in self._marked(folder).get(stem, ()))

    @cache  # noqa: B019 - the object lives for one run
    def _places(self, below: Path, real: str) -> list[Path]:
        """The folders that may hold the trees of the photographs of one folder."""
        folders = [self.out / place for place in dict.fromkeys([below, *_ends(Path(real))])]
        return [folder for folder in folders if self._files_in(folder)]

    def _files_in(self, folder: Path) -> dict[str, str]:
        """The files with the suffix of trees in a folder, by their names in the system's case."""
        text = str(folder)
        if text not in self.folders:
            try:
                names = [name for name in os.listdir(text) if name.lower().endswith(".npz")]
            except (OSError, ValueError):
                names = []
            self.folders[text] = {os.path.normcase(name): name for name in sorted(names)}
        return self.folders[text]

    @cache  # noqa: B019 - the object lives for one run
    def _marked(self, folder: Path) -> dict[str, list[str]]:
        """The files in a folder whose names hold the start of a sha256, by their photographs."""
        found: dict[str, list[str]] = {}
        for name, spelt in self._files_in(folder).items():
            if match := _MARKED.fullmatch(name):
                found.setdefault(match[1], []).append(spelt)
        return found

    @cache  # noqa: B019 - the object lives for one run
    def _tree(self, file: Path, photo: str) -> Tree:
        return _recorded(file, photo)

    def _give_new_names(self) -> None:
        """Name the trees of the photographs that have none."""
        coming = {
            i: names_for(*self.photos[i]) for i in range(len(self.photos)) if i not in self.found
        }
        for turn in count():
            wanted = {}
            for i, names in coming.items():
                try:
                    wanted[i] = self.out / next(names)
                except OSError:  # reading the photograph will say what is wrong
                    wanted[i] = self.out / f"{turn}.npz"
            if not wanted:
                return
            often = Counter(os.path.normcase(name) for name in wanted.values())
            for i, name in wanted.items():
                # Photographs with the same bytes want the same names to the end.
                alone = often[os.path.normcase(name)] == 1 or turn > _MORE_FOLDERS + 2
                free = alone and self._is_free(name, self.real[i], first=turn == 0)
                if free and self._take(i, name):
                    del coming[i]

    def _is_free(self, name: Path, photo: str, *, first: bool) -> bool:
        """Whether a tree may get the name. The user must move a stranger's file off the first."""
        if os.path.normcase(name.name) not in self._files_in(name.parent):
            return True
        owner = self._tree(name, photo).owner
        return owner is Owner.DAMAGED or (first and owner is Owner.STRANGER)


_MARKED = re.compile(r"(.+)\.[0-9a-f]{8}(?:-\d+)?\.npz")


def _moved_here(tree: Tree, photo: Path) -> bool:
    try:
        return _is_moved(tree.meta, photo)
    except OSError:  # reading the photograph will say what is wrong
        return False


def _ends(folder: Path) -> Iterator[Path]:
    """The folder's path in shorter and shorter ends: ``.``, ``c``, ``b/c``, ``a/b/c``."""
    end = Path()
    yield end
    for part in reversed(folder.parts[1:]):
        end = part / end
        yield end
