"""A cut of a clip's tree as a moving picture: MP4, GIF or WebP.

A region has one colour in all frames: see :func:`regiontree.display.pictures.hierarchy_colors`.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from regiontree.display.pictures import fitted_size, hierarchy_colors, overlay
from regiontree.errors import ExportError
from regiontree.images import nearest
from regiontree.system.extras import optional
from regiontree.system.files import atomic_write
from regiontree.tree import ClipTree, cuts

__all__ = ["FILMS", "drawn_frames", "save_film"]

FILMS = (".mp4", ".gif", ".webp")
"""Endings of the files that a film is written to."""

Rgb = NDArray[np.uint8]


def drawn_frames(
    tree: ClipTree,
    frames: Iterable[Rgb] | None = None,
    *,
    n_regions: int | None = None,
    width: int = 640,
) -> Iterator[Image.Image]:
    """Each frame with the regions of a cut in colours, and their borders.

    Parameters
    ----------
    tree
    frames
        The frames as (H, W, 3) uint8, in their order. None: colours over white.
    n_regions
        As in :meth:`ClipTree.cut`; None: the natural cut.
    width
        Longer side of a picture in pixels. Sides are even, as films need them.

    Raises
    ------
    ExportError
        There are fewer frames than the tree has, or one has other proportions.
    """
    nodes = tree.cut_nodes(n_regions=n_regions)
    region = cuts.node_of_leaf(tree.parents, nodes, tree.n_leaves)
    colors = hierarchy_colors(tree)[nodes]
    given = None if frames is None else iter(frames)
    for t in range(tree.n_frames):
        size = fitted_size(tree.sizes[t], width)
        size = max(2, size[0] // 2 * 2), max(2, size[1] // 2 * 2)
        photo = np.full((*size, 3), 255, np.uint8)
        if given is not None:
            photo = _fitted(next(given, None), t, tree.sizes[t], size)
        labels = nearest(region.astype(np.int32)[tree.frame_labels(t)], size)
        yield overlay(colors[labels], labels, photo)


def save_film(
    tree: ClipTree,
    path: str | Path,
    frames: Iterable[Rgb] | None = None,
    *,
    n_regions: int | None = None,
    width: int = 640,
    fps: float = 12.0,
) -> Path:
    """Write a cut as a moving picture; the ending of the file says which kind.

    Parameters
    ----------
    tree, frames, n_regions, width
        As for :func:`drawn_frames`.
    path
        A file that ends in .mp4, .gif or .webp.
    fps
        Frames a second, from 0.1 to 240.

    Raises
    ------
    ExportError
        The ending is another one, the frames do not fit, or they have different sizes.
    MissingExtraError
        The film is an MP4 and PyAV is not installed.
    """
    path = Path(path)
    if path.suffix.lower() not in FILMS:
        raise ExportError(f"{path}: a film ends in {', '.join(FILMS)}; choose one of them")
    if not tree.is_even:
        raise ExportError("the frames have different sizes, so they are no film; draw them alone")
    if not 0.1 <= fps <= 240:
        raise ExportError(f"fps must be from 0.1 to 240, got {fps:g}")
    pictures = drawn_frames(tree, frames, n_regions=n_regions, width=width)
    with atomic_write(path) as file:
        if path.suffix.lower() == ".mp4":
            _write_mp4(file, pictures, fps)
        else:
            first, *rest = pictures
            kind = path.suffix[1:].upper()
            how: dict[str, Any] = {"quality": 80, "method": 4} if kind == "WEBP" else {}
            first.save(
                file, kind, save_all=True, append_images=rest, duration=round(1000 / fps), loop=0,
                **how,
            )  # fmt: skip
    return path


def _write_mp4(file: Any, pictures: Iterable[Image.Image], fps: float) -> None:
    av = optional("av", "video", "films need")

    with av.open(file, "w", format="mp4") as film:
        stream: Any = None
        for picture in pictures:
            if stream is None:
                stream = film.add_stream("libx264", rate=Fraction(fps).limit_denominator(1000))
                stream.width, stream.height = picture.size
                stream.pix_fmt = "yuv420p"
                stream.options = {"crf": "20"}
                stream.thread_count = 1
            frame: Any = av.VideoFrame.from_ndarray(np.asarray(picture), format="rgb24")
            film.mux(stream.encode(frame))
        film.mux(stream.encode(None))


def _fitted(frame: Rgb | None, t: int, own: tuple[int, int], size: tuple[int, int]) -> Rgb:
    """A frame of the clip at the size of its picture."""
    if frame is None:
        raise ExportError(f"frame {t} is missing: the tree has more frames than were given")
    h, w = frame.shape[:2]
    if abs(h * own[1] - w * own[0]) > max(own) + max(h, w):
        raise ExportError(f"frame {t} has {h} x {w} pixels, and the tree was made of {own}")
    return np.asarray(Image.fromarray(frame).resize(size[::-1], Image.Resampling.LANCZOS))
