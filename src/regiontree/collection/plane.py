"""The map of a collection: the prototypes in a plane, those that are alike near each other.

t-SNE turns the cosines between prototypes into probabilities that one is a neighbour of another,
and places points so that their probabilities in the plane are like these. The points start at the
two leading principal components, so the same prototypes give the same map.

Reference: van der Maaten and Hinton, Visualizing data using t-SNE, JMLR 2008; the start by Kobak
and Berens, The art of using t-SNE for single-cell transcriptomics, Nature Communications 2019.
"""

from __future__ import annotations

import hashlib
from contextlib import suppress
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from regiontree.system.files import atomic_write

__all__ = ["kept_places", "plane_of"]

_NEIGHBOURS = 30.0  # perplexity: how many neighbours each point has, about
_STEPS, _EARLY = 500, 125  # all steps, and those with stronger attraction
_ATTRACTION = 12.0
_HALVINGS = 40  # of the interval in which the width of a point's neighbourhood lies
_NOTHING = 1e-12


def plane_of(rows: NDArray[np.floating], steps: int = _STEPS) -> NDArray[np.float32]:
    """Places in the plane, (K, 2) float32 from 0 to 1, for rows that are compared by their cosine.

    Parameters
    ----------
    rows
        (K, p) prototypes; their length makes no difference.
    steps
        Steps of the descent, >= 0.

    Notes
    -----
    Memory and time grow with K squared: 1,000 prototypes take seconds, 4,096 a minute.
    """
    values = torch.from_numpy(np.asarray(rows, np.float32))
    count = len(values)
    if count < 3:
        return np.linspace(0.25, 0.75, 2 * count, dtype=np.float32).reshape(count, 2)
    values = values / torch.linalg.vector_norm(values, dim=1, keepdim=True).clamp_min(_NOTHING)
    near = _neighbours(2 - 2 * values @ values.T, min(_NEIGHBOURS, (count - 1) / 3))
    places = _start(values)
    moving, gain = torch.zeros_like(places), torch.ones_like(places)
    rate = max(count / _ATTRACTION, 50.0)
    for step in range(steps):
        early = step < min(_EARLY, steps // 4)
        slope = _slope(places, near, _ATTRACTION if early else 1.0)
        same = (slope > 0) == (moving > 0)
        gain = torch.where(same, gain * 0.8, gain + 0.2).clamp_min(0.01)
        moving = (0.5 if early else 0.8) * moving - rate * gain * slope
        places = places + moving
    low, high = places.amin(dim=0), places.amax(dim=0)
    found: NDArray[np.float32] = ((places - low) / (high - low).max().clamp_min(_NOTHING)).numpy()
    return found


def kept_places(path: Path, rows: NDArray[np.floating]) -> NDArray[np.float32]:
    """The map in a file, or a new one, which is then written there.

    Parameters
    ----------
    path
        A ``.npy`` file, which holds the map and a digest of what it was made of.
    rows
        As of :func:`plane_of`.
    """
    digest = hashlib.sha256(np.ascontiguousarray(rows).tobytes()).digest()[:8]
    mark = np.frombuffer(digest, np.float32)
    with suppress(OSError, ValueError, EOFError), path.open("rb") as file:
        found = np.load(file, allow_pickle=False)
        right = found.shape == (len(rows) + 1, 2) and found.dtype == np.float32
        if right and found[-1].tobytes() == mark.tobytes():
            places: NDArray[np.float32] = found[:-1]
            return places
    made = plane_of(rows)
    with suppress(OSError), atomic_write(path) as file:
        np.save(file, np.concatenate([made, mark[None]]), allow_pickle=False)
    return made


def _neighbours(squared: torch.Tensor, wanted: float) -> torch.Tensor:
    """Probabilities (K, K), symmetric and of sum 1, that two points are neighbours.

    The neighbours of point i have weights exp(-b_i d²). The width b_i is such that their entropy is
    that of `wanted` equal neighbours.
    """
    squared = squared.clamp_min(0).fill_diagonal_(torch.inf)
    low = torch.zeros(len(squared), 1)
    high = torch.full((len(squared), 1), torch.inf)
    width = torch.full((len(squared), 1), 10.0)
    for _ in range(_HALVINGS):
        share = torch.softmax(-width * squared, dim=1)
        entropy = -(share * share.clamp_min(_NOTHING).log()).sum(dim=1, keepdim=True)
        wide = entropy > np.log(wanted)
        low, high = torch.where(wide, width, low), torch.where(wide, high, width)
        width = torch.where(high.isinf(), 2 * width, (low + high) / 2)
    share = torch.softmax(-width * squared, dim=1)
    both = share + share.T
    total: torch.Tensor = both.sum()
    least: torch.Tensor = total.clamp_min(_NOTHING)
    return both / least


def _start(values: torch.Tensor) -> torch.Tensor:
    """The two leading principal components, small, with one sign on every machine."""
    centred = (values - values.mean(dim=0)).double()
    _, axes = torch.linalg.eigh(centred.T @ centred)
    axes = axes[:, -2:].flip(1)
    if axes.shape[1] < 2:
        axes = torch.cat([axes, torch.zeros_like(axes)], dim=1)
    largest = axes.gather(0, axes.abs().argmax(dim=0, keepdim=True))
    places = centred @ (axes * torch.where(largest < 0, -1.0, 1.0))
    scaled: torch.Tensor = places / places[:, 0].std().clamp_min(_NOTHING) * 1e-2
    return scaled.float()


def _slope(places: torch.Tensor, near: torch.Tensor, attraction: float) -> torch.Tensor:
    """The gradient of the divergence of the plane's probabilities from `near`, (K, 2)."""
    squares = (places * places).sum(dim=1)
    apart = squares[:, None] + squares[None] - 2 * places @ places.T
    close = 1 / (1 + apart.clamp_min(0))
    close.fill_diagonal_(0)
    pull = (attraction * near - close / close.sum()) * close
    slope: torch.Tensor = 4 * (pull.sum(dim=1, keepdim=True) * places - pull @ places)
    return slope
