"""A label for each pixel, by a fully connected conditional random field (CRF).

Every pixel has an energy for each label. Every pair of pixels has an energy that rewards equal
labels. This pairwise energy has two kernels. A Gaussian of the distance, with weight 3, removes
specks. A Gaussian of the distance and the difference in colour, with weight 4, moves borders to the
photograph's edges. Both kernels are normalised symmetrically: ``k_ij / sqrt(s_i s_j)`` with
``s_i = sum_j k_ij``. Ten steps of mean field approximate the marginals ``Q_i(l)`` of the field:

    Q_i(l) <- softmax over l of  -U_i(l) + sum over kernels of weight * sum_j k_ij Q_j(l)

A :class:`~regiontree.refine.lattice.PermutohedralLattice` computes the sums over all pairs, so the
cost is linear in pixels times labels. Every pixel keeps all labels. Keeping only the likeliest
labels was tried and rejected. With 200 leaves, the best 16 labels of each pixel gave only 93 to
96 % of the full field's labels, because the small shares of the unlikely labels add up.

Reference: Krähenbühl and Koltun, "Efficient Inference in Fully Connected CRFs with Gaussian Edge
Potentials", NeurIPS 2011. The kernels are those of equation 3, and the inference is algorithm 1,
with one difference: each pixel counts itself among its neighbours, as in the authors' program and
in pydensecrf.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from regiontree.errors import FeatureError, SettingsError
from regiontree.refine.lattice import PermutohedralLattice, lattice_memory, spans
from regiontree.system.stages import check_settings, setting

__all__ = ["CrfSettings", "check_memory", "crf", "marginals", "memory_needed"]

_TILE = 1 << 20  # energies handled together: 4 MB


@dataclass(frozen=True, slots=True, kw_only=True)
class CrfSettings:
    """The parameters of the CRF, by default the published ones, and how the CRF is computed."""

    smooth_xy: float = setting(
        1.0,
        "Standard deviation in pixels of the kernel of distance alone.",
        low=0.01,
        high=1e6,
    )
    smooth_weight: float = setting(
        3.0, "Weight of the kernel of distance alone; 0 leaves it out.", low=0, high=1e3
    )
    edge_xy: float = setting(
        67.0,
        "Standard deviation in pixels of the kernel of distance and colour.",
        low=0.01,
        high=1e6,
    )
    edge_rgb: float = setting(
        3.0,
        "Standard deviation in grey levels (0 to 255) of the kernel of distance and colour.",
        low=0.01,
        high=1e6,
    )
    edge_weight: float = setting(
        4.0, "Weight of the kernel of distance and colour; 0 leaves it out.", low=0, high=1e3
    )
    steps: int = setting(
        10,
        "Steps of mean field; 0 gives each pixel its own likeliest label.",
        low=0,
        high=1000,
        whole=True,
    )
    # Half and single precision give the same labels, except for about 0.05 % (benchmarks/crf.py).
    precision: str = setting(
        "half",
        "How probabilities and sums are stored; half takes 0.6 of the time and memory.",
        choices=("half", "single"),
    )
    memory_limit: float = setting(
        8e9,
        "Bytes that may be used; a photograph that needs more is reduced.",
        low=0,
        high=1e15,
    )

    def __post_init__(self) -> None:
        check_settings(self)


def crf(
    unary: NDArray[np.float32] | Tensor,
    rgb: NDArray[np.uint8],
    settings: CrfSettings | None = None,
    valid: NDArray[np.bool_] | None = None,
) -> NDArray[np.int32]:
    """The likeliest label of each pixel, (H, W) int32; on a tie, the lowest label.

    Equal input and settings give equal bytes on one machine, with any number of threads.

    Parameters
    ----------
    unary
        (n_labels, H, W) float32, finite: the energies, lower for likelier labels, such as negative
        logarithms of probabilities. If `unary` is a tensor, everything is computed on its device.
        No copy is made if the labels of a pixel are side by side in memory, as in a transposed
        (H, W, n_labels) array.
    rgb
        (H, W, 3) uint8, the photograph.
    settings
        The published settings if None.
    valid
        (H, W) bool, the pixels of the field. The others are left out of it. None: all of them.

    Returns
    -------
    (H, W) int32, labels from 0 to n_labels - 1; -1 for a pixel that is left out.

    Raises
    ------
    FeatureError
        `unary` or `rgb` has a wrong shape or type, `unary` is not finite, or the two differ in
        size.
    SettingsError
        The CRF may need more memory than `settings` allow: see :func:`memory_needed`.

    Examples
    --------
    The middle pixel prefers label 1, a little more strongly than its neighbours prefer label 0. On
    a grey image, the pixel takes its neighbours' label. If only this pixel is white, it keeps its
    own label.

    >>> unary = np.zeros((2, 5, 5), np.float32)
    >>> unary[1] = 1.0
    >>> unary[:, 2, 2] = 1.5, 0.0
    >>> rgb = np.full((5, 5, 3), 90, np.uint8)
    >>> int(crf(unary, rgb).sum())
    0
    >>> rgb[2, 2] = 255
    >>> print(crf(unary, rgb)[2])
    [0 0 1 0 0]
    """
    energies, shape = _checked(unary, rgb)
    if valid is not None:
        energies = energies[torch.from_numpy(valid.reshape(-1)).to(energies.device)]
    labels = torch.empty(len(energies), dtype=torch.int32, device="cpu")
    if len(energies):
        for pixels, logits in _mean_field(energies, rgb, settings or CrfSettings(), valid):
            labels[pixels] = logits.argmax(1)
    if valid is None:
        found: NDArray[np.int32] = labels.view(shape).numpy()
        return found
    found = np.full(shape, -1, np.int32)
    found[valid] = labels.numpy()
    return found


def marginals(
    unary: NDArray[np.float32] | Tensor,
    rgb: NDArray[np.uint8],
    settings: CrfSettings | None = None,
) -> NDArray[np.float32]:
    """Probability of each label at each pixel, (n_labels, H, W) float32.

    The probabilities are in 0 to 1 and sum to 1 at each pixel. Parameters and errors are those of
    :func:`crf`.
    """
    energies, shape = _checked(unary, rgb)
    found = torch.empty(energies.shape, dtype=torch.float32, device="cpu")
    for pixels, logits in _mean_field(energies, rgb, settings or CrfSettings()):
        found[pixels] = logits.softmax(1)
    probabilities: NDArray[np.float32] = found.T.reshape(-1, *shape).numpy()
    return probabilities


def memory_needed(shape: tuple[int, int], n_labels: int, settings: CrfSettings) -> int:
    """Upper bound of the bytes that :func:`crf` takes, beyond its arguments.

    The bound holds for any (H, W) image `shape`, even noise: it assumes that no two pixels share a
    vertex of the lattice. A photograph needs about half of it.
    """
    if n_labels == 1:
        return 0
    n, itemsize = shape[0] * shape[1], 2 if settings.precision == "half" else 4
    lattices = [lattice_memory(n, d, n_labels, itemsize) for d, _ in _kernels(settings)]
    kept = sum(kept for kept, _ in lattices)
    in_use = max((in_use for _, in_use in lattices), default=0)
    return n * n_labels * (4 + (1 + len(lattices)) * itemsize) + kept + in_use + 16 * (n + _TILE)


def check_memory(shape: tuple[int, int], n_labels: int, settings: CrfSettings) -> None:
    """Check that the memory for a CRF is within the limit of the settings.

    Raises
    ------
    SettingsError
        :func:`memory_needed` is above `settings.memory_limit`.
    """
    needed = memory_needed(shape, n_labels, settings)
    if needed > settings.memory_limit:
        raise SettingsError(
            f"a CRF of {n_labels} labels on {shape[0]} x {shape[1]} pixels may need "
            f"{needed / 1e9:.1f} GB, above memory_limit of {settings.memory_limit / 1e9:.1f} GB; "
            "use fewer labels, a smaller image, or raise memory_limit"
        )


def _checked(
    unary: NDArray[np.float32] | Tensor, rgb: NDArray[np.uint8]
) -> tuple[Tensor, tuple[int, int]]:
    """The energies as a view (n, n_labels) with n = H * W, and (H, W)."""
    if isinstance(unary, Tensor):
        energies = unary
    else:  # torch warns about read-only arrays
        energies = torch.from_numpy(unary if unary.flags.writeable else unary.copy())
    if energies.ndim != 3 or 0 in energies.shape or energies.dtype != torch.float32:
        raise FeatureError(
            f"unary must be (n_labels, H, W) float32, none of them 0, got {tuple(energies.shape)} "
            f"{str(energies.dtype).removeprefix('torch.')}"
        )
    n_labels, height, width = energies.shape
    if rgb.shape != (height, width, 3) or rgb.dtype != np.uint8:
        raise FeatureError(
            f"rgb must be ({height}, {width}, 3) uint8 like unary, got {rgb.shape} {rgb.dtype}"
        )
    low, high = energies.aminmax()
    if not (low.isfinite() and high.isfinite()):
        raise FeatureError(
            "unary must be finite; give an impossible label a large energy, such as 100"
        )
    return energies.reshape(n_labels, -1).T, (height, width)


def _kernels(settings: CrfSettings) -> list[tuple[int, float]]:
    """Number of dimensions and weight of each kernel whose weight is not 0."""
    both = ((2, settings.smooth_weight), (5, settings.edge_weight))
    return [(d, weight) for d, weight in both if weight > 0]


def _mean_field(
    energies: Tensor,
    rgb: NDArray[np.uint8],
    settings: CrfSettings,
    valid: NDArray[np.bool_] | None = None,
) -> Iterator[tuple[slice, Tensor]]:
    """Tiles of pixels, each with the logarithms of its marginals, (pixels, n_labels).

    A constant for each pixel may be added to its logarithms, so a softmax gives the marginals. The
    rows of `energies` are the valid pixels, row by row.
    """
    n, n_labels = energies.shape
    height, width = rgb.shape[:2]
    kernels = _kernels(settings)
    steps = settings.steps if n_labels > 1 and kernels else 0
    if steps:
        check_memory((height, width), n_labels, settings)
    energies = energies.contiguous()
    tiles = list(spans(n, max(1, _TILE // n_labels)))
    messages: list[tuple[float, Tensor]] = []

    def logits(pixels: slice) -> Tensor:
        total = -energies[pixels]
        for weight, message in messages:
            total.add_(message[pixels], alpha=weight)
        return total

    if steps:
        dtype = torch.float16 if settings.precision == "half" else torch.float32
        probability = torch.empty(n, n_labels, dtype=dtype, device=energies.device)
        places = [_positions(rgb, d, settings, energies.device) for d, _ in kernels]
        if valid is not None:
            inside = torch.from_numpy(valid.reshape(-1)).to(energies.device)
            places = [place[inside] for place in places]
        lattices = [_normalised(place) for place in places]
        scratch = probability.new_empty(max(each.scratch_size(n_labels) for each in lattices))
        for step in range(steps):
            for pixels in tiles:
                probability[pixels] = logits(pixels).softmax(1)
            if step == 0:
                messages += [(weight, torch.empty_like(probability)) for _, weight in kernels]
            for lattice, (_, message) in zip(lattices, messages, strict=True):
                lattice.filter(probability, message, scratch)
    for pixels in tiles:
        yield pixels, logits(pixels)


def _positions(
    rgb: NDArray[np.uint8], d: int, settings: CrfSettings, device: torch.device
) -> Tensor:
    """Position of each pixel in units of the kernel's standard deviations, (n, d).

    With d = 2 the coordinates are x, y; with d = 5 they are x, y, red, green, blue.
    """
    y, x = torch.meshgrid(
        *(torch.arange(side, dtype=torch.float32, device=device) for side in rgb.shape[:2]),
        indexing="ij",
    )
    place = torch.stack((x, y), 2).view(-1, 2)
    if d == 2:
        return place / settings.smooth_xy
    colour = torch.tensor(rgb, device=device).reshape(-1, 3).float() / settings.edge_rgb
    return torch.cat((place / settings.edge_xy, colour), 1)


def _normalised(positions: Tensor) -> PermutohedralLattice:
    """The lattice that sums with the normalised kernel ``k_ij / sqrt(s_i s_j)``."""
    lattice = PermutohedralLattice.of(positions)
    total = lattice.filter(positions.new_ones(len(positions), 1))[:, 0]
    return lattice.scaled(total.rsqrt())
