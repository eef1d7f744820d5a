"""Edge-aware smoothing of patch features: noise goes, borders stay.

A feature becomes the mean of its 3 x 3 neighbourhood, each neighbour weighted by how like it is,
``exp((cos - 1) / temperature)``, itself by 1: a bilateral filter (Tomasi and Manduchi, ICCV 1998)
whose range is the cosine of features instead of the difference of colours. Across the border of an
object the cosine falls by a few tenths, the weight to a few hundredths, so little leaks; within one
it averages out what varies from patch to patch. Trees over smoothed features follow objects better
at every size (docs/trees.md), for a few milliseconds.
"""

from __future__ import annotations

import torch
from torch import Tensor

from regiontree.spectral.threads import one_thread

__all__ = ["smooth_features"]

_BLOCK_ENTRIES = 500_000  # float32 entries smoothed at once: 2 MB, which caches hold


def smooth_features(features: Tensor, *, steps: int, temperature: float = 0.1) -> Tensor:
    """Smooth features over the patch grid.

    Parameters
    ----------
    features
        (h, w, d), of unit length.
    steps
        Times the filter is applied, >= 0.
    temperature
        Fall of the cosine at which a neighbour's weight falls to 1/e, > 0.

    Returns
    -------
    (h, w, d), of unit length.
    """
    h, w, d = features.shape
    rows = max(1, _BLOCK_ENTRIES // (w * d))
    smooth = features.clone()
    with one_thread():
        for _ in range(steps):
            above = smooth[:0]  # the row before the block, as it was before this step
            for top in range(0, h, rows):
                block = torch.cat([above, smooth[top : top + rows + 1]])
                above = smooth[top + rows - 1 : top + rows].clone()
                first = min(top, 1)
                smooth[top : top + rows] = _smoothed(block, temperature)[first : first + rows]
    return smooth


def _smoothed(features: Tensor, temperature: float) -> Tensor:
    """One step, (h, w, d)."""
    total = features.clone()
    # Each pair of neighbours is met once and serves both.
    for dy, dx in ((0, 1), (1, -1), (1, 0), (1, 1)):
        here, there = _pair(dy, dx)
        a, b = features[here], features[there]
        weight = ((torch.linalg.vecdot(a, b) - 1) / temperature).exp()[:, :, None]
        total[here].addcmul_(weight, b)
        total[there].addcmul_(weight, a)
    return torch.nn.functional.normalize(total, dim=-1)


def _pair(dy: int, dx: int) -> tuple[tuple[slice, slice], tuple[slice, slice]]:
    """Slices of a grid such that ``there`` is ``here`` moved by (dy, dx), both inside."""
    ends = [
        (slice(max(0, -d), -d if d > 0 else None), slice(max(0, d), d if d < 0 else None))
        for d in (dy, dx)
    ]
    (top, bottom), (left, right) = ends
    return (top, left), (bottom, right)
