"""Smoothing of patch features along the frames of a clip.

Each feature becomes the weighted mean of itself and of the features at its place in the frames
before and after, scaled to unit length. The weights are those of :mod:`regiontree.spectral.smooth`,
which smooths within a photograph: a neighbour of another feature or another colour hardly counts.
So features are steady where nothing happens, and a thing that moves on is not mixed with what it
uncovers.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor
from torch.nn.functional import normalize

from regiontree.spectral.smooth import TEMPERATURE_ALONE, TEMPERATURE_WITH_COLOURS
from regiontree.system.threads import one_thread

__all__ = ["smooth_in_time"]


def smooth_in_time(
    frames: Sequence[Tensor],
    *,
    steps: int,
    colours: Sequence[Tensor] | None = None,
    contrast: float = 20.0,
    there: Sequence[Tensor] | None = None,
) -> list[Tensor]:
    """Features smoothed along the frames of a clip.

    Parameters
    ----------
    frames
        One tensor a frame: (n, d) float32, the feature of each patch of the grid, of unit length.
    steps
        How often the filter is applied, >= 0.
    colours
        One tensor a frame: (n, 3), the colour of each patch in CIE L*a*b*. None: weights depend on
        features alone.
    contrast
        Difference of colours, in units of L*a*b*, at which the weight of a neighbour falls to 1/e.
    there
        One tensor a frame: (n,) bool, which patches have data. The others do not influence them.

    Returns
    -------
    list of Tensor
        As `frames`. The tensors given are not changed.

    Examples
    --------
    The middle feature is nearly that of its neighbours in time, and becomes more so:

    >>> clip = [torch.tensor([[1.0, 0.0]]), torch.tensor([[0.8, 0.6]]), torch.tensor([[1.0, 0.0]])]
    >>> [round(float(frame[0, 1]), 2) for frame in smooth_in_time(clip, steps=1)]
    [0.07, 0.49, 0.07]
    """
    temperature = TEMPERATURE_ALONE if colours is None else TEMPERATURE_WITH_COLOURS
    apart = [
        _apart(a, colours, contrast, there) for a in range(len(frames) - 1)
    ]  # of each frame and the next
    smooth = list(frames)
    with one_thread():
        for _ in range(steps):
            before: Tensor | None = (
                None  # the weighted frame before, with its values before this step
            )
            for t, own in enumerate(smooth):
                total = own.clone() if before is None else own + before
                if t + 1 < len(smooth):
                    drop = torch.linalg.vecdot(own, smooth[t + 1]) - 1
                    weight = (drop / temperature - apart[t]).exp()[:, None]
                    total.addcmul_(weight, smooth[t + 1])
                    before = weight * own
                smooth[t] = normalize(total, dim=1)
    return smooth


def _apart(
    first: int,
    colours: Sequence[Tensor] | None,
    contrast: float,
    there: Sequence[Tensor] | None,
) -> Tensor | float:
    """How much less alike colours make a patch and the one after it; infinite without data."""
    apart: Tensor | float = 0.0
    if colours is not None:
        step = colours[first] - colours[first + 1]
        apart = torch.linalg.vector_norm(step, dim=1) / contrast
    if there is not None:
        both = there[first] & there[first + 1]
        apart = torch.where(both, apart, torch.inf)
    return apart
