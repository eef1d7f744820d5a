"""The commands ``view`` and ``gallery``: pages of photographs and trees.

Photographs are parsed first. A photograph whose tree is among the inputs is not parsed again.
`view` keeps new trees in a temporary folder and deletes them when it ends. `gallery` keeps new
trees in the site, where the next run finds them.
"""

from __future__ import annotations

import os
import re
import tempfile
from collections.abc import Callable, Mapping, Sequence
from contextlib import nullcontext
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

from regiontree.display.pictures import picture_path
from regiontree.errors import (
    BackboneError,
    SettingsError,
    ViewError,
    check_number,
)
from regiontree.forest.sources import (
    TREE_SUFFIX,
    Outline,
    Places,
    open_outline,
    open_source,
    require_images,
)
from regiontree.images import image_suffixes
from regiontree.system.faults import attempt, fault_text
from regiontree.system.files import atomic_write
from regiontree.system.inputs import search
from regiontree.system.paths import input_problem, reason, require_writable
from regiontree.system.progress import progress_bar
from regiontree.system.signals import interruptible
from regiontree.system.temporary import remove_leftovers
from regiontree.system.terminal import one_line, say
from regiontree.viewer.gallery import FOLDERS, MANIFEST, Gallery, stems
from regiontree.viewer.page import page_html
from regiontree.viewer.server import check_installed, listen, serve

__all__ = ["gallery", "view"]

_DRAWN = re.compile(r"(.+)\.(hierarchy|cuts|cut-\d{3,})\.png")  # what segment --pictures writes
_LACKS = 5  # most sentences about photographs on the terminal
_NOTHING: Mapping[str, Any] = {}


def view(
    paths: Sequence[str | Path],
    *,
    images: Sequence[str | Path] = (),
    html: Path | None = None,
    host: str = "127.0.0.1",
    port: int = 0,
    open_browser: bool = True,
    longest: int = 1600,
    overwrite: bool = False,
    parser_options: Mapping[str, Any] = _NOTHING,
) -> int:
    """Show photographs and trees in the browser, or write the page of a single image.

    Parameters
    ----------
    paths
        Photographs, trees (``.npz``), folders of either or both, glob patterns.
    images
        Photographs of the trees, or folders to look for them in.
    html
        File for the page. If None, a server shows the images instead.
    host, port
        Where the server listens; see :func:`regiontree.viewer.server.listen`.
    open_browser
        Whether to show the page in the user's browser, if there is one.
    longest
        The longest side of the pictures in pixels, 1 to 65,535.
    overwrite
        Whether to replace `html` if the file exists.
    parser_options
        Arguments of :class:`regiontree.RegionParser`.

    Returns
    -------
    int
        Exit code: 0; 1 if the page was written but some inputs failed; 130 if the command was
        interrupted before it showed anything.

    Raises
    ------
    RegionTreeError
        There is nothing to show, or it cannot be shown.
    """
    longest = check_number("longest", longest, 1, 65_535, whole=True)
    if html is None:
        check_installed()
    elif os.path.isdir(html) or (os.path.lexists(html) and not overwrite):
        raise ViewError(f"{html}: exists already; choose another name or pass --overwrite")
    else:
        require_writable(html.parent, ViewError, file=html)
    with (
        # A port that is in use must be an error now, not after the photographs are parsed.
        listen(host, port) if html is None else nullcontext() as listener,
        interruptible() as check,
        tempfile.TemporaryDirectory(prefix="regiontree-") as folder,
    ):
        session = Path(folder)
        try:
            inputs = _Inputs.read(paths, images, check)
            count = len(inputs.trees) + len(inputs.unparsed)
            if html is not None and count > 1:
                raise ViewError(
                    f"--html writes the page of one image, and the inputs are {count:,} images; "
                    "'regiontree gallery' makes a site of many images"
                )
            trees = {file: session / f"{i}.npz" for i, file in enumerate(inputs.unparsed)}
            inputs.parse(trees, session, parser_options, check)
            outlines = list(inputs.outlines().values())
            inputs.tell()
            _tell_lacks(outlines)
            if html is not None:
                source = open_source(outlines[0].path, images=inputs.places)
                page = page_html(source, longest=longest)
                try:
                    with atomic_write(html) as file:
                        file.write(page.encode())
                except OSError as error:
                    raise ViewError(f"{html}: cannot be written ({reason(error)})") from error
                say(f"wrote {html}")
                return 1 if inputs.failed else 0
            if trees:
                say(
                    "The new trees are deleted when the server stops; 'regiontree segment' keeps "
                    "trees."
                )
            assert listener is not None
            serve(
                outlines, listener, host=host, title=_title(paths), open_browser=open_browser,
                longest=longest, images=inputs.places,
            )  # fmt: skip
        except KeyboardInterrupt:
            say("interrupted")
            return 130
    return 0


def gallery(
    paths: Sequence[str | Path],
    out: Path,
    *,
    images: Sequence[str | Path] = (),
    title: str | None = None,
    longest: int = 1280,
    overwrite: bool = False,
    parser_options: Mapping[str, Any] = _NOTHING,
) -> int:
    """Make a static site of photographs and trees, or update it.

    Parameters
    ----------
    paths, images, longest, parser_options
        As in `view`.
    out
        Folder of the site: new, empty, or from an earlier run. See
        :mod:`regiontree.viewer.gallery`.
    title
        Title of the page of thumbnails. If None, the name of the input folder.
    overwrite
        Whether to make every tree and page again.

    Returns
    -------
    int
        Exit code: 0; 1 if some inputs failed; 130 if the command was interrupted.

    Raises
    ------
    RegionTreeError
        There is nothing to show, or `out` contains something other than a gallery.
    """
    longest = check_number("longest", longest, 1, 65_535, whole=True)
    site = Gallery(out)
    for place in (out, *(out / name for name in FOLDERS)):
        remove_leftovers(place)
    with interruptible() as check, tempfile.TemporaryDirectory(prefix="regiontree-") as folder:
        try:
            inputs = _Inputs.read(paths, images, check, out)
            named = dict(zip(inputs.files, stems(inputs.files), strict=True))
            site.claim(named.values())
            trees = {file: site.tree(named[file]) for file in inputs.unparsed}
            inputs.parse(trees, Path(folder), parser_options, check, overwrite=overwrite)
            outlines = {named[file]: outline for file, outline in inputs.outlines().items()}
            # The page of a missing photograph fails by itself.
            _tell_lacks([outline for outline in outlines.values() if outline.photo])
            with progress_bar("pages", len(outlines)) as bar:

                def advance() -> None:
                    bar.reach(bar.reached + 1)
                    check()

                written = site.write(
                    outlines, title=_title(paths) if title is None else title, longest=longest,
                    overwrite=overwrite, keep=set(named.values()), on_page=advance,
                )  # fmt: skip
        except KeyboardInterrupt:
            say("interrupted: run the same command again to do the rest")
            return 130
        except OSError as error:
            said = f"{error.filename or out}: cannot be written ({reason(error)})"
            if not any(site.pages.values()):
                raise ViewError(said) from error
            inputs.failed.append(said)  # for example a full disk: the finished pages stay
            inputs.tell()
            return 1
    inputs.failed += written.failed
    inputs.tell()
    if not written.shown:
        raise ViewError(f"nothing to show: all {len(inputs.failed)} inputs failed")
    kept = len(written.shown) - len(written.made)
    counts = f"{len(written.made)} made, {kept} kept, {len(written.removed)} removed"
    say(f"pages: {counts}; open {out / 'index.html'}")
    return 1 if inputs.failed else 0


# -- inputs ---------------------------------------------------------------------------------------


@dataclass(slots=True)
class _Inputs:
    """The photographs and trees that the paths of a command name.

    Attributes
    ----------
    files : list of Path
        In order: all trees, readable or not, and the photographs that have no tree.
    trees : dict of Path to Outline
        The tree of each file. A photograph has none before it is parsed.
    places : Places
        Where photographs lie.
    failed : list of str
        A sentence for each input that cannot be used.
    """

    files: list[Path]
    places: Places
    trees: dict[Path, Outline] = field(default_factory=dict)
    failed: list[str] = field(default_factory=list)

    @classmethod
    def read(
        cls,
        paths: Sequence[str | Path],
        images: Sequence[str | Path],
        check: Callable[[], None],
        out: Path | None = None,
    ) -> _Inputs:
        """The inputs, with every tree opened.

        Parameters
        ----------
        paths, images
            As in `view`.
        check
            Called after each tree; it raises KeyboardInterrupt if the user wants to stop.
        out
            Folder of the gallery. None if the command is `view`.

        Raises
        ------
        RegionTreeError
            No input can be used.
        """
        require_images(images)
        searched = search(paths, image_suffixes() | {TREE_SUFFIX}, out)
        found = [file for file, _ in searched.files]
        if not found:
            raise SettingsError("no input: name at least one photograph, tree (.npz) or folder")
        if out is not None and (own := [file for file in found if _below(file, out)]):
            raise ViewError(
                f"{own[0]}: lies in the gallery itself; name the photographs or trees instead"
            )
        problems = {file: _problem(file) for file in found}
        files = [file for file in found if problems[file] is None]
        trees = {file for file in files if file.suffix.lower() == TREE_SUFFIX}
        photos = [file for file in files if file not in trees and not _drawn(file, trees)]
        inputs = cls([], Places.of([*images, *photos]))
        if searched.left_out_text:
            say(searched.left_out_text)
        inputs.failed += [f"{file}: {said}" for file, said in problems.items() if said]
        with progress_bar("reading", len(trees)) as bar:
            for tree in (file for file in files if file in trees):
                inputs._open(tree, tree)
                bar.reach(bar.reached + 1)
                check()
        whole = {
            os.path.abspath(tree.photo)
            for tree in inputs.trees.values()
            if tree.photo and not tree.notice
        }
        unparsed = {photo for photo in photos if os.path.abspath(photo) not in whole}
        inputs.files = [file for file in files if file in trees or file in unparsed]
        inputs._require(inputs.trees or unparsed)
        return inputs

    @property
    def unparsed(self) -> list[Path]:
        """The photographs without a tree."""
        return [
            file
            for file in self.files
            if file not in self.trees and file.suffix.lower() != TREE_SUFFIX
        ]

    def parse(
        self,
        outputs: Mapping[Path, Path],
        folder: Path,
        options: Mapping[str, Any],
        check: Callable[[], None],
        *,
        overwrite: bool = False,
    ) -> None:
        """Make the trees of photographs. Trees that are up to date are kept.

        Parameters
        ----------
        outputs
            File for the tree of each photograph.
        folder
            Folder for the summary of the batch.
        options
            Arguments of :class:`regiontree.RegionParser`.
        check
            Called after each photograph; it raises KeyboardInterrupt if the user wants to stop.
        overwrite
            Whether to make trees that are up to date again.

        Raises
        ------
        KeyboardInterrupt
            The user stopped the batch.
        BackboneError
            The network cannot be loaded, and there is no tree to show without it.
        """
        if not outputs:
            return
        from regiontree.engines.batch import Job, Outcome, segment
        from regiontree.parser import RegionParser

        jobs = [Job(photo, tree, is_users=False) for photo, tree in outputs.items()]
        try:
            parser = RegionParser(**options)
            with progress_bar("parsing", len(jobs)) as bar:

                def advance(outcome: Outcome) -> None:
                    bar.reach(bar.reached + 1)
                    check()

                summary = segment(
                    parser, jobs, folder, overwrite=overwrite, workers=0, on_outcome=advance
                )
        except BackboneError as error:
            if not self.trees:
                raise
            self.failed.append(f"{len(jobs)} photographs were not parsed: {error}")
            return
        if summary.interrupted:
            raise KeyboardInterrupt
        for job, outcome in zip(jobs, summary.outcomes, strict=True):
            if outcome.error is not None:
                self.failed.append(outcome.error)
            else:
                self._open(outputs[job.source], job.source)

    def outlines(self) -> dict[Path, Outline]:
        """The trees in the order of the inputs.

        Raises
        ------
        ViewError
            There is no tree.
        """
        self._require(self.trees)
        return {file: self.trees[file] for file in self.files if file in self.trees}

    def tell(self) -> None:
        """Print what failed."""
        if self.failed:
            say(f"{len(self.failed)} failed:")
        for said in self.failed:
            say(f"  {one_line(said)}")

    def _require(self, some: object) -> None:
        if not some and len(self.failed) == 1:
            raise ViewError(self.failed[0])
        if not some:
            self.tell()
            raise ViewError("nothing to show")

    def _open(self, tree: Path, file: Path) -> None:
        found = attempt(partial(open_outline, tree, images=self.places))
        if isinstance(found, Exception):
            self.failed.append(fault_text(found, tree))
        else:
            self.trees[file] = found


def _problem(file: Path) -> str | None:
    """Why an input is neither a photograph nor a tree; None if it may be one."""
    return input_problem(file) or (
        "holds no photographs and no trees" if os.path.isdir(file) else None
    )


def _drawn(file: Path, trees: set[Path]) -> bool:
    """Whether regiontree drew the picture: beside its tree, or as a thumbnail of a gallery."""
    drawn = _DRAWN.fullmatch(file.name)
    if drawn and file.with_name(drawn[1] + TREE_SUFFIX) in trees:
        return True
    if drawn and "~" in drawn[1]:  # the name may be one that was cut
        return any(picture_path(tree.with_suffix(""), drawn[2]) == file for tree in trees)
    return file.parent.name == "thumbs" and os.path.isfile(file.parent.parent / MANIFEST)


def _below(file: Path, folder: Path) -> bool:
    return Path(os.path.abspath(folder)) in Path(os.path.abspath(file)).parents


def _title(paths: Sequence[str | Path]) -> str:
    """The name of the input folder if the only input is a folder, otherwise ``Regions``."""
    only = os.path.abspath(paths[0])
    return (len(paths) == 1 and os.path.isdir(only) and os.path.basename(only)) or "Regions"


def _tell_lacks(outlines: Sequence[Outline]) -> None:
    """Print which photographs are missing or changed. Their pages say so, too."""
    lacks = [outline.lack for outline in outlines if outline.lack]
    for lack in lacks[:_LACKS]:
        say(lack)
    if len(lacks) > _LACKS:
        say(f"{len(lacks) - _LACKS} more photographs are missing or have changed.")
