"""A static site of many images: thumbnails, a page for each image, and trees to download.

The site needs no server. All links are relative, so it opens from a disk and from any web host. ::

    index.html          the thumbnails; index-2.html and so on if there are more than 500
    gallery.json        the manifest: the names of the pages, and a digest of the inputs of each
    pages/NAME.html     the page of an image; it needs no other file
    thumbs/NAME.jpg
    trees/NAME.npz
    pieces/NAME.npz     with pieces: the tree of connected pieces that the page shows

NAME is the image's file name in lower-case ASCII letters, digits and hyphens, which are allowed in
every file system and every URL. If several images would have the same name, the later ones get
numbers.

Every file is written under a temporary name and then renamed. The manifest and the index are
written when a run ends or is interrupted, and about once a second before that. So a run that stops
early leaves a site of the finished pages, and the next run makes the others. A page is not made
again if its tree, its photograph, its neighbours and the options are the same. Only files that the
manifest names are ever removed. A folder that is not empty and has no manifest is refused.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
import time
import unicodedata
from collections.abc import Callable, Collection, Mapping, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass, replace
from functools import partial
from pathlib import Path

from regiontree._version import __version__
from regiontree.errors import ViewError
from regiontree.forest.sources import Outline, open_found
from regiontree.system.faults import attempt, fault_text
from regiontree.system.files import atomic_write, sha256_of
from regiontree.system.paths import reason, require_writable
from regiontree.viewer.index import MANY, Card, index_html, parts_of, thumbnail
from regiontree.viewer.page import Links, page_html, tree_file

__all__ = ["FOLDERS", "MANIFEST", "Gallery", "Written", "stems"]

MANIFEST = "gallery.json"
"""The manifest: the file of a gallery with a digest of the inputs of each page."""
FOLDERS = ("pages", "thumbs", "trees", "pieces")
"""The folders of a gallery."""
_FORMAT = "regiontree gallery"
_VERSION = 1
_PAUSE = 1.0  # least seconds from one writing of manifest and index to the next
_PAUSES = 20  # times that one writing takes, for the same
_STEM = re.compile("[a-z0-9]+(-[a-z0-9]+)*")
_LENGTH = 60  # most letters of a name, without its number
_DEVICES = re.compile("con|prn|aux|nul|com[0-9]|lpt[0-9]")  # Windows allows no files of these names


@dataclass(frozen=True, slots=True)
class Written:
    """What was done to a site.

    Attributes
    ----------
    shown : set of str
        Names of the images that the site shows.
    made : set of str
        Names of the images whose page was made now.
    removed : set of str
        Names of the images that were removed.
    failed : list of str
        A sentence for each image that could not be shown.
    """

    shown: set[str]
    made: set[str]
    removed: set[str]
    failed: list[str]


@dataclass(frozen=True, slots=True)
class _Look:
    """What all pages of a run show: the options of :meth:`Gallery.write` that a page depends on."""

    longest: int
    pieces: bool
    min_area: int | None


def stems(files: Sequence[Path]) -> list[str]:
    """A different name for each file, safe on disks and in URLs.

    >>> stems([Path("Été à Rome.jpg"), Path("trip/été-a-rome.png"), Path("写真.jpg")])
    ['ete-a-rome', 'ete-a-rome-2', 'image']
    """
    found: dict[str, None] = {}
    numbers: dict[str, int] = {}  # the last number that each name got
    for file in files:
        letters = unicodedata.normalize("NFKD", file.stem).encode("ascii", "ignore").decode()
        slug = re.sub("[^a-z0-9]+", "-", letters.lower())[:_LENGTH].strip("-") or "image"
        if _DEVICES.fullmatch(slug):
            slug += "-image"
        stem, number = slug, numbers.get(slug, 1)
        while stem in found:
            number += 1
            stem = f"{slug}-{number}"
        numbers[slug] = number
        found[stem] = None
    return list(found)


class Gallery:
    """The folder of a site, new or made by an earlier run.

    Raises
    ------
    ViewError
        The folder is not empty and contains no gallery that this version can read.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        # For each name, a digest of the inputs of its page; and the number of pages of thumbnails.
        self.pages, self.n_indexes = _read_manifest(folder)
        self.next_save = 0.0  # seconds of the monotonic clock

    def tree(self, stem: str) -> Path:
        """The file of an image's tree."""
        return self.folder / f"trees/{stem}.npz"

    def claim(self, names: Collection[str]) -> None:
        """Enter names in the manifest before their files exist.

        So the next run knows the files of a run that stops early.
        """
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
        pieces: bool = False,
        min_area: int | None = None,
        on_page: Callable[[], None] = lambda: None,
    ) -> Written:
        """Update the site. An image that cannot be shown is left out and reported.

        Parameters
        ----------
        outlines
            The images by name, in order.
        title
            Title of the page of thumbnails.
        longest
            The longest side of the pictures in pixels.
        overwrite
            Whether to make every page again.
        keep
            Names of images that the site does not show but whose files stay, because they failed
            only this time.
        pieces, min_area
            Whether a page shows the tree divided into connected pieces: see
            :meth:`RegionTree.pieces`.
        on_page
            Called after each image.

        Raises
        ------
        OSError
            The folder cannot be written. The pages that are finished stay.
        """
        self.claim(outlines)
        made: set[str] = set()
        failed: dict[str, str] = {}
        try:
            look = _Look(longest, pieces, min_area if pieces else None)
            for stem, links in _linked(list(outlines), pieces).items():
                # An OSError is one of writing, which the other images would meet too.
                fresh = attempt(
                    partial(self._update, stem, outlines[stem], links, look, overwrite),
                    stop=(OSError,),
                )
                if isinstance(fresh, Exception):
                    failed[stem] = fault_text(fresh, str(outlines[stem].saved))
                elif fresh:
                    made.add(stem)
                    self._save_now_and_then(outlines, title)
                on_page()
        except BaseException:
            with suppress(OSError):  # such as the full disk that ended the run
                if made:
                    self._save_all(outlines, title)
            raise
        if failed:  # write again without these images: no page may have a link to them
            good = {stem: outline for stem, outline in outlines.items() if stem not in failed}
            rest = self.write(
                good, title=title, longest=longest, keep={*keep, *failed}, pieces=pieces,
                min_area=min_area,
            )  # fmt: skip
            said = [*failed.values(), *rest.failed]
            return Written(rest.shown, made - failed.keys() | rest.made, rest.removed, said)
        removed = set()
        if outlines:
            self._write_indexes(outlines, title)
            removed = self.pages.keys() - outlines.keys() - set(keep)
            for stem in removed:
                for file in (*self._files(stem), self._pieces(stem)):
                    file.unlink(missing_ok=True)
                del self.pages[stem]
            self._save()
        return Written(set(outlines), made, removed, [])

    def _update(
        self, stem: str, outline: Outline, links: Links, look: _Look, overwrite: bool
    ) -> bool:
        """Make the files of an image unless they are up to date. True if they were made."""
        # Without its photograph, a page that was made when the photograph was there stays.
        is_lost = outline.lack is not None and outline.photo is None
        known = replace(outline, notice=None) if is_lost else outline
        digest = _digest(known, links, look)
        page, picture, tree = self._files(stem)
        files = [page, picture, tree, *([self._pieces(stem)] if look.pieces else [])]
        current = self.pages[stem] == digest and all(file.is_file() for file in files)
        if current and not overwrite:
            return False
        if is_lost:  # the page would show a white picture
            raise ViewError(outline.lack)
        try:
            source = open_found(outline)
            if source.photo is None and source.lack is not None:
                raise ViewError(source.lack)
            own, shown = tree_file(source), source
            if look.pieces:
                divided = source.tree.pieces(look.min_area)
                shown = replace(source, tree=divided, is_saved=False)
            text = page_html(shown, longest=look.longest, links=links)
        except OSError as error:
            raise ViewError(f"{outline.saved}: cannot be shown ({reason(error)})") from error
        if outline.path is None or outline.path.absolute() != tree.absolute():
            with atomic_write(tree) as file:
                file.write(own)
        if look.pieces:
            with atomic_write(self._pieces(stem)) as file:
                file.write(tree_file(shown))
        else:  # of an earlier run
            self._pieces(stem).unlink(missing_ok=True)
        for path, data in ((picture, thumbnail(source)), (page, text.encode())):
            with atomic_write(path) as file:
                file.write(data)
        self.pages[stem] = digest
        return True

    def _files(self, stem: str) -> tuple[Path, Path, Path]:
        """The files of an image: page, thumbnail and tree."""
        pictures, pages = self.folder / "thumbs", self.folder / "pages"
        return pages / f"{stem}.html", pictures / f"{stem}.jpg", self.tree(stem)

    def _pieces(self, stem: str) -> Path:
        """The file of an image's tree of pieces."""
        return self.folder / f"pieces/{stem}.npz"

    def _write_indexes(self, outlines: Mapping[str, Outline], title: str) -> None:
        """Write the pages of thumbnails, with the images whose pages exist."""
        stems, parts = list(outlines), parts_of(len(outlines))
        for part in parts:
            cards = [
                Card(outlines[stem], f"pages/{stem}.html", f"thumbs/{stem}.jpg")
                for stem in stems[part.first : part.stop]
                if self.pages[stem]
            ]
            with atomic_write(self.folder / _index_name(part.number)) as file:
                file.write(index_html(cards, title, part=part, url_of=_index_name).encode())
        for number in range(len(parts) + 1, self.n_indexes + 1):  # of a larger site before
            (self.folder / _index_name(number)).unlink(missing_ok=True)
        self.n_indexes = len(parts)

    def _save_now_and_then(self, outlines: Mapping[str, Outline], title: str) -> None:
        """Write manifest and index, unless it was done a moment ago.

        The time between two writings grows with the time that one takes. So a site of many images
        takes little more than the time for its pages.
        """
        start = time.monotonic()
        if start >= self.next_save:
            self._save_all(outlines, title)
            end = time.monotonic()
            self.next_save = end + max(_PAUSE, _PAUSES * (end - start))

    def _save_all(self, outlines: Mapping[str, Outline], title: str) -> None:
        self._write_indexes(outlines, title)
        self._save()

    def _save(self) -> None:
        about = {"format": _FORMAT, "version": _VERSION, "indexes": self.n_indexes}
        manifest = {**about, "pages": self.pages}
        with atomic_write(self.folder / MANIFEST) as file:
            file.write(json.dumps(manifest, indent=1).encode())


def _linked(names: Sequence[str], pieces: bool) -> dict[str, Links]:
    """The links of each page."""
    pages = [None, *(f"{name}.html" for name in names), None]
    return {
        name: Links(
            index=f"../{_index_name(i // MANY + 1)}",
            previous=pages[i],
            next=pages[i + 2],
            tree=f"../{'pieces' if pieces else 'trees'}/{name}.npz",
        )
        for i, name in enumerate(names)
    }


def _index_name(number: int) -> str:
    """The file of a page of thumbnails."""
    return "index.html" if number == 1 else f"index-{number}.html"


def _digest(outline: Outline, links: Links, look: _Look) -> str:
    """The SHA-256 of all inputs of a page."""
    try:
        tree = outline.saved.digest()
        # If there is no notice, the photograph is unchanged, and the tree's file has its digest.
        known = outline.photo
        photo = sha256_of(known) if isinstance(known, Path) and outline.notice else None
    except OSError as error:
        raise ViewError(f"{outline.saved}: cannot be shown ({error.strerror})") from error
    made_from = [__version__, look.longest, tree, photo, outline.notice, asdict(links)]
    if look.pieces:
        made_from.append(look.min_area)
    return hashlib.sha256(json.dumps(made_from).encode()).hexdigest()


def _read_manifest(folder: Path) -> tuple[dict[str, str], int]:
    """The pages of the gallery in a folder, and how many pages of thumbnails it has."""
    if os.path.exists(folder) and not os.path.isdir(folder):
        raise ViewError(f"{folder}: is a file; choose another name for the gallery's folder")
    require_writable(folder, ViewError)
    file = folder / MANIFEST
    if not os.path.lexists(file):
        # Hidden files are ignored, because they belong to version control or to the system.
        if os.path.isdir(folder) and any(name[0] != "." for name in os.listdir(folder)):
            raise ViewError(
                f"{folder}: is not empty and is not a gallery (it has no {MANIFEST}); choose "
                "another folder or empty this one"
            )
        return {}, 0
    try:
        manifest = json.loads(file.read_text(encoding="utf-8"))
        if manifest["format"] != _FORMAT:
            raise ValueError(f"its format is {manifest['format']!r}")
        if manifest["version"] > _VERSION:
            raise ValueError("it was made by a later version; upgrade regiontree")
        pages = dict(manifest["pages"])
        indexes = min(int(manifest.get("indexes", 1)), len(parts_of(len(pages))))
        if strange := [name for name in pages if not _STEM.fullmatch(name)]:
            raise ValueError(f"{strange[0]!r} is not a name that a gallery uses")
    except (OSError, ValueError, LookupError, TypeError, RecursionError) as error:
        raise ViewError(f"{file}: is not the manifest of a gallery ({error})") from error
    return pages, indexes
