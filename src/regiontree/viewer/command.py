"""The commands ``view`` and ``gallery``: pages of photographs and trees.

Photographs are parsed first. A photograph whose tree is among the inputs is not parsed again.
`view` keeps new trees in a temporary folder and deletes them when it ends. `gallery` keeps new
trees in the site, where the next run finds them.
"""

from __future__ import annotations

import os
import tempfile
from collections.abc import Mapping, Sequence
from contextlib import nullcontext
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

from regiontree.errors import ViewError, check_number
from regiontree.forest.finding import Places, require_images
from regiontree.forest.listing import Joined
from regiontree.forest.sources import Outline, open_source
from regiontree.system.files import atomic_write
from regiontree.system.paths import reason, require_writable
from regiontree.system.progress import progress_bar
from regiontree.system.signals import interruptible
from regiontree.system.temporary import remove_leftovers
from regiontree.system.terminal import say
from regiontree.tree.text import counted
from regiontree.viewer.application import make_app
from regiontree.viewer.gallery import FOLDERS, Gallery, stems
from regiontree.viewer.inputs import Inputs
from regiontree.viewer.page import page_html
from regiontree.viewer.server import check_installed, listen, serve

__all__ = ["gallery", "view"]

_COLLECTION = "collection.json"  # makes a folder a collection; its own module imports torch
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
    pieces: bool = False,
    min_area: int | None = None,
    overwrite: bool = False,
    parser_options: Mapping[str, Any] = _NOTHING,
) -> int:
    """Show photographs and trees in the browser, or write the page of a single image.

    Parameters
    ----------
    paths
        Photographs, trees (``.npz``), folders of either or both, glob patterns, stores of trees.
        Or the folder of one collection.
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
    pieces, min_area
        Whether to show each tree divided into connected pieces: see :meth:`RegionTree.pieces`.
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
    if min_area is not None:
        min_area = check_number("min_area", min_area, 1, 2**31, whole=True)
    collections = [path for path in paths if os.path.isfile(os.path.join(path, _COLLECTION))]
    if collections:
        if len(paths) > 1 or html is not None:
            raise ViewError(
                f"{collections[0]}: is a collection, which is shown alone and by a server only"
            )
        if pieces:
            raise ViewError(
                f"{collections[0]}: is a collection, whose regions are those of its trees; "
                "--pieces is for trees"
            )
        return _view_collection(
            collections[0], images, host=host, port=port, open_browser=open_browser,
            longest=longest,
        )  # fmt: skip
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
            inputs = Inputs.read(paths, images, check)
            count = len(inputs.trees) + len(inputs.unparsed) + len(inputs.rows)
            if html is not None and count > 1:
                raise ViewError(
                    f"--html writes the page of one image, and the inputs are {count:,} images; "
                    "'regiontree gallery' makes a site of many images"
                )
            trees = {file: session / f"{i}.npz" for i, file in enumerate(inputs.unparsed)}
            inputs.parse(trees, session, parser_options, check)
            of_files = list(inputs.outlines().values())
            outlines = Joined([of_files, inputs.row_outlines])
            inputs.tell()
            _tell_lacks(of_files)
            if html is not None:
                source = open_source(outlines[0].saved, images=inputs.places)
                if pieces:
                    divided = source.tree.pieces(min_area)
                    source = replace(source, tree=divided, is_saved=False)
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
            make = partial(
                make_app, outlines, title=_title(paths), longest=longest, images=inputs.places,
                names=inputs.names, pieces=pieces, min_area=min_area,
            )  # fmt: skip
            shown = outlines[0].name if len(outlines) == 1 else f"{len(outlines):,} images"
            serve(make, shown, listener, host=host, open_browser=open_browser)
        except KeyboardInterrupt:
            say("interrupted")
            return 130
    return 0


def _view_collection(
    folder: str | Path,
    images: Sequence[str | Path],
    *,
    host: str,
    port: int,
    open_browser: bool,
    longest: int,
) -> int:
    """Show a collection in the browser until the server is stopped; the exit code."""
    from regiontree.collection.collection import Collection  # heavy: it imports torch
    from regiontree.viewer.categories import make_collection_app

    check_installed()
    require_images(images)
    with listen(host, port) as listener:
        collection = Collection.load(folder)
        shown = counted(len(collection), "photograph")
        title = os.path.basename(os.path.abspath(folder))
        make = partial(
            make_collection_app, collection, title=title, longest=longest, images=Places.of(images)
        )
        try:
            serve(make, f"a collection of {shown}", listener, host=host, open_browser=open_browser)
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
    pieces: bool = False,
    min_area: int | None = None,
    overwrite: bool = False,
    parser_options: Mapping[str, Any] = _NOTHING,
) -> int:
    """Make a static site of photographs and trees, or update it.

    Parameters
    ----------
    paths, images, longest, pieces, min_area, parser_options
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
            inputs = Inputs.read(paths, images, check, out)
            names = stems([*inputs.files, *(Path(row.key) for row in inputs.rows)])
            named = dict(zip(inputs.files, names, strict=False))
            site.claim(names)
            trees = {file: site.tree(named[file]) for file in inputs.unparsed}
            inputs.parse(trees, Path(folder), parser_options, check, overwrite=overwrite)
            outlines = {named[file]: outline for file, outline in inputs.outlines().items()}
            outlines |= inputs.open_rows(names[len(named) :], check)
            # The page of a missing photograph fails by itself.
            _tell_lacks([outline for outline in outlines.values() if outline.photo])
            with progress_bar("pages", len(outlines)) as bar:

                def advance() -> None:
                    bar.reach(bar.reached + 1)
                    check()

                written = site.write(
                    outlines, title=_title(paths) if title is None else title, longest=longest,
                    overwrite=overwrite, keep=set(names), pieces=pieces, min_area=min_area,
                    on_page=advance,
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
