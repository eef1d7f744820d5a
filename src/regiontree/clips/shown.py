"""``regiontree show`` for the tree of a clip: text, and a film of a cut."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from regiontree.display.film import FILMS, save_film
from regiontree.errors import ExportError
from regiontree.frames import open_frames
from regiontree.tree import ClipTree

__all__ = ["show_clip"]


def show_clip(
    path: str,
    figure: Path | None,
    images: Sequence[str | Path],
    *,
    depth: int | None,
    regions: int | None,
    condense: int | None,
    min_stability: float,
    overwrite: bool,
) -> None:
    """Print a clip's tree, and write a film of one of its cuts if `figure` names a file.

    Parameters
    ----------
    path
        The tree's file.
    figure
        A .mp4, .gif or .webp file. `images` is then the clip itself, or empty.
    depth, regions, condense, min_stability
        As for photographs. The film shows the cut into `regions`, or the natural one.
    overwrite
        Whether a file of the film's name is replaced.

    Raises
    ------
    RegionTreeError
        The tree cannot be read, or the film cannot be drawn from what was given.
    """
    tree = ClipTree.load(path)
    if figure is not None:
        if figure.suffix.lower() not in FILMS:
            raise ExportError(f"{figure}: a film ends in {', '.join(FILMS)}; choose one of them")
        if figure.exists() and not overwrite:
            raise ExportError(f"{figure} exists already; give --overwrite to replace it")
        if len(images) > 1:
            raise ExportError("--images takes the one clip that the tree was made of")
    if condense is not None:
        tree = tree.condense(condense, min_stability=min_stability)
    limited = depth is not None or regions is not None or condense is not None
    print(tree.to_text(max_depth=depth, n_regions=regions) if limited else str(tree))
    if figure is not None:
        shown = tree.n_leaves if condense is not None and regions is None else regions
        frames = _frames(tree, images[0]) if images else None
        save_film(tree, figure, frames, n_regions=shown, fps=_rate(tree))


def _frames(tree: ClipTree, source: str | Path) -> Iterator[NDArray[np.uint8]]:
    """The frames that the tree was made of, read again."""
    asked = tree.meta.get("clip", {}).get("run", {}).get("selected", {})
    for frame in open_frames(source, **asked):
        yield frame.image.rgb


def _rate(tree: ClipTree) -> float:
    """Frames a second of the film: those of the clip, or 12."""
    clip = tree.meta.get("clip", {})
    asked = clip.get("run", {}).get("selected", {})
    rate = asked.get("fps") or (clip.get("rate") or 12.0) / (asked.get("every") or 1)
    return float(min(max(rate, 1.0), 60.0))
