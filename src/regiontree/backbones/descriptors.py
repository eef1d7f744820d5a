"""Descriptors: the tokens of a network's last block, by which regions of photographs are compared.

Trees are built on features that follow borders well: the values of the last block. Descriptors say
what a region shows. Both come from one pass of the network, in one tensor, so that everything that
carries features carries descriptors, too.

The attribute ``descriptor_dim`` of a network says how many of the ``dim`` channels, the last ones,
are the descriptor. 0: there is no descriptor. Equal to ``dim``: all channels serve as feature and
as descriptor. A network without the attribute has no descriptors.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from regiontree.backbones.base import Backbone
from regiontree.errors import FeatureError
from regiontree.system.arrays import as_array

__all__ = ["check_descriptors", "descriptor_dim", "halves", "mean_descriptors", "split_features"]

_BLOCK_ENTRIES = 4_000_000  # values that are added up at once: 32 MB as float64


def descriptor_dim(network: Backbone) -> int:
    """Length of the network's descriptors; 0 if it has none."""
    return int(getattr(network, "descriptor_dim", 0))


def halves(features: Tensor, length: int) -> list[Tensor]:
    """The features, and the descriptors if they have channels of their own: each contiguous.

    Parameters
    ----------
    features
        (..., d), as a network with ``dim`` d gives them.
    length
        The network's ``descriptor_dim``, 0 to d.
    """
    own = features.shape[-1] - length
    if length == 0 or own == 0:
        return [features]
    return [features[..., :own].contiguous(), features[..., own:].contiguous()]


def split_features(features: Tensor, length: int) -> tuple[Tensor, Tensor | None]:
    """The features that a tree is built on, and the descriptors if there are any.

    Parameters and layout as for :func:`halves`. If the same channels serve as both, the two are one
    tensor.
    """
    if length == 0:
        return features, None
    found = halves(features, length)
    return found[0], found[-1]


def check_descriptors(descriptors: Any, grid: tuple[int, int]) -> Tensor:
    """Descriptors (h, w, e), a tensor or an array, as a tensor, after a check.

    Raises
    ------
    FeatureError
        They are not floating, or not on the grid of the patches.
    """
    given = descriptors
    if not isinstance(given, Tensor):
        given = as_array("descriptors", given, FeatureError)
    is_float = given.is_floating_point() if isinstance(given, Tensor) else given.dtype.kind == "f"
    shape = tuple(given.shape)
    if not is_float or len(shape) != 3 or shape[:2] != grid or 0 in shape:
        raise FeatureError(
            f"descriptors must be floats (h, w, e) on the grid {grid} of the features, got "
            f"{shape} of {given.dtype}"
        )
    return given if isinstance(given, Tensor) else torch.from_numpy(given.astype(np.float32))


def mean_descriptors(descriptors: Tensor, leaf: NDArray[np.integer], n: int) -> NDArray[np.float16]:
    """The mean descriptor of each leaf, (n, e) float16.

    Parameters
    ----------
    descriptors
        (m, e), floating, one row a patch.
    leaf
        (m,) leaf of each patch: 0 to n - 1, each at least once. Negative: the patch does not count.
    n
        Number of leaves.

    Raises
    ------
    FeatureError
        A mean is not finite, or too large for half precision.
    """
    m, e = descriptors.shape
    count = np.bincount(leaf[leaf >= 0], minlength=n)
    sums = torch.zeros(n + 1, e, dtype=torch.float64, device="cpu")  # the last: no leaf
    row = torch.from_numpy(np.where(leaf < 0, n, leaf).astype(np.int64))
    step = max(1, _BLOCK_ENTRIES // e)
    for start in range(0, m, step):  # on the CPU, where the order of the sums is fixed
        block = descriptors[start : start + step].to("cpu", torch.float64)
        sums.index_add_(0, row[start : start + step], block)
    means = sums[:n].numpy() / count[:, None]
    if not np.isfinite(means).all():
        raise FeatureError("descriptors hold values that are not finite; check what computed them")
    with np.errstate(over="ignore"):
        half: NDArray[np.float16] = means.astype(np.float16)
    if not np.isfinite(half).all():
        raise FeatureError(
            f"descriptors of up to {np.abs(means).max():g} do not fit half precision, which ends "
            "at 65504; set backbone.descriptor to none"
        )
    return half
