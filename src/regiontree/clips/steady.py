"""Borders that do not boil: a pixel where nothing changes keeps its leaf.

Each frame's borders are drawn on that frame alone. The network sees each frame a little
differently, so borders move by some pixels even where the picture stands still. Here a pixel keeps
the leaf that it had in the frame before if two things hold:

1. The mean difference of the two frames in the 5 x 5 pixels around it is below `change`.
2. The mean difference to the frame in which the pixel got its leaf is below twice that. So a slow
   fade does not carry a leaf on for ever.

What would leave a speck is drawn anew. The difference of two pixels is the largest of the
differences of their three colours.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from regiontree.tree.components import Components

__all__ = ["SteadyLabels", "SteadyState"]

Int32 = NDArray[np.int32]
Rgb = NDArray[np.uint8]

_SIDE = 5  # pixels


@dataclass(frozen=True, slots=True)
class SteadyState:
    """The last frame, as the next one is compared with it.

    Attributes
    ----------
    labels : (H, W) int32
        Its labels; -1 where there is none.
    before : (H, W, 3) uint8
        The frame.
    since : (H, W, 3) uint8
        Each pixel as it was when it got its label.
    """

    labels: Int32
    before: Rgb
    since: Rgb


class SteadyLabels:
    """Label maps of consecutive frames, in which still pixels keep their label.

    Parameters
    ----------
    change
        Grey levels of 255, >= 0. With 0 nothing is kept.

    Examples
    --------
    >>> steady = SteadyLabels(4.0)
    >>> picture = np.full((6, 6, 3), 90, np.uint8)
    >>> before = steady.step(np.zeros((6, 6), np.int32), picture)
    >>> steady.step(np.ones((6, 6), np.int32), picture).max().item()
    0
    >>> steady.step(np.ones((6, 6), np.int32), picture + np.uint8(50)).min().item()
    1
    """

    def __init__(self, change: float) -> None:
        self.change = change
        self.state: SteadyState | None = None

    def step(self, labels: Int32, rgb: Rgb, least: float = 0.0) -> Int32:
        """The labels of the next frame, (H, W) int32.

        Parameters
        ----------
        labels
            (H, W) int32, as they were drawn on this frame alone.
        rgb
            (H', W', 3) uint8, the frame. It is compared at the size of the labels.
        least
            Where pixels that keep their label leave a piece of fewer pixels than this, the piece is
            drawn as on this frame alone.
        """
        seen = since = _of_size(rgb, labels.shape)
        last = self.state
        if self.change > 0 and last is not None and last.labels.shape == labels.shape:
            keeps = _change(last.before, seen) < self.change
            keeps &= _change(last.since, seen) < 2 * self.change
            keeps &= last.labels >= 0
            keeps &= ~_specks(np.where(keeps, last.labels, labels), least)
            labels = np.where(keeps, last.labels, labels)
            since = np.where(keeps[:, :, None], last.since, seen)
        self.state = SteadyState(labels, seen, since)
        return labels

    def renumber(self, table: NDArray[np.integer]) -> None:
        """Replace each label by its entry of `table`. A pixel that gets -1 keeps no label."""
        if self.state is not None:
            own = self.state.labels
            labels = np.where(own >= 0, table[own], -1).astype(np.int32)
            self.state = replace(self.state, labels=labels)

    def forget(self) -> None:
        """Start anew, as after a cut in the film."""
        self.state = None


def _specks(labels: Int32, least: float) -> NDArray[np.bool_]:
    """Pixels in pieces of fewer than `least` pixels, (H, W) bool."""
    parts = Components.of(np.ascontiguousarray(labels))
    return parts.painted((parts.size() < least).astype(np.int32)).astype(bool)


def _change(before: Rgb, after: Rgb) -> NDArray[np.float32]:
    """The mean difference of two frames around each pixel, (H, W) float32, in grey levels."""
    from scipy.ndimage import uniform_filter

    apart = np.maximum(before, after) - np.minimum(before, after)
    largest = np.maximum(np.maximum(apart[:, :, 0], apart[:, :, 1]), apart[:, :, 2])
    mean: NDArray[np.float32] = uniform_filter(largest.astype(np.float32), _SIDE)
    return mean


def _of_size(rgb: Rgb, size: tuple[int, ...]) -> Rgb:
    """The picture at a size (H, W), by nearest pixels."""
    if rgb.shape[:2] == size:
        return rgb
    rows, columns = (
        np.arange(new) * old // new for new, old in zip(size, rgb.shape[:2], strict=True)
    )
    return np.ascontiguousarray(rgb[rows][:, columns])
