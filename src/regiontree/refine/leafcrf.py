"""The leaf of each pixel, by a fully connected CRF like the published ``postprocess_crf``.

The energy of a leaf at a pixel is ``-log softmax(cos(f, e) / temperature)`` over all leaves. Here f
is the patch features resized bicubically to the photograph, and e is the mean feature of the leaf.
The CRF (:mod:`regiontree.refine.crf`) finds the labels.

The resized features of a whole photograph would take hundreds of megabytes. So they are computed a
few rows at a time, with two small matrices of bicubic weights, one for rows and one for columns.

Reference: Rossetti and Pirri, NeurIPS 2024, supplement. The parameters of the CRF are those of
:class:`~regiontree.refine.crf.CrfSettings`.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import ClassVar

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor
from torch.nn.functional import interpolate, normalize

from regiontree.images import fitted, nearest
from regiontree.images.valid import valid_at
from regiontree.refine.base import PatchLeaves
from regiontree.refine.crf import CrfSettings, check_memory, crf, memory_needed
from regiontree.refine.lattice import spans
from regiontree.refine.opening import extended
from regiontree.refine.regions import keep_leaves, merge_specks
from regiontree.system.stages import check_settings, setting

__all__ = ["LeafCrf", "energies_of", "leaf_energies"]

# Rows and columns of pixels computed at once: few, as each is weighted with all patches near them.
_ROWS, _COLUMNS = 32, 32


@dataclass(frozen=True, slots=True)
class LeafCrf:
    """The published refinement, its settings, and the settings of its CRF."""

    temperature: float = setting(
        0.1, "Temperature of the softmax that makes energies of likenesses.", low=1e-4, high=1e4
    )
    settings: CrfSettings = field(default_factory=CrfSettings)
    specks: float = setting(
        0.5,
        "Pieces smaller than this many patches go to their neighbours; 0 as published.",
        low=0,
        high=1e6,
    )
    # The cost grows with pixels times leaves, so larger photographs are reduced to this size.
    long_side: int = setting(
        2048,
        "Long side in pixels at which borders are drawn, unless the photograph is smaller.",
        low=1,
        high=65_536,
        whole=True,
    )
    name: ClassVar[str] = "crf"

    def __post_init__(self) -> None:
        check_settings(self)

    def photo_size(self, own: tuple[int, int], seen: tuple[int, int]) -> tuple[int, int]:
        """(H, W) to work at: the photograph's own size, as published, but at most the long side."""
        return fitted(own, min(max(own), self.long_side))

    def refine(
        self, leaves: PatchLeaves, rgb: NDArray[np.uint8], size: tuple[int, int]
    ) -> NDArray[np.int32]:
        """The leaf of each pixel: see :meth:`regiontree.refine.base.Refinement.refine`.

        If the CRF may need more memory than its settings allow, the photograph is reduced until the
        CRF fits.

        Raises
        ------
        SettingsError
            The CRF may need too much memory even at one pixel a patch. The error comes before any
            computation.
        """
        rgb = self._fitting(rgb, leaves.leaf.shape, len(leaves.embedding))
        shape = rgb.shape[0], rgb.shape[1]
        check_memory(shape, len(leaves.embedding), self.settings)
        valid = None if leaves.valid is None else valid_at(leaves.valid, shape)
        labels = crf(leaf_energies(leaves, shape, self.temperature), rgb, self.settings, valid)
        if valid is not None:  # specks are judged as if the nearest region went on
            labels = extended(labels, valid) if valid.any() else nearest(leaves.leaf, shape)
        patch = shape[0] * shape[1] / leaves.leaf.size
        labels = merge_specks(labels, leaves.parents, round(self.specks * patch))
        return keep_leaves(nearest(labels, size), leaves.leaf, leaves.parents)

    def _fitting(
        self, rgb: NDArray[np.uint8], grid: tuple[int, ...], n_leaves: int
    ) -> NDArray[np.uint8]:
        """The photograph, reduced if memory requires it, with at least one pixel for each patch."""
        shape = rgb.shape[0], rgb.shape[1]
        needed = memory_needed(shape, n_leaves, self.settings)
        if needed <= self.settings.memory_limit:
            return rgb
        # Memory is a fixed part plus a part that grows linearly with pixels.
        fixed = memory_needed((1, 1), n_leaves, self.settings)
        share = max(0.0, self.settings.memory_limit - fixed) / (needed - fixed)
        height, width = (
            max(cells, int(side * share**0.5)) for side, cells in zip(shape, grid, strict=True)
        )
        return np.asarray(Image.fromarray(rgb).resize((width, height), Image.Resampling.BILINEAR))


def leaf_energies(leaves: PatchLeaves, shape: tuple[int, int], temperature: float) -> Tensor:
    """Energy of each leaf at each pixel, (L, H, W) float32: see :func:`energies_of`."""
    return energies_of(leaves.features, leaves.embedding, shape, temperature)


def energies_of(
    features: Tensor, embedding: Tensor, shape: tuple[int, int], temperature: float
) -> Tensor:
    """Energy of each region at each pixel, (L, H, W) float32, from the features alone.

    Parameters
    ----------
    features
        (h, w, d) float32, the patch features, of unit length.
    embedding
        (L, d) float32, the mean features of the regions, of unit length.
    shape
        (H, W) of the result, in pixels.
    temperature
        Temperature of the softmax, > 0.

    Returns
    -------
    (L, H, W) float32, >= 0: negative logarithms of probabilities. The energies of one pixel are
    side by side in memory.
    """
    w, d = features.shape[1:]
    across = list(_bicubic(shape[1], w, _COLUMNS, features))
    energies = features.new_empty(*shape, len(embedding))
    for rows, above, down in _bicubic(shape[0], len(features), _ROWS, features):
        stretched = (down @ features[above].reshape(-1, w * d)).view(-1, w, d)
        for columns, beside, weights in across:
            pixels = normalize(torch.matmul(weights, stretched[:, beside]), dim=2)
            cosine = pixels @ embedding.T
            energies[rows, columns] = -torch.log_softmax(cosine / temperature, dim=2)
    return energies.permute(2, 0, 1)


def _bicubic(
    new: int, old: int, length: int, like: Tensor
) -> Iterator[tuple[slice, slice, Tensor]]:
    """Bicubic interpolation along one axis from `old` to `new` cells, `length` new cells at a time.

    Yields
    ------
    The new cells, the old cells that they are made of, and the weights (new cells, old cells).
    """
    one = torch.eye(old, dtype=like.dtype, device=like.device)[None, None]
    weights = interpolate(one, size=(new, old), mode="bicubic", align_corners=False)[0, 0]
    for cells in spans(new, length):
        used = weights[cells].any(dim=0).nonzero()
        near = slice(int(used[0]), int(used[-1]) + 1)
        yield cells, near, weights[cells, near]
