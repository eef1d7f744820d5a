"""First pass: the patches of each window in groups, and what is kept of a group.

The features of a whole scene do not fit in memory. So each window's patches are grouped at once, by
Ward's linkage of neighbours (:mod:`regiontree.spectral.contiguous`). What stays of a group is its
mean feature and its number of patches. There are at most ``MOST_GROUPS`` groups or so in all,
far more than parts of the tree. A scene with fewer patches has a group for each. Groups of two
windows touch where the windows do, and the second pass merges them as if no window had been there.

A window's groups are one file. It is renamed when it is whole, so a run that was killed goes on
with the windows that have no file.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from regiontree.errors import TreeFileError
from regiontree.images.colours import patch_colours
from regiontree.scenes.features import MARGIN, SceneFeatures
from regiontree.scenes.grid import COARSER, SceneGrid, SceneWindow, within
from regiontree.scenes.raster import Pixels, Raster
from regiontree.settings.stages import SmoothSettings
from regiontree.spectral.contiguous import contiguous_groups, neighbouring_pairs
from regiontree.spectral.smooth import smooth_features
from regiontree.system.files import atomic_write
from regiontree.tree.kernel import connected_pieces

__all__ = ["Groups", "WindowGroups", "all_groups", "group_window", "patches_of_group"]

LEAST_PATCHES = 1
"""Patches of a group in a small scene: each patch is one, so windows change nothing."""
MOST_GROUPS = 65_536
"""Groups of a large scene, about. Their means are 100 MB with 384 channels."""

_PAIRED = 1 << 17  # patches whose pairs are looked for at once

Ints = NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class WindowGroups:
    """The groups of a window.

    Attributes
    ----------
    of_patch : (h, w) int32
        The group of each patch, -1 where there is no data.
    mean : (k, d) float32
        Mean of the smoothed unit features of each group.
    count : (k,) int64
        Patches of each group.
    """

    of_patch: NDArray[np.int32]
    mean: NDArray[np.float32]
    count: Ints

    def save(self, path: Path) -> None:
        """Write the file of a window."""
        with atomic_write(path) as file:
            np.savez(file, of_patch=self.of_patch, mean=self.mean, count=self.count)

    @classmethod
    def load(cls, path: Path) -> WindowGroups:
        """Read the file of a window.

        Raises
        ------
        TreeFileError
            The file is damaged.
        """
        try:
            with np.load(path) as file:
                return cls(file["of_patch"], file["mean"], file["count"])
        except Exception as error:  # NumPy raises nearly any kind for a damaged file
            raise TreeFileError(
                f"{path}: is damaged; remove it, and the same command makes it again"
            ) from error


def patches_of_group(raster: Raster, grid: SceneGrid) -> int:
    """How many patches a group has on average, so that a scene has not too many groups."""
    patches = raster.share * raster.shape[0] * raster.shape[1] / grid.patch**2
    return max(LEAST_PATCHES, math.ceil(patches / MOST_GROUPS))


def group_window(
    features: SceneFeatures,
    raster: Raster,
    window: SceneWindow,
    smooth: SmoothSettings,
    patches: int,
) -> WindowGroups:
    """The groups of a window, of `patches` patches on average."""
    grid = features.grid
    size = (
        window.cells[0].stop - window.cells[0].start,
        window.cells[1].stop - window.cells[1].start,
    )
    margin = MARGIN + COARSER * -(-smooth.steps // COARSER)
    around = grid.around(window.cells, margin)
    pixels = raster.read(*grid.pixels(around))
    inner = within(window.cells, around)
    there = np.zeros(_sides(around), np.bool_)
    if pixels.valid.any():
        there = _there(pixels, around, grid, inner)
    if not there[inner].any():
        return WindowGroups(
            np.full(size, -1, np.int32), np.zeros((0, features.dim), np.float32),
            np.zeros(0, np.int64),
        )  # fmt: skip
    unit = _smoothed(features.part(around), pixels, smooth, there)[inner].cpu().numpy()
    there = there[inner]
    rows = np.ascontiguousarray(unit[there], np.float32)
    groups = contiguous_groups(rows, size, max(1, round(len(rows) / patches)), there)
    count = np.bincount(groups)
    order = np.argsort(groups, kind="stable")
    sums = np.add.reduceat(rows[order].astype(float), np.cumsum(count) - count, axis=0)
    of_patch = np.full(size, -1, np.int32)
    of_patch[there] = groups
    return WindowGroups(of_patch, (sums / count[:, None]).astype(np.float32), count)


def _sides(cells: tuple[slice, slice]) -> tuple[int, int]:
    return cells[0].stop - cells[0].start, cells[1].stop - cells[1].start


def _there(
    pixels: Pixels, around: tuple[slice, slice], grid: SceneGrid, inner: tuple[slice, slice]
) -> NDArray[np.bool_]:
    """Which patches are there: half of their pixels are, or all that there are of the window."""
    most = pixels.valid.reshape(-1, grid.patch, _sides(around)[1], grid.patch)
    count = most.sum(axis=(1, 3))
    there: NDArray[np.bool_] = 2 * count >= grid.patch**2
    if not there[inner].any():
        there[inner] = count[inner] > 0
    return there


def _smoothed(
    features: torch.Tensor, pixels: Pixels, smooth: SmoothSettings, there: NDArray[np.bool_]
) -> torch.Tensor:
    """The features (h, w, d), smoothed as those of a photograph are."""
    if not smooth.steps:
        return features
    seen = None if there.all() else torch.from_numpy(there).to(features.device)
    more: dict[str, Any] = {}
    if smooth.contrast is not None:
        # Colours are rounded otherwise without a mask, so windows would differ in the last bit.
        colours = torch.from_numpy(patch_colours(pixels.rgb, _shape(features), pixels.valid))
        more = {"colours": colours.permute(1, 2, 0).to(features.device),
                "contrast": smooth.contrast}  # fmt: skip
    return smooth_features(features, steps=smooth.steps, there=seen, in_place=True, **more)


def _shape(features: torch.Tensor) -> tuple[int, int]:
    return features.shape[0], features.shape[1]


# -- of the whole scene ---------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Groups:
    """The groups of all windows.

    Attributes
    ----------
    of_patch : (h, w) int32
        The group of each patch of the scene, -1 where there is no data. It lies on the disk.
    mean : (n, d) float32
    count : (n,) int64
        As in :class:`WindowGroups`.
    """

    of_patch: NDArray[np.int32]
    mean: NDArray[np.float32]
    count: Ints

    def pairs(self) -> Ints:
        """Groups that touch, (m, 2) int64, each pair once, the lower number first.

        Pieces that do not touch are linked in a chain, as
        :func:`~regiontree.spectral.contiguous.neighbouring_pairs` links them.
        """
        n = len(self.count)
        keys = np.zeros(0, np.int64)
        for key in self._touching():
            keys = np.union1d(keys, key)
        pairs = np.stack(np.divmod(keys, n), axis=1)
        piece = connected_pieces(n, pairs[:, 0], pairs[:, 1])
        first = np.sort(np.unique(piece, return_index=True)[1])
        chain = np.stack([first[:-1], first[1:]], axis=1)
        return np.ascontiguousarray(np.concatenate([pairs, chain]))

    def _touching(self) -> Iterator[Ints]:
        """Numbers of pairs that touch, some rows of patches at a time."""
        h, w = self.of_patch.shape
        n, step = len(self.count), max(1, _PAIRED // w)
        for top in range(0, h, step):
            own = np.array(self.of_patch[top : top + step + 1], np.int64)
            there = own >= 0
            index = _pairs_within(there)
            group = own[there]
            a, b = group[index[:, 0]], group[index[:, 1]]
            apart = a != b
            yield np.unique(np.minimum(a, b)[apart] * n + np.maximum(a, b)[apart])


def _pairs_within(there: NDArray[np.bool_]) -> Ints:
    """Pairs of neighbouring patches that are there, (m, 2), without links of separate pieces."""
    pairs = neighbouring_pairs((there.shape[0], there.shape[1]))
    number = np.cumsum(there.reshape(-1)) - 1
    found: Ints = number[pairs[there.reshape(-1)[pairs].all(axis=1)]]
    return found


def all_groups(folder: Path, windows: list[SceneWindow], cells: tuple[int, int]) -> Groups:
    """The groups of all windows, from their files in a folder, in the order of the windows."""
    of_patch = np.lib.format.open_memmap(
        folder / "groups.npy", mode="w+", dtype=np.int32, shape=cells
    )
    means, counts, before = [], [], 0
    for window in windows:
        found = WindowGroups.load(folder / f"{window.name}.npz")
        here = found.of_patch
        of_patch[window.cells] = np.where(here < 0, -1, here + before)
        means.append(found.mean)
        counts.append(found.count)
        before += len(found.count)
    of_patch.flush()
    return Groups(of_patch, np.concatenate(means), np.concatenate(counts))
