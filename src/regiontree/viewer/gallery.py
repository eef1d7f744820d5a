"""A static site of many images: an index of thumbnails, a page each, and the trees to download.

It needs no server: links are relative, so it opens from a disk and from any web host. ::

    index.html          the thumbnails
    gallery.json        the manifest: which pages there are, and a digest of what each was made from
    pages/NAME.html     the page of an image, whole in itself
    thumbs/NAME.jpg
    trees/NAME.npz

NAME is the image's file name in lower-case ASCII letters, digits and hyphens, which every file
system and every URL can hold; where several images would share one, the later are numbered.

Every file is written under a temporary name and renamed, the manifest and the index after each
page: a run that breaks off leaves a site of the pages that are finished, and the next run makes the
others. A page is kept if its tree, its photograph, its neighbours and the options are the same.
Files are only ever removed by the names that the manifest holds, and a folder with anything in it
but no manifest is left alone.
"""

from __future__ import annotations

import hashlib
import json
import re
import shutil
import unicodedata
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from regiontree._version import __version__
from regiontree.errors import RegionTreeError, ViewError
from regiontree.forest.sources import Outline, Source
from regiontree.system.files import atomic_write, sha256_of
from regiontree.tree import RegionTree
from regiontree.viewer.index import Card, index_html, thumbnail
from regiontree.viewer.page import Links, page_html

__all__ = ["MANIFEST", "Gallery", "Written", "stems"]

MANIFEST = "gallery.json"
"""File of a gallery that says what its pages were made from."""
_FORMAT = "regiontree gallery"
_VERSION = 1
_STEM = re.compile("[a-z0-9]+(-[a-z0-9]+)*")
_LENGTH = 60  # of a name, before its number
_DEVICES = re.compile("con|prn|aux|nul|com[0-9]|lpt[0-9]")  # no file names on Windows


@dataclass(frozen=True, slots=True)
class Written:
    """What became of a site.

    Attributes
    ----------
    shown, made, removed : set of str
        Names of the images that it shows, of those whose page was made now, of those taken away.
    failed : list of str
        A sentence for each image that could not be shown.
    """

    shown: set[str]
    made: set[str]
    removed: set[str]
    failed: list[str]


def stems(files: Sequence[Path]) -> list[str]:
    """A name for each file, no two alike, that is safe on disks and in URLs.

    >>> stems([Path("Été à Rome.jpg"), Path("trip/été-a-rome.png"), Path("写真.jpg")])
    ['ete-a-rome', 'ete-a-rome-2', 'image']
    """
    found: dict[str, None] = {}
    for file in files:
        letters = unicodedata.normalize("NFKD", file.stem).encode("ascii", "ignore").decode()
        slug = re.sub("[^a-z0-9]+", "-", letters.lower())[:_LENGTH].strip("-") or "image"
        if _DEVICES.fullmatch(slug):
            slug += "-image"
        stem, number = slug, 1
        while stem in found:
            number += 1
            stem = f"{slug}-{number}"
        found[stem] = None
    return list(found)


class Gallery:
    """The folder of a site, new or made by an earlier run.

    Raises
    ------
    ViewError
        The folder holds something, but not a gallery that this version can read.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.pages = _read_manifest(folder)  # name -> digest of what the page was made from

    def tree(self, stem: str) -> Path:
        """Where the tree of an image lies."""
        return self.folder / f"trees/{stem}.npz"

    def claim(self, names: Collection[str]) -> None:
        """Enter names in the manifest before there is any file: what breaks off is ours, too."""
        self.pages = {**dict.fromkeys(names, ""), **self.pages}
        self._save()

    def write(
        self,
        outlines: Mapping[str, Outline],
        *,
        title: str,
        longest: int = 1280,
        overwrite: bool = False,
        keep: Collection[str] = (),
        on_page: Callable[[], None] = lambda: None,
    ) -> Written:
        """Bring the site up to date; an image that cannot be shown is left out and told of.

        Parameters
        ----------
        outlines
            The images by name, in order.
        title
            Of the index.
        longest
            Sides of the pictures in pixels at the most.
        overwrite
            Make every page again.
        keep
            Names whose files stay though the site does not show them: of images that failed.
        on_page
            Called after each image.

        Raises
        ------
        OSError
            The folder cannot be written; pages that are finished are there.
        """
        self.claim(outlines)
        made, failed = set(), {}
        for stem, links in _linked(list(outlines)).items():
            try:
                if self._update(stem, outlines[stem], links, longest, overwrite):
                    made.add(stem)
                    self._save()
                    self._write_index(outlines, title)
            except RegionTreeError as error:
                failed[stem] = str(error)
            on_page()
        if failed:  # once more without them: the pages beside them must not lead to them
            good = {stem: outline for stem, outline in outlines.items() if stem not in failed}
            rest = self.write(good, title=title, longest=longest, keep={*keep, *failed})
            said = [*failed.values(), *rest.failed]
            return Written(rest.shown, made - failed.keys() | rest.made, rest.removed, said)
        removed = set()
        if outlines:
            self._write_index(outlines, title)
            removed = self.pages.keys() - outlines.keys() - set(keep)
            for stem in removed:
                for file in self._files(stem):
                    file.unlink(missing_ok=True)
                del self.pages[stem]
            self._save()
        return Written(set(outlines), made, removed, [])

    def _update(
        self, stem: str, outline: Outline, links: Links, longest: int, overwrite: bool
    ) -> bool:
        """Make the files of an image unless they are up to date; whether they were made."""
        digest = _digest(outline, links, longest)
        page, picture, tree = self._files(stem)
        current = self.pages[stem] == digest and all(file.is_file() for file in self._files(stem))
        if current and not overwrite:
            return False
        source = Source(RegionTree.load(outline.path), outline.path, outline.photo, outline.notice)
        text = page_html(source, longest=longest, links=links)
        if outline.path.absolute() != tree.absolute():
            with outline.path.open("rb") as original, atomic_write(tree) as file:
                shutil.copyfileobj(original, file)
        for path, data in ((picture, thumbnail(source)), (page, text.encode())):
            with atomic_write(path) as file:
                file.write(data)
        self.pages[stem] = digest
        return True

    def _files(self, stem: str) -> tuple[Path, Path, Path]:
        """Page, thumbnail and tree of an image."""
        pictures, pages = self.folder / "thumbs", self.folder / "pages"
        return pages / f"{stem}.html", pictures / f"{stem}.jpg", self.tree(stem)

    def _write_index(self, outlines: Mapping[str, Outline], title: str) -> None:
        """The thumbnails of the pages that there are."""
        cards = [
            Card(outline, f"pages/{stem}.html", f"thumbs/{stem}.jpg")
            for stem, outline in outlines.items()
            if self.pages[stem]
        ]
        with atomic_write(self.folder / "index.html") as file:
            file.write(index_html(cards, title).encode())

    def _save(self) -> None:
        manifest = {"format": _FORMAT, "version": _VERSION, "pages": self.pages}
        with atomic_write(self.folder / MANIFEST) as file:
            file.write(json.dumps(manifest, indent=1).encode())


def _linked(names: Sequence[str]) -> dict[str, Links]:
    """What lies around each page."""
    pages = [None, *(f"{name}.html" for name in names), None]
    return {
        name: Links(
            index="../index.html", previous=pages[i], next=pages[i + 2], tree=f"../trees/{name}.npz"
        )
        for i, name in enumerate(names)
    }


def _digest(outline: Outline, links: Links, longest: int) -> str:
    """sha256 of all that a page is made from."""
    try:
        tree = sha256_of(outline.path)
        # Of an unchanged photograph, the tree's file holds the digest.
        photo = sha256_of(outline.photo) if outline.photo and outline.notice else None
    except OSError as error:
        raise ViewError(f"{outline.path}: cannot be shown ({error.strerror})") from error
    made_from = [__version__, longest, tree, photo, outline.notice, asdict(links)]
    return hashlib.sha256(json.dumps(made_from).encode()).hexdigest()


def _read_manifest(folder: Path) -> dict[str, str]:
    """Pages of the gallery in a folder, none if there is nothing in it."""
    if folder.exists() and not folder.is_dir():
        raise ViewError(f"{folder}: is a file; choose another name for the gallery's folder")
    file = folder / MANIFEST
    if not file.exists():
        # Hidden files may stay: of version control, of the system's own.
        if folder.exists() and any(not inside.name.startswith(".") for inside in folder.iterdir()):
            raise ViewError(
                f"{folder}: is not empty and no gallery (it has no {MANIFEST}); choose another "
                "folder or empty it"
            )
        return {}
    try:
        manifest = json.loads(file.read_text(encoding="utf-8"))
        if manifest["format"] != _FORMAT:
            raise ValueError(f"its format is {manifest['format']!r}")
        if manifest["version"] > _VERSION:
            raise ValueError("it was made by a later version; upgrade regiontree")
        pages = dict(manifest["pages"])
        if strange := [name for name in pages if not _STEM.fullmatch(name)]:
            raise ValueError(f"{strange[0]!r} is no name that a gallery gives")
    except (OSError, ValueError, LookupError, TypeError, RecursionError) as error:
        raise ViewError(f"{file}: is not the manifest of a gallery ({error})") from error
    return pages
