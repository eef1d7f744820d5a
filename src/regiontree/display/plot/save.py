"""The work of ``regiontree show --figure``: draw a tree on its photograph, into a file."""

from __future__ import annotations

import os
from collections.abc import Iterable
from pathlib import Path

from matplotlib.backends.backend_agg import FigureCanvasAgg

from regiontree.display.plot.trees import tree_figure
from regiontree.errors import ExportError, nearest_name
from regiontree.forest.sources import Source
from regiontree.system.files import atomic_write
from regiontree.system.paths import reason, require_writable
from regiontree.tree import RegionTree

__all__ = ["check_figure_file", "save_tree_figure"]

_DPI = 144
_REGIONS = 12


def check_figure_file(file: Path, *, overwrite: bool) -> None:
    """Check, before any work, that a figure can be written there.

    Raises
    ------
    ExportError
        Matplotlib does not write this format, or the file exists and `overwrite` is not set.
    """
    known = FigureCanvasAgg.get_supported_filetypes()
    form = file.suffix[1:].lower()
    if form not in known:
        hint = nearest_name(form, known) or "; use .png, .svg or .pdf"
        raise ExportError(f"{file}: no figure format {file.suffix!r}{hint}")
    if os.path.lexists(file) and not overwrite:
        raise ExportError(f"{file}: exists; choose another name or pass --overwrite")
    require_writable(file.parent, ExportError, file=file)


def save_tree_figure(
    source: Source,
    tree: RegionTree,
    file: Path,
    *,
    nodes: Iterable[int] | None,
    n_regions: int | None,
) -> None:
    """Draw a tree on the photograph of `source`, or in plain colours if none was found.

    Parameters
    ----------
    nodes, n_regions
        As in :func:`regiontree.display.plot.tree_figure`.

    Raises
    ------
    ExportError
        The file cannot be written.
    """
    image = None if source.photo is None else source.picture()
    figure = tree_figure(tree, image, nodes=nodes, n_regions=n_regions or _REGIONS)
    try:
        with atomic_write(file) as stream:
            figure.savefig(stream, format=file.suffix[1:].lower(), dpi=_DPI)
    except OSError as error:
        raise ExportError(f"{file}: cannot be written ({reason(error)})") from error
