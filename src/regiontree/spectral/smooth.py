"""Edge-aware smoothing of patch features: noise goes, borders stay.

A feature becomes the mean of its 3 x 3 neighbourhood, itself with weight 1, each neighbour with

    exp((cos - 1) / temperature - |difference of colours| / contrast)

: a bilateral filter (Tomasi and Manduchi, ICCV 1998) whose range is the cosine of features and the
colour of the photograph. Across the border of an object the cosine falls by a few tenths; within
one it varies from patch to patch, which averages out. But features are broad: a network mixes what
lies near, so next to a border they change by degrees, and a filter that sees nothing else makes
them change by smaller ones. Colours change at once, and so stop it where features cannot. Trees
over smoothed features follow objects better at every size (docs/trees.md), for a few milliseconds.

Without a photograph features alone decide, which they must with a lower temperature.
"""

from __future__ import annotations

import torch
from torch import Tensor

from regiontree.system.threads import one_thread

__all__ = ["smooth_features"]

_WITH_COLOURS, _ALONE = 0.2, 0.1  # temperatures: fall of the cosine at which weights fall to 1/e
_PAIRS = ((0, 1), (1, -1), (1, 0), (1, 1))  # (dy, dx) from a patch to those that follow it
_BLOCK_ENTRIES = 500_000  # float32 entries smoothed at once: 2 MB, which caches hold


def smooth_features(
    features: Tensor,
    *,
    steps: int,
    colours: Tensor | None = None,
    contrast: float = 20.0,
) -> Tensor:
    """Smooth features over the patch grid.

    Parameters
    ----------
    features
        (h, w, d), of unit length.
    steps
        Times the filter is applied, >= 0.
    colours
        (h, w, 3), of each patch in CIE L*a*b*; None: features alone decide.
    contrast
        Difference of colours at which a neighbour's weight falls to 1/e, > 0.

    Returns
    -------
    (h, w, d), of unit length.
    """
    h, w, d = features.shape
    rows = max(1, _BLOCK_ENTRIES // (w * d))
    smooth = features.clone()
    with one_thread():
        edges = None if colours is None else _edges(colours / contrast)
        for _ in range(steps):
            above = smooth[:0]  # the row before the block, as it was before this step
            for top in range(0, h, rows):
                block = torch.cat([above, smooth[top : top + rows + 1]])
                above = smooth[top + rows - 1 : top + rows].clone()
                first = min(top, 1)
                near = edges and [edge[top - first :] for edge in edges]
                smooth[top : top + rows] = _smoothed(block, near)[first : first + rows]
    return smooth


def _edges(colours: Tensor) -> list[Tensor]:
    """Differences of colours (h, w, 3) between the neighbours of each of :data:`_PAIRS`."""
    channels = colours.movedim(2, 0)
    found = []
    for dy, dx in _PAIRS:
        here, there = _pair(dy, dx)
        apart = channels[:, here[0], here[1]] - channels[:, there[0], there[1]]
        found.append(apart.square_().sum(dim=0).sqrt_())
    return found


def _smoothed(features: Tensor, edges: list[Tensor] | None) -> Tensor:
    """One step, (h, w, d); `edges` may go on below the last row."""
    total = features.clone()
    # Each pair of neighbours is met once and serves both.
    for i, (dy, dx) in enumerate(_PAIRS):
        here, there = _pair(dy, dx)
        a, b = features[here], features[there]
        likeness = torch.linalg.vecdot(a, b) - 1
        if edges is None:
            weight = (likeness / _ALONE).exp()
        else:
            weight = (likeness / _WITH_COLOURS - edges[i][: len(a)]).exp()
        total[here].addcmul_(weight[:, :, None], b)
        total[there].addcmul_(weight[:, :, None], a)
    return torch.nn.functional.normalize(total, dim=-1)


def _pair(dy: int, dx: int) -> tuple[tuple[slice, slice], tuple[slice, slice]]:
    """Slices of a grid such that ``there`` is ``here`` moved by (dy, dx), both inside."""
    ends = [
        (slice(max(0, -d), -d if d > 0 else None), slice(max(0, d), d if d < 0 else None))
        for d in (dy, dx)
    ]
    (top, bottom), (left, right) = ends
    return (top, left), (bottom, right)
