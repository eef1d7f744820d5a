"""Move patches on the wrong side of a border between large regions to the correct side.

The watershed moves a border by one patch at most. The borders of the tree's dozen largest regions
matter most, to the eye and to the scores. So this step corrects these regions before the watershed
runs. It cuts the tree into a dozen regions and refines that labelling by mean field on a small
picture with three pixels per patch side (:mod:`regiontree.refine.binning`).

1. The logarithm of a region's odds at a pixel is ``cos(f, e) / 0.1``. Here f is the feature of a
   patch, e is the mean feature of the region, and the cosines of the patches are resized
   bicubically to the picture. The region that the tree gives the pixel has `trust` added.
2. A bilateral kernel makes neighbours of similar colour agree. Its standard deviations are the
   published ones of the CRF: 67 pixels of the photograph and 3 of 255 grey levels; its weight is 4.
   The published Gaussian of one pixel is left out, because threads and specks are removed later.
   Mean field runs for three steps; further steps change hardly any patch.
3. If most pixels of a patch get another region than the tree's, the patch moves to that region. The
   patch takes the leaf of the nearest patch that stays in that region.

If the grid is as coarse as the network's and its patches are wide, the patches are halved first,
because a border may run through a wide patch. A few per cent of the patches move. The tree does not
change: each region is still a union of leaves, but leaves have gained and lost patches.
benchmarks/refine.py measures the gain.
"""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor
from torch.nn.functional import normalize

from regiontree.images.valid import resized
from regiontree.refine.base import PatchLeaves
from regiontree.refine.binning import cells_of, mean_field
from regiontree.refine.blocks import windows
from regiontree.refine.regions import Labels
from regiontree.spectral.groups import sum_by_group
from regiontree.system.jit import jit
from regiontree.system.threads import one_thread
from regiontree.tree import RegionTree

__all__ = ["halved", "most_in_patches", "moved_patches"]

Floats = NDArray[np.float32]
Ints = NDArray[np.int32]

_TEMPERATURE = 0.1
_EDGE_XY = 67.0  # pixels of the photograph
_EDGE_RGB = 3.0  # grey levels
_WEIGHT = 4.0
_STEPS = 3
_SIDE = 3  # pixels a side of a patch in the small picture
_WIDE = 16  # pixels a side: wider patches are halved; narrower ones lose by halving
_WHOLE = 170**2  # patches done at once, in up to about 220 MB
_WINDOW = 128  # patches a side of a window, without its margin
_MARGIN = 16  # patches around a window: about three times the kernel's 67 pixels
_FAR = 1 << 30  # rows: farther than any patch


def halved(leaves: PatchLeaves, shape: tuple[int, int]) -> PatchLeaves:
    """The same leaves on patches half as wide, if halving helps; else `leaves` itself.

    The patches are halved if their mean area is above 16 x 16 pixels of the photograph, if fewer
    than two of them lie along a side of the network's patch (`overlap` below 2), if the new patches
    are at least one pixel a side, and if at most 170 x 170 patches result.

    Parameters
    ----------
    leaves
        The tree's leaves on the patch grid (h, w).
    shape
        (H, W) of the photograph, in pixels.

    Returns
    -------
    Leaves on the grid (2h, 2w) with twice the `overlap`. The features stay on their (h, w) grid.
    """
    h, w = leaves.leaf.shape
    wide = shape[0] * shape[1] > _WIDE**2 * h * w
    fits = 2 * h <= shape[0] and 2 * w <= shape[1] and 4 * h * w <= _WHOLE
    if leaves.overlap >= 2 or not (wide and fits):
        return leaves
    return PatchLeaves(
        leaves.leaf.repeat(2, 0).repeat(2, 1),
        leaves.parents,
        leaves.height,
        leaves.features,
        leaves.embedding,
        2 * leaves.overlap,
        None if leaves.there is None else leaves.there.repeat(2, 0).repeat(2, 1),
        leaves.valid,
    )


def moved_patches(
    leaves: PatchLeaves, rgb: NDArray[np.uint8], *, regions: int = 12, trust: float = 1.0
) -> Labels:
    """The leaf of each patch, (h, w) int32, after large regions exchanged patches.

    Parameters
    ----------
    leaves
        The tree's leaves on the patch grid (h, w). The features may lie on a coarser grid.
    rgb
        (H, W, 3) uint8, the photograph.
    regions
        Number of regions of the cut that exchange patches, >= 1. With 1 no patch moves.
    trust
        How strongly a patch stays in its region, as the logarithm of odds, >= 0.

    Returns
    -------
    (h, w) int32. A leaf may have lost all its patches.

    Examples
    --------
    Two regions of three patches. The fourth patch looks like the left region, so it moves there:

    >>> features = torch.zeros(1, 6, 2)
    >>> features[:, :4, 0] = features[:, 4:, 1] = 1
    >>> leaves = PatchLeaves(
    ...     np.array([[0, 0, 0, 1, 1, 1]], np.int32), np.array([2, 2, 2], np.int32),
    ...     np.array([0, 0, 1], np.float32), features, torch.eye(2),
    ... )
    >>> moved_patches(leaves, np.full((10, 60, 3), 90, np.uint8)).tolist()
    [[0, 0, 0, 0, 1, 1]]
    """
    tree = RegionTree(labels=leaves.leaf, parents=leaves.parents, height=leaves.height)
    before = tree.cut(n_regions=regions)
    if not before.any():
        return leaves.leaf
    with one_thread():  # more are no faster here, and far slower on a busy machine
        after = _agreed(leaves, before, rgb, trust)
    return _with_leaves(leaves.leaf, before, after)


def _agreed(leaves: PatchLeaves, region: Labels, rgb: NDArray[np.uint8], trust: float) -> Labels:
    """The region that mean field finds for each patch, (h, w) int32.

    A patch that is not there keeps its region.
    """
    features, there = leaves.features, leaves.there
    h, w = region.shape
    shape = (_SIDE * h, _SIDE * w)
    picture = np.array(resized(rgb, shape, how=Image.Resampling.BOX))
    side = (shape[0] * shape[1] / (rgb.shape[0] * rgb.shape[1])) ** 0.5  # of a photograph's pixel
    odds = (features @ _means(features, region, there).T / _TEMPERATURE).detach().cpu().numpy()
    # The pixels of whole patches: a finer mask would change hardly any vote.
    valid = None if there is None else there.repeat(_SIDE, 0).repeat(_SIDE, 1)
    if h * w <= _WHOLE or odds.shape[:2] != region.shape:
        found = _field(odds, region, picture, _EDGE_XY * side, trust, valid)
        return most_in_patches(found, region)
    agreed = np.empty_like(region)
    for window in windows((h, w), shape, _WINDOW, _MARGIN):
        before = region[window.cells]
        corner = window.pixels[0].start, window.pixels[1].start
        found = _field(
            odds[window.cells],
            before,
            picture[window.pixels],
            _EDGE_XY * side,
            trust,
            None if valid is None else valid[window.pixels],
            corner,
        )
        core, inner = (
            tuple(slice(side.start // _SIDE, side.stop // _SIDE) for side in area)
            for area in (window.core, window.inner)
        )
        agreed[core] = most_in_patches(found, before)[inner]
    return agreed


def _field(
    odds: Floats,
    region: Labels,
    picture: NDArray[np.uint8],
    xy: float,
    trust: float,
    valid: NDArray[np.bool_] | None,
    corner: tuple[int, int] = (0, 0),
) -> Labels:
    """The region that mean field finds for each pixel of the small picture, (H, W) int32.

    `odds` (h', w', n) are those of the patches, or of patches twice as wide. `xy` is the kernel's
    standard deviation in pixels of the picture, whose first pixel lies at `corner` of the whole. A
    pixel that is not valid is left out and keeps its region.
    """
    shape = picture.shape[:2]
    logits = np.empty((shape[0] * shape[1], odds.shape[2]), np.float32)
    down, across = (bicubic_taps(new, old) for new, old in zip(shape, odds.shape, strict=False))
    own = region.repeat(_SIDE, 0).repeat(_SIDE, 1).reshape(-1)
    _resize(np.ascontiguousarray(odds), *down, *across, own, np.float32(trust), logits)
    cells = cells_of(picture, xy, _EDGE_RGB, corner)
    if valid is None:
        return mean_field(logits, cells, weight=_WEIGHT, steps=_STEPS).reshape(shape)
    seen = valid.reshape(-1)
    own[seen] = mean_field(logits[seen], cells.among(seen), weight=_WEIGHT, steps=_STEPS)
    return own.reshape(shape)


def _means(features: Tensor, region: Labels, there: NDArray[np.bool_] | None) -> Tensor:
    """Mean feature of each region over the patches that are there, (n, d), of unit length."""
    h, w, d = features.shape
    finer = region.shape[0] // h, region.shape[1] // w
    index = torch.from_numpy(region[:: finer[0], :: finer[1]].copy()).to(features.device).long()
    rows, groups = features.reshape(-1, d), index.reshape(-1)
    if there is not None:
        known = torch.from_numpy(there[:: finer[0], :: finer[1]].copy()).to(rows.device).reshape(-1)
        rows, groups = rows[known], groups[known]
    return normalize(sum_by_group(rows, groups, int(region.max()) + 1), dim=1)


def most_in_patches(label: Labels, before: Labels) -> Labels:
    """The label that most pixels of each patch have, (h, w) int32.

    `label` is (3 h, 3 w) int, the label of each pixel; a patch is 3 x 3 pixels. `before` is (h, w)
    int, the label of each patch so far. Labels are >= 0. If labels have equally many pixels, the
    patch keeps its label from before if it is among them. Otherwise it gets the smallest of them.
    """
    h, w = before.shape
    n = 1 + max(int(label.max()), int(before.max()))
    patch = np.arange(h * w).reshape(h, w).repeat(_SIDE, 0).repeat(_SIDE, 1)
    votes = 2 * np.bincount((patch * n + label).reshape(-1), minlength=h * w * n)
    votes[np.arange(h * w) * n + before.reshape(-1)] += 1
    most: Labels = votes.reshape(h, w, n).argmax(axis=2).astype(np.int32)
    return most


# -- resizing -------------------------------------------------------------------------------------


def bicubic_taps(new: int, old: int) -> tuple[Ints, Floats]:
    """Places (new, 4) in 0 to `old` - 1 and weights (new, 4) of bicubic interpolation of an axis.

    They are those of :func:`torch.nn.functional.interpolate` without aligned corners (Keys' kernel
    with a = -0.75).
    """
    at = (np.arange(new) + 0.5) * (old / new) - 0.5
    first = np.floor(at)
    t = (at - first)[:, None] + [1, 0, -1, -2]  # distances to the four places
    near = (1.25 * np.abs(t) - 2.25) * t * t + 1
    far = -0.75 * (((np.abs(t) - 5) * np.abs(t) + 8) * np.abs(t) - 4)
    weights = np.where(np.abs(t) <= 1, near, far).astype(np.float32)
    places = np.clip(first[:, None] + [-1, 0, 1, 2], 0, old - 1).astype(np.int32)
    return places, weights


def _resize_arrays(
    values: Floats,
    rows: Ints,
    down: Floats,
    columns: Ints,
    across: Floats,
    own: Ints,
    trust: np.float32,
    out: Floats,
) -> None:
    lines = down[:, 0, None, None] * values[rows[:, 0]]
    for tap in range(1, 4):
        lines += down[:, tap, None, None] * values[rows[:, tap]]
    pixels = across[:, 0, None] * lines[:, columns[:, 0]]
    for tap in range(1, 4):
        pixels += across[:, tap, None] * lines[:, columns[:, tap]]
    out[:] = pixels.reshape(out.shape)
    out[np.arange(len(out)), own] += trust


@jit(instead=_resize_arrays)
def _resize(
    values: Floats,
    rows: Ints,
    down: Floats,
    columns: Ints,
    across: Floats,
    own: Ints,
    trust: np.float32,
    out: Floats,
) -> None:
    """Write the `values` (h, w, n), interpolated along both axes, into `out` (H W, n).

    Each pixel's value of `own` (H W,) has `trust` added.
    """
    _, width, n = values.shape
    line = np.empty((width, n), np.float32)
    for y in range(len(rows)):
        a, b = values[rows[y, 0]], values[rows[y, 1]]
        c, d = values[rows[y, 2]], values[rows[y, 3]]
        for x in range(width):
            for k in range(n):
                total = down[y, 0] * a[x, k] + down[y, 1] * b[x, k]
                line[x, k] = total + down[y, 2] * c[x, k] + down[y, 3] * d[x, k]
        for x in range(len(columns)):
            pixel = y * len(columns) + x
            e, f = line[columns[x, 0]], line[columns[x, 1]]
            g, h = line[columns[x, 2]], line[columns[x, 3]]
            for k in range(n):
                total = across[x, 0] * e[k] + across[x, 1] * f[k]
                out[pixel, k] = total + across[x, 2] * g[k] + across[x, 3] * h[k]
            out[pixel, own[pixel]] += trust


# -- moving ---------------------------------------------------------------------------------------


def _with_leaves_by_arrays(leaf: Labels, before: Labels, after: Labels) -> Labels:
    found = leaf.copy()
    moved = after != before
    row = np.arange(len(leaf))[:, None]
    for region in np.unique(after[moved]).tolist():
        here = before == region
        stays = here & ~moved
        there = stays if stays.any() else here
        above = np.maximum.accumulate(np.where(there, row, -_FAR), axis=0)
        below = np.minimum.accumulate(np.where(there, row, _FAR)[::-1], axis=0)[::-1]
        nearest = np.where(row - above <= below - row, above, below)
        for y in np.flatnonzero((comes := moved & (after == region)).any(axis=1)).tolist():
            x = np.flatnonzero(comes[y])
            squares = (nearest[y] - y) ** 2 + (np.arange(leaf.shape[1]) - x[:, None]) ** 2
            best = squares.argmin(axis=1)
            found[y, x] = leaf[nearest[y, best], best]
    return found


@jit(instead=_with_leaves_by_arrays)
def _with_leaves(leaf: Labels, before: Labels, after: Labels) -> Labels:
    """The leaf of each patch, (h, w) int32, if its region changes from `before` to `after`.

    A patch that moves takes the leaf of the nearest patch that stays in its new region; if none
    stays there, of the nearest that was there. Of equally near ones it takes the leftmost, and of
    these the upper one.
    """
    height, width = leaf.shape
    found = leaf.copy()
    n = before.max() + 1
    comes, stays = np.zeros(n, np.bool_), np.zeros(n, np.bool_)
    for y in range(height):
        for x in range(width):
            if after[y, x] == before[y, x]:
                stays[before[y, x]] = True
            else:
                comes[after[y, x]] = True
    nearest = np.empty((height, width), np.int64)  # the row of the nearest one in the column
    for region in range(n):
        if not comes[region]:
            continue
        for x in range(width):
            last = -_FAR
            for y in range(height):
                if before[y, x] == region and (after[y, x] == region or not stays[region]):
                    last = y
                nearest[y, x] = last
            last = _FAR
            for y in range(height - 1, -1, -1):
                if nearest[y, x] == y:
                    last = y
                if last - y < y - nearest[y, x]:
                    nearest[y, x] = last
        for y in range(height):
            for x in range(width):
                if after[y, x] != region or before[y, x] == region:
                    continue
                least, best = _FAR * _FAR, 0
                for column in range(width):
                    down, across = nearest[y, column] - y, column - x
                    if abs(down) < _FAR // 2 and down * down + across * across < least:
                        least, best = down * down + across * across, column
                found[y, x] = leaf[nearest[y, best], best]
    return found
