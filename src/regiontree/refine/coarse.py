"""Move patches on the wrong side of a border between large regions to the correct side.

The watershed moves a border by one patch at most. The borders of the tree's dozen largest regions
matter most, to the eye and to the scores. So this step corrects these regions before the watershed
runs. It cuts the tree into a dozen regions and refines that labelling by a fully connected CRF
(:mod:`regiontree.refine.crf`). The CRF works on a small picture with three pixels per patch side.

1. The energy of a region at a pixel is ``-log softmax(cos(f, e) / 0.1)``. Here f is the patch
   features resized to the picture, and e is the mean feature of the region. The region that the
   tree gives the pixel has its energy lowered by `trust`.
2. The published bilateral kernel makes neighbours of similar colour agree. Its standard deviations
   are 67 pixels of the photograph and 3 of 255 grey levels; its weight is 4. The published Gaussian
   of one pixel is left out, because threads and specks are removed later. Mean field runs for three
   steps; further steps change hardly any patch.
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
from scipy.ndimage import distance_transform_edt
from torch import Tensor
from torch.nn.functional import normalize

from regiontree.images.valid import resized
from regiontree.refine.base import PatchLeaves
from regiontree.refine.blocks import windows
from regiontree.refine.crf import CrfSettings, crf
from regiontree.refine.leafcrf import energies_of
from regiontree.refine.regions import Labels
from regiontree.spectral.groups import sum_by_group
from regiontree.system.threads import one_thread
from regiontree.tree import RegionTree

__all__ = ["halved", "most_in_patches", "moved_patches"]

_TEMPERATURE = 0.1
_EDGE_XY = 67.0  # pixels of the photograph
_STEPS = 3
_SIDE = 3  # pixels a side of a patch in the small picture
_WIDE = 16  # pixels a side: wider patches are halved; narrower ones lose by halving
_WHOLE = 170**2  # patches done at once, in up to about 400 MB
_WINDOW = 128  # patches a side of a window, without its margin
_MARGIN = 16  # patches around a window: about three times the kernel's 67 pixels


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
    moved = after != before
    leaf = leaves.leaf.copy()
    for region in np.unique(after[moved]).tolist():
        here = before == region
        stays = here & ~moved
        to = distance_transform_edt(
            ~(stays if stays.any() else here), return_distances=False, return_indices=True
        )
        comes = moved & (after == region)
        leaf[comes] = leaves.leaf[to[0][comes], to[1][comes]]
    return leaf


def _agreed(leaves: PatchLeaves, region: Labels, rgb: NDArray[np.uint8], trust: float) -> Labels:
    """The region that the CRF finds for each patch, (h, w) int32.

    A patch that is not there keeps its region.
    """
    features, there = leaves.features, leaves.there
    h, w = region.shape
    shape = (_SIDE * h, _SIDE * w)
    picture = resized(rgb, shape, how=Image.Resampling.BOX)
    scale = (shape[0] * shape[1] / (rgb.shape[0] * rgb.shape[1])) ** 0.5
    settings = CrfSettings(
        smooth_weight=0, edge_xy=_EDGE_XY * scale, steps=_STEPS, precision="single",
        memory_limit=1e15,
    )  # fmt: skip
    means = _means(features, region, there)
    # The pixels of whole patches: a finer mask would change hardly any vote.
    valid = None if there is None else there.repeat(_SIDE, 0).repeat(_SIDE, 1)
    if h * w <= _WHOLE or features.shape[:2] != region.shape:
        found = _field(features, region, means, picture, trust, settings, valid)
        return most_in_patches(found, region)
    agreed = np.empty_like(region)
    for window in windows((h, w), shape, _WINDOW, _MARGIN):
        before = region[window.cells]
        pixels = picture[window.pixels]
        seen = None if valid is None else valid[window.pixels]
        found = _field(features[window.cells], before, means, pixels, trust, settings, seen)
        core, inner = (
            tuple(slice(side.start // _SIDE, side.stop // _SIDE) for side in area)
            for area in (window.core, window.inner)
        )
        agreed[core] = most_in_patches(found, before)[inner]
    return agreed


def _field(
    features: Tensor,
    region: Labels,
    means: Tensor,
    picture: NDArray[np.uint8],
    trust: float,
    settings: CrfSettings,
    valid: NDArray[np.bool_] | None,
) -> Labels:
    """The region that the CRF finds for each pixel of the small picture, (H, W) int32.

    A pixel that is not valid is left out of the CRF and keeps its region.
    """
    shape = picture.shape[0], picture.shape[1]
    energies = energies_of(features, means, shape, _TEMPERATURE)
    own = torch.from_numpy(region.repeat(_SIDE, 0).repeat(_SIDE, 1)).to(energies.device).long()
    energies.permute(1, 2, 0).scatter_add_(
        2, own[:, :, None], energies.new_full((*shape, 1), -trust)
    )
    found = crf(energies, picture, settings, valid)
    if valid is not None:
        found = np.where(valid, found, region.repeat(_SIDE, 0).repeat(_SIDE, 1))
    return found


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
