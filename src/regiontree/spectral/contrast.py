"""The contrast of a photograph: how far its patches are apart, beside the noise of the network.

Heights of a tree are shares of the root's. So the same height may be the border of an animal in one
photograph and a shade of the sky in another. The contrast says how much a photograph's root
divides. It compares two figures of the smoothed features that the tree is built on:

- the *spread*, the mean squared distance of the features to their mean, ``1 - |mean|^2``;
- the *noise*, the geometric mean of the cosine distances of neighbouring patches, along a row or a
  column of the grid. Most neighbours show the same thing, so this is how far the network's features
  of one thing are apart.

With these, ``contrast = (spread / (60 noise)) ^ (1/4)``. A height is the square root of a cost, so
the fourth root of the quotient makes up for half of what a larger quotient does to heights
(measured: docs/trees.md). The factor 60 is the quotient of a usual photograph, so the contrast of
such a photograph is near 1.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

__all__ = ["photo_contrast"]

_USUAL = 60.0  # geometric mean of the quotient: 139 photographs of 14 data sets, default settings
_LEAST = 1e-6  # distances below it are rounding
_DIGITS = 4
_BLOCK_ENTRIES = 4_000_000  # of the features at once


def photo_contrast(features: Tensor, there: Tensor | None = None) -> float:
    """The contrast of a photograph from its smoothed features.

    Parameters
    ----------
    features
        (h, w, d) floating, one unit-length feature for each patch.
    there
        (h, w) bool, which patches have data; the others do not count. None: all of them.

    Returns
    -------
    float
        Above 0, about 1 for a usual photograph, rounded to four decimals. 1 if there are no two
        neighbouring patches.

    Examples
    --------
    Two halves that are at right angles. Only the distances across their border are not 0:

    >>> features = torch.zeros(8, 8, 2)
    >>> features[:, :4, 0] = features[:, 4:, 1] = 1.0
    >>> photo_contrast(features) > 2
    True
    """
    h, w, d = features.shape
    seen = features.new_ones((h, w), dtype=torch.bool) if there is None else there
    total, count = features.new_zeros(d, dtype=torch.float64), int(seen.sum())
    logs, pairs = 0.0, 0
    step = max(1, _BLOCK_ENTRIES // (w * d))
    for y in range(0, h, step):
        own, beside = slice(y, min(y + step, h)), slice(y, min(y + step, h - 1))
        below = slice(beside.start + 1, beside.stop + 1)
        total += (features[own] * seen[own, :, None]).sum(dim=(0, 1), dtype=torch.float64)
        for a, b in (((own, slice(1, None)), (own, slice(-1))), ((below,), (beside,))):
            both = seen[a] & seen[b]
            distance = 1.0 - (features[a] * features[b]).sum(dim=-1, dtype=torch.float64)[both]
            logs += float(distance.clamp_min(_LEAST).log().sum())
            pairs += len(distance)
    if not pairs:
        return 1.0
    spread = max(1.0 - float((total / count).square().sum()), _LEAST)
    noise = math.exp(logs / pairs)
    found = math.sqrt(math.sqrt(spread / (_USUAL * noise)))
    return max(round(found, _DIGITS), 10.0**-_DIGITS)
