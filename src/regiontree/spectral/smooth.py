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

float32 features on the CPU are smoothed by a compiled loop, and all others by torch. The loop reads
each row of patches while it is in the processor's cache. Its results differ from torch's in the
last digits, as it adds in another order.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from regiontree.spectral.lanes import wide, widened
from regiontree.system.jit import jit
from regiontree.system.threads import one_thread

__all__ = ["TEMPERATURE_ALONE", "TEMPERATURE_WITH_COLOURS", "smooth_features"]

Floats = NDArray[np.float32]

TEMPERATURE_WITH_COLOURS = 0.2
"""Where colours take part, a weight falls to 1/e when the cosine falls by this much."""
TEMPERATURE_ALONE = 0.1
"""Without colours, a weight falls to 1/e when the cosine falls by this much."""
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
    in_place: bool = False,
) -> Tensor:
    """Features smoothed over the patch grid.

    Parameters
    ----------
    features
        (h, w, d) float32, one unit-length feature for each patch.
    steps
        How often the filter is applied, >= 0.
    colours
        (h, w, 3), the colour of each patch in CIE L*a*b*. None: weights depend on features alone.
    contrast
        Difference of colours, in units of L*a*b*, at which the weight of a neighbour falls to 1/e.
        It must be above 0.
    there
        (h, w) bool, which patches have data. The others do not influence them. None: all of them.
    in_place
        Whether the result may take the place of `features`, which saves the memory of a copy.

    Returns
    -------
    Tensor
        (h, w, d), one unit-length feature for each patch.
    """
    h, w, d = features.shape
    temperature = TEMPERATURE_ALONE if colours is None else TEMPERATURE_WITH_COLOURS
    edges = _edges(features, None if colours is None else colours / contrast, there)
    if features.device.type != "cpu" or features.dtype != torch.float32:
        smooth = features if in_place else features.clone()
        with one_thread():
            for _ in range(steps):
                _step_by_torch(smooth, edges, temperature)
        return smooth
    given = features.numpy().reshape(h * w, d)
    rows = wide(given) if in_place else widened(given)
    for _ in range(steps):
        _step(rows, (h, w), edges.numpy(), temperature)
    return torch.from_numpy(np.ascontiguousarray(rows[:, :d])).reshape(h, w, d)


def _edges(features: Tensor, colours: Tensor | None, there: Tensor | None) -> Tensor:
    """How much less alike the colours make each pair of `_PAIRS`, (4, h, w), at its first patch.

    Infinity, which makes the weight 0, stands where one of the two patches is outside the grid or
    not there. Of the features (h, w, d) only the size, the device and the precision are used.
    """
    edges = features.new_full((4, *features.shape[:2]), torch.inf)
    channels = None if colours is None else colours.movedim(2, 0)
    for i, (dy, dx) in enumerate(_PAIRS):
        here, beside = _pair(dy, dx)
        edges[i][here] = 0.0
        if channels is not None:
            apart = channels[:, here[0], here[1]] - channels[:, beside[0], beside[1]]
            edges[i][here] = apart.square_().sum(dim=0).sqrt_().to(edges.dtype)
        if there is not None:
            edges[i][here].masked_fill_(~(there[here] & there[beside]), torch.inf)
    return edges


def _step_of_torch(rows: Floats, grid: tuple[int, int], edges: Floats, temperature: float) -> None:
    """What :func:`_step` does, by torch."""
    with one_thread():
        smooth = torch.from_numpy(rows).reshape(*grid, -1)
        _step_by_torch(smooth, torch.from_numpy(edges), temperature)


@jit()
def _dot(rows: Floats, a: Any, b: Any, sums: Floats) -> Any:
    """The dot product of two rows (float32), in the order of :mod:`regiontree.spectral.lanes`.

    `sums` (LANES,) is room for partial sums.
    """
    for i in range(32):
        sums[i] = np.float32(0)
    for block in range(rows.shape[1] // 384):  # a range with a step would keep it from vectors
        start = block * 384
        for lane in range(32):
            i = start + lane
            sums[lane] += (
                rows[a, i] * rows[b, i]
                + rows[a, i + 32] * rows[b, i + 32]
                + rows[a, i + 64] * rows[b, i + 64]
                + rows[a, i + 96] * rows[b, i + 96]
                + rows[a, i + 128] * rows[b, i + 128]
                + rows[a, i + 160] * rows[b, i + 160]
                + rows[a, i + 192] * rows[b, i + 192]
                + rows[a, i + 224] * rows[b, i + 224]
                + rows[a, i + 256] * rows[b, i + 256]
                + rows[a, i + 288] * rows[b, i + 288]
                + rows[a, i + 320] * rows[b, i + 320]
                + rows[a, i + 352] * rows[b, i + 352]
            )
    for i in range(16):
        sums[i] += sums[i + 16]
    for i in range(8):
        sums[i] += sums[i + 8]
    for i in range(4):
        sums[i] += sums[i + 4]
    return (sums[0] + sums[2]) + (sums[1] + sums[3])


@jit()
def _weights(
    rows: Floats,
    row: int,
    grid: tuple[int, int],
    edges: Floats,
    temperature: float,
    sums: Floats,
    weights: Floats,
) -> None:
    """The weights of the pairs whose first patch is in a row of the grid: into `weights` (4, w).

    The four are the pairs of `_PAIRS`. `sums` (LANES,) is room for partial sums.
    """
    w = grid[1]
    for k in range(4):
        down = 0 if k == 0 else 1
        along = 0 if k == 2 else -1 if k == 1 else 1
        for x in range(w):
            edge = edges[k, row, x]
            if edge == np.inf:
                weights[k, x] = np.float32(0)
                continue
            here = row * w + x
            drop = np.float64(_dot(rows, here, here + down * w + along, sums)) - 1.0
            weights[k, x] = np.float32(math.exp(drop / temperature - np.float64(edge)))


@jit(instead=_step_of_torch)
def _step(rows: Floats, grid: tuple[int, int], edges: Floats, temperature: float) -> None:
    """One step of smoothing of `rows` (h * w, d), in place; d is a multiple of 384.

    `edges` (4, h, w) are those of :func:`_edges`.
    """
    h, w = grid
    d = rows.shape[1]
    # The row of the grid above and the one at work, with their values before this step.
    above, own = np.zeros((w, d), np.float32), np.zeros((w, d), np.float32)
    # The weights of the pairs whose first patch is in these rows.
    of_above, of_own = np.zeros((4, w), np.float32), np.zeros((4, w), np.float32)
    sums = np.empty(32, np.float32)
    nothing = np.float32(0)
    for y in range(h):
        above, own = own, above
        of_above, of_own = of_own, of_above
        _weights(rows, y, grid, edges, temperature, sums, of_own)
        for x in range(w):
            for i in range(d):
                own[x, i] = rows[y * w + x, i]
        below = (y + 1) * w if y + 1 < h else y * w
        for x in range(w):
            # A neighbour outside the grid has the weight 0, and another is read in its place.
            left = x - 1 if x > 0 else x
            right = x + 1 if x + 1 < w else x
            at = y * w + x
            # Two loops, since LLVM uses vectors only where few arrays have to be told apart.
            to_right = of_own[0, x]
            to_left = of_own[0, left] if x > 0 else nothing
            up = of_above[2, x]
            up_left = of_above[3, left] if x > 0 else nothing
            up_right = of_above[1, right] if x + 1 < w else nothing
            for i in range(d):
                rows[at, i] = (
                    own[x, i]
                    + to_right * own[right, i]
                    + to_left * own[left, i]
                    + up * above[x, i]
                    + up_left * above[left, i]
                    + up_right * above[right, i]
                )
            down_left, down, down_right = of_own[1, x], of_own[2, x], of_own[3, x]
            if y + 1 < h:
                for i in range(d):
                    rows[at, i] += (
                        down_left * rows[below + left, i]
                        + down * rows[below + x, i]
                        + down_right * rows[below + right, i]
                    )
            scale = np.float32(1.0 / max(math.sqrt(_dot(rows, at, at, sums)), 1e-12))
            for i in range(d):
                rows[at, i] *= scale


# -- by torch -------------------------------------------------------------------------------------


def _step_by_torch(smooth: Tensor, edges: Tensor, temperature: float) -> None:
    """One step of smoothing, in place, some rows of the grid at a time.

    `smooth` is (h, w, d), and `edges` (4, h, w) are those of :func:`_edges`.
    """
    h, w, d = smooth.shape
    rows = max(1, _BLOCK_ENTRIES // (w * d))
    above = smooth[:0]  # the row above the block, with its values before this step
    for top in range(0, h, rows):
        block = torch.cat([above, smooth[top : top + rows + 1]])
        above = smooth[top + rows - 1 : top + rows].clone()
        first = min(top, 1)
        found = _smoothed(block, edges[:, top - first :][:, : len(block)], temperature)
        smooth[top : top + rows] = found[first : first + rows]


def _smoothed(features: Tensor, edges: Tensor, temperature: float) -> Tensor:
    """The features (h, w, d) after one step."""
    total = features.clone()
    # Each pair of neighbours is visited once, and its weight is used for both patches.
    for i, (dy, dx) in enumerate(_PAIRS):
        here, beside = _pair(dy, dx)
        a, b = features[here], features[beside]
        drop = torch.linalg.vecdot(a, b) - 1
        weight = (drop / temperature - edges[i][here]).exp()
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
