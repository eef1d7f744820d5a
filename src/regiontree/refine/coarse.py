"""Patches that are on the wrong side of a border between large regions, moved to the right one.

A watershed moves a border by a patch at most, and most of what an eye or a score makes of a tree
lies along the borders of a dozen large regions. So the dozen are looked at first: the tree's cut
into so many is the labelling of a fully connected CRF (:mod:`regiontree.refine.crf`), on a small
picture in which a patch has three pixels a side.

1. The energy of a region at a pixel is ``-log softmax(cos(f, e) / 0.1)``, f the patch features
   resized to the picture, e the region's mean feature; less `trust` for the region that the tree
   itself puts the pixel in.
2. The published bilateral kernel, 67 pixels of the photograph and 3 of 255 grey levels, weight 4,
   makes neighbours of like colour agree. The published Gaussian of one pixel is left out: threads
   and specks are removed later. Three steps of mean field: more change hardly a patch.
3. A patch that most of its pixels put into another region than the tree goes there, and takes the
   leaf of the nearest patch that was there before and stays.

Wide patches are halved first where the grid is as coarse as the network's, since a border runs
through them. A few per cent of patches move. The tree stays as it is: regions are unions of leaves,
and leaves have gained and lost patches. benchmarks/refine.py measures what it gains.
"""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from scipy.ndimage import distance_transform_edt
from torch import Tensor
from torch.nn.functional import normalize

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
_SIDE = 3  # pixels of a patch in the small picture
_WIDE = 16  # pixels a side, above which patches are halved: narrower ones lose by it
_WHOLE = 170**2  # patches that are done at once, in up to some 400 MB
_WINDOW = 128  # patches a side of a window, beside its margin
_MARGIN = 16  # patches around a window, some three times the kernel's 67 pixels


def halved(leaves: PatchLeaves, shape: tuple[int, int]) -> PatchLeaves:
    """The same leaves on patches half as wide, if they are wide and as coarse as the network's.

    Parameters
    ----------
    leaves
    shape
        (H, W) of the photograph.
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
    )


def moved_patches(
    leaves: PatchLeaves, rgb: NDArray[np.uint8], *, regions: int = 12, trust: float = 1.0
) -> Labels:
    """The leaf of each patch after patches were exchanged among the tree's largest regions.

    Parameters
    ----------
    leaves
        Features may lie on a coarser grid than `leaf`.
    rgb
        (H, W, 3), the photograph.
    regions
        Of the cut whose borders are looked at, >= 1; with 1 nothing moves.
    trust
        What it is worth to stay, as the logarithm of odds, >= 0.

    Returns
    -------
    (h, w) int32. A leaf may have lost all its patches.

    Examples
    --------
    Two regions, and a patch on the border that looks like the other one:

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
    with one_thread():  # several do these small steps no faster, beside other work far slower
        after = _agreed(leaves.features, before, rgb, trust)
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


def _agreed(features: Tensor, region: Labels, rgb: NDArray[np.uint8], trust: float) -> Labels:
    """The region that the field finds for each patch, (h, w)."""
    h, w = region.shape
    shape = (_SIDE * h, _SIDE * w)
    picture = np.asarray(Image.fromarray(rgb).resize(shape[::-1], Image.Resampling.BOX))
    scale = (shape[0] * shape[1] / (rgb.shape[0] * rgb.shape[1])) ** 0.5
    settings = CrfSettings(
        smooth_weight=0, edge_xy=_EDGE_XY * scale, steps=_STEPS, precision="single",
        memory_limit=1e15,
    )  # fmt: skip
    means = _means(features, region)
    if h * w <= _WHOLE or features.shape[:2] != region.shape:
        return most_in_patches(_field(features, region, means, picture, trust, settings), region)
    agreed = np.empty_like(region)
    for window in windows((h, w), shape, _WINDOW, _MARGIN):
        before = region[window.cells]
        pixels = picture[window.pixels]
        found = _field(features[window.cells], before, means, pixels, trust, settings)
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
) -> Labels:
    """Region of each pixel of the small picture."""
    shape = picture.shape[0], picture.shape[1]
    energies = energies_of(features, means, shape, _TEMPERATURE)
    own = torch.from_numpy(region.repeat(_SIDE, 0).repeat(_SIDE, 1)).to(energies.device).long()
    energies.permute(1, 2, 0).scatter_add_(
        2, own[:, :, None], energies.new_full((*shape, 1), -trust)
    )
    return crf(energies, picture, settings)


def _means(features: Tensor, region: Labels) -> Tensor:
    """Unit-length mean feature of each region, (n, d)."""
    h, w, d = features.shape
    finer = region.shape[0] // h, region.shape[1] // w
    index = torch.from_numpy(region[:: finer[0], :: finer[1]].copy()).to(features.device).long()
    sums = sum_by_group(features.reshape(-1, d), index.reshape(-1), int(region.max()) + 1)
    return normalize(sums, dim=1)


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
