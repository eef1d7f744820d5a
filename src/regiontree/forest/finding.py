"""Where the photograph of a saved tree lies, and whether it is the one that the tree was made from.

A user may name files and folders (``--images``). They are searched first, by the photograph's file
name. Then come the places that the records of the tree name: see
:meth:`~regiontree.forest.saved.SavedTree.places`.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import chain
from pathlib import Path
from typing import Any, TypeAlias

from regiontree.errors import RegionTreeError, SettingsError
from regiontree.forest.origin import recorded_name
from regiontree.forest.saved import SavedTree
from regiontree.images.given import Encoded
from regiontree.references.addresses import without_login
from regiontree.references.reference import Reference
from regiontree.system.files import sha256_of
from regiontree.system.inputs import FEATURE_SUFFIXES
from regiontree.system.paths import path_problem

__all__ = [
    "Images",
    "Photograph",
    "Places",
    "examined",
    "find_photograph",
    "lack_of",
    "looked_at",
    "read_photograph",
    "require_images",
]

_DEPTH = 16  # most folders of a recorded path that are looked for
Photograph: TypeAlias = Path | Encoded | Reference
"""A photograph that was found.

A file of this machine, bytes that were read from elsewhere, or a reference to what lies elsewhere
and was not read.
"""


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


def find_photograph(
    saved: SavedTree,
    meta: Mapping[str, Any],
    images: Images,
    *,
    fetch: bool = True,
    verify: bool = True,
) -> tuple[Photograph | None, str | None]:
    """The photograph that a tree's meta names, and a sentence for the user.

    Parameters
    ----------
    saved, meta
        The tree, and its meta.
    images
        Where to look first.
    fetch
        Whether to read a photograph that lies elsewhere. If not, its reference is the result.
    verify
        Whether to compare digests. If not, the first file of the right name is the result.

    Returns
    -------
    photograph : Photograph or None
        None if there is no readable file of its name.
    notice : str or None
        What is wrong with it: it is missing, not readable or changed.
    """
    name = Path(recorded_name(meta)).name
    if not name:
        return None, "The tree does not say which photograph it was made from."
    if Path(name).suffix.lower() in FEATURE_SUFFIXES:
        return None, f"The tree was made from the features in {name}, without a photograph."
    places = dict.fromkeys(_places(saved, meta, name, images))
    for place in places:  # the first, unless it is to be examined
        if fetch if isinstance(place, Reference) else verify:
            break
        return place, None
    return examined(places, name, meta["image"].get("sha256"))


def examined(
    places: Iterable[Path | Reference], name: str, digest: object
) -> tuple[Photograph | None, str | None]:
    """The photograph with the recorded digest among some places, and a sentence for the user.

    Parameters
    ----------
    places
        Where it may be, the likeliest first. Files of this machine exist.
    name
        File name of the photograph.
    digest
        Recorded sha256 of its bytes; None if there is no record.

    Returns
    -------
    photograph, notice
        As of :func:`find_photograph`.
    """
    notice = f"The photograph {name} was not found."
    likeliest: Photograph | None = None
    for place in places:
        try:
            photograph, found = looked_at(place)
        except OSError as error:
            notice = f"The photograph {name} cannot be read ({error.strerror})."
            continue
        except RegionTreeError as error:
            said = str(error)
            if isinstance(place, Reference):  # a page must not show the address
                for address in (place.address, without_login(place.address)):
                    said = said.replace(f"{address}: ", "").replace(address, name)
            notice = f"The photograph {name} cannot be read ({said})."
            continue
        if found == digest:
            return photograph, None
        likeliest = likeliest or photograph
    if likeliest is not None:
        notice = f"{name} is not the file that the tree was made from: it has changed since."
        if digest is None:
            notice = f"The tree does not say whether this is the {name} that it was made from."
    return likeliest, notice


def lack_of(
    saved: SavedTree, meta: Mapping[str, Any], photo: Photograph | None, notice: str | None
) -> str | None:
    """What is wrong with the photograph that a tree names, and what the user can do.

    None if the tree names no photograph, or if nothing says that the photograph has changed.
    """
    name = recorded_name(meta)
    if notice is None or not name or Path(name).suffix.lower() in FEATURE_SUFFIXES:
        return None
    if photo is not None and meta["image"].get("sha256") is None:
        return None
    return f"{saved}: {notice} Say where the photograph is with --images FOLDER."


def read_photograph(reference: Reference) -> Encoded:
    """The bytes of a photograph that lies elsewhere: in an archive, or at a URL.

    Raises
    ------
    SourceError
        It cannot be read.
    """
    from regiontree.references.reading import read_bytes

    return Encoded(read_bytes(reference), reference.name, reference.address)


def looked_at(place: Path | Reference) -> tuple[Photograph, str]:
    """The photograph at a place, and the sha256 of its bytes.

    Raises
    ------
    OSError, SourceError
        It cannot be read.
    """
    if isinstance(place, Path):
        return place, sha256_of(place)
    read = read_photograph(place)
    return read, hashlib.sha256(read.data).hexdigest()


def _places(
    saved: SavedTree, meta: Mapping[str, Any], name: str, images: Images
) -> Iterator[Path | Reference]:
    """Where the photograph may be, the most likely first. Files of this machine exist."""
    given = images if isinstance(images, Places) else Places.of(images)
    for candidate in chain(given.named(name, saved.below(meta)), saved.places(meta)):
        # Path.is_file raises an error for some impossible names.
        if isinstance(candidate, Reference) or os.path.isfile(candidate):
            yield candidate
