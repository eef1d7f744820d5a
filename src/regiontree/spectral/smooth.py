"""Edge-aware smoothing of patch features: it removes noise and keeps borders.

Each feature becomes the weighted mean of its 3 x 3 neighbourhood, scaled to unit length. The
feature itself has weight 1. A neighbour has the weight

    exp((cos - 1) / temperature - |difference of colours| / contrast)

This is a bilateral filter (Tomasi and Manduchi, ICCV 1998) on the cosine of two features and on
the colours of the photograph. The cosine falls by a few tenths across the border of an object.
Inside an object the cosine varies from patch to patch, and the mean removes this variation.

The cosine alone is not enough. A network mixes neighbouring patches, so features change gradually
near a border, and a filter on features alone blurs the border more. Colours change abruptly at a
border, so they keep the filter from crossing it. Trees over smoothed features follow objects better
at every size (docs/trees.md). Smoothing takes a few milliseconds.

Without colours the weight depends on the features alone, with a lower temperature. A patch that is
not there has the weight 0 for its neighbours.
"""

from __future__ import annotations

import torch
from torch import Tensor

from regiontree.system.threads import one_thread

__all__ = ["smooth_features"]

# Temperatures with and without colours: a weight falls to 1/e when the cosine falls by this much.
_TEMPERATURE_WITH_COLOURS, _TEMPERATURE_ALONE = 0.2, 0.1
# (dy, dx) from a patch to the four neighbours that follow it in reading order.
_PAIRS = ((0, 1), (1, -1), (1, 0), (1, 1))
_BLOCK_ENTRIES = 500_000  # float32 entries smoothed at once: 2 MB, which fit in a cache


def smooth_features(
    features: Tensor,
    *,
    steps: int,
    colours: Tensor | None = None,
    contrast: float = 20.0,
    there: Tensor | None = None,
) -> Tensor:
    """Features smoothed over the patch grid.

    Parameters
    ----------
    features
        (h, w, d) float32, one unit-length feature for each patch. The array is not changed.
    steps
        How often the filter is applied, >= 0.
    colours
        (h, w, 3), the colour of each patch in CIE L*a*b*. None: weights depend on features alone.
    contrast
        Difference of colours, in units of L*a*b*, at which the weight of a neighbour falls to 1/e.
        It must be above 0.
    there
        (h, w) bool, which patches have data. The others do not influence them. None: all of them.

    Returns
    -------
    Tensor
        (h, w, d), one unit-length feature for each patch.
    """
    h, w, d = features.shape
    rows = max(1, _BLOCK_ENTRIES // (w * d))
    smooth = features.clone()
    with one_thread():
        edges = None if colours is None else _edges(colours / contrast)
        for _ in range(steps):
            above = smooth[:0]  # the row above the block, with its values before this step
            for top in range(0, h, rows):
                block = torch.cat([above, smooth[top : top + rows + 1]])
                above = smooth[top + rows - 1 : top + rows].clone()
                first = min(top, 1)
                near = edges and [edge[top - first :] for edge in edges]
                known = None if there is None else there[top - first :]
                smooth[top : top + rows] = _smoothed(block, near, known)[first : first + rows]
    return smooth


def _edges(colours: Tensor) -> list[Tensor]:
    """Colour differences of neighbouring patches: one 2-D tensor for each entry of `_PAIRS`.

    `colours` is (h, w, 3). Each tensor is smaller than (h, w), because a patch at the border of the
    grid has fewer neighbours.
    """
    channels = colours.movedim(2, 0)
    found = []
    for dy, dx in _PAIRS:
        here, there = _pair(dy, dx)
        apart = channels[:, here[0], here[1]] - channels[:, there[0], there[1]]
        found.append(apart.square_().sum(dim=0).sqrt_())
    return found


def _smoothed(features: Tensor, edges: list[Tensor] | None, there: Tensor | None) -> Tensor:
    """The features (h, w, d) after one step; `edges`, `there` may have rows below the last row."""
    total = features.clone()
    # Each pair of neighbours is visited once, and its weight is used for both patches.
    for i, (dy, dx) in enumerate(_PAIRS):
        here, beside = _pair(dy, dx)
        a, b = features[here], features[beside]
        drop = torch.linalg.vecdot(a, b) - 1
        if edges is None:
            weight = (drop / _TEMPERATURE_ALONE).exp()
        else:
            weight = (drop / _TEMPERATURE_WITH_COLOURS - edges[i][: len(a)]).exp()
        if there is not None:
            known = there[: len(features)]
            weight = weight * (known[here] & known[beside])
        total[here].addcmul_(weight[:, :, None], b)
        total[beside].addcmul_(weight[:, :, None], a)
    return torch.nn.functional.normalize(total, dim=-1)


def _pair(dy: int, dx: int) -> tuple[tuple[slice, slice], tuple[slice, slice]]:
    """Slices of a grid: the patches that have a neighbour at (dy, dx), and the neighbours."""
    ends = [
        (slice(max(0, -d), -d if d > 0 else None), slice(max(0, d), d if d < 0 else None))
        for d in (dy, dx)
    ]
    (top, bottom), (left, right) = ends
    return (top, left), (bottom, right)
