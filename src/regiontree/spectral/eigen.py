"""The smoothest vectors on the patch graph: leading eigenvectors of ``D^-1/2 W D^-1/2``.

The normalised Laplacian is ``L = I - S`` with ``S = D^-1/2 W D^-1/2``, so the smallest eigenvalues
of L are the largest of S and the vectors are the same. Three solvers, by what is known of W:

- :func:`low_rank_eigenvectors`: exact. ``W = a 11' + b F F'`` gives ``S = Y M Y'`` with
  ``Y = D^-1/2 [1, F]`` of d + 1 columns and ``M = diag(a, b, ..., b)``. The n x n problem is then
  that of the small matrix ``M^1/2 Y'Y M^1/2``.
- :func:`krylov_eigenvectors`: any affinity that can multiply a block of vectors; iterative, with a
  residual that is checked, not assumed.
- :func:`reference_eigenvectors`: dense float64 with the diagonal zeroed as in the published code;
  for small graphs and for checking.

All return a :class:`Spectrum` whose vectors have a fixed sign, so equal input gives equal output.
An eigenvalue of S that is not above zero belongs to no grouping of the patches and is left out: a
spectrum can be shorter than asked for.

Reference: von Luxburg, A tutorial on spectral clustering, 2007; Halko, Martinsson and Tropp, 2011
(block Krylov).
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from regiontree.errors import SettingsError, SolverError
from regiontree.spectral.affinity import Affinity, LowRankAffinity

__all__ = [
    "REFERENCE_LIMIT",
    "Spectrum",
    "krylov_eigenvectors",
    "leading_eigenvectors",
    "low_rank_eigenvectors",
    "reference_eigenvectors",
]

REFERENCE_LIMIT = 8192
"""Most patches of the dense solver: it holds three n x n float64 arrays, 1.6 GB at that size."""
_RANK_TOLERANCE = 1e-10  # of the largest eigenvalue: below it a direction is rounding
_PRODUCT_ROUNDING = 1e-6  # the same for eigenvalues that come out of float32 products
_ROW_BLOCK = 1024


@dataclass(frozen=True, slots=True)
class Spectrum:
    """Eigenpairs of the normalised Laplacian, smallest first.

    Attributes
    ----------
    values : Tensor
        (k,) float64, ascending, in [0, 2].
    vectors : Tensor
        (n, k) float32 (float64 from the reference solver), orthonormal columns; the entry of
        largest magnitude in each is positive.
    residual : float
        Largest ``|S v - s v|`` over the leading pairs that were checked; 0 from direct solvers.
    """

    values: Tensor
    vectors: Tensor
    residual: float = 0.0


def leading_eigenvectors(affinity: Affinity, k: int, *, seed: int = 0) -> Spectrum:
    """The k smoothest eigenvectors of an affinity, by the cheapest solver exact for it."""
    if k < 1:
        raise SettingsError(f"number of eigenvectors must be at least 1, got {k}")
    if isinstance(affinity, LowRankAffinity):
        return low_rank_eigenvectors(affinity, k)
    return krylov_eigenvectors(affinity, k, seed=seed)


def low_rank_eigenvectors(affinity: LowRankAffinity, k: int) -> Spectrum:
    """At most k leading eigenpairs of a :class:`LowRankAffinity`, exact; O(n d^2) time.

    Fewer come back when S has fewer than k positive eigenvalues (n < k, duplicate features, d + 1
    < k, equal features).
    """
    unit, a, b = affinity.unit, affinity.a, affinity.b
    scale = affinity.degrees().rsqrt().float()
    d = unit.shape[1]

    gram = _gram(unit, scale)
    m = torch.full((d + 1,), b, dtype=torch.float64, device=unit.device)
    m[0] = a
    if a >= 0:
        # M = M^1/2 M^1/2, so S = (Y M^1/2)(Y M^1/2)' and one symmetric eigenproblem is enough.
        root = m.sqrt()
        values, small = _eigh(root[:, None] * gram * root)
        keep = values > _RANK_TOLERANCE * values[-1].clamp_min(1e-300)
        values, to_vectors = values[keep], root[:, None] * small[:, keep] / values[keep].sqrt()
    else:
        # M has no real root. Orthonormalise Y through its Gram matrix, then S = Q (R M R') Q'.
        power, basis = _eigh(gram)
        keep = power > _RANK_TOLERANCE * power[-1]
        power, basis = power[keep].sqrt(), basis[:, keep]
        inner = power[:, None] * (basis.T @ (m[:, None] * basis)) * power
        values, small = _eigh(0.5 * (inner + inner.T))
        keep = values > _RANK_TOLERANCE * values[-1].clamp_min(1e-300)
        values, to_vectors = values[keep], (basis / power) @ small[:, keep]

    values, to_vectors = values[-k:].flip(0), to_vectors[:, -k:].flip(1).float()
    # Y @ to_vectors without building Y: its first column is the scale alone.
    vectors = torch.addmm(to_vectors[0].expand(len(unit), -1), unit, to_vectors[1:])
    return Spectrum((1.0 - values).clamp(0.0, 2.0), _fixed_sign(vectors.mul_(scale[:, None])))


def krylov_eigenvectors(
    affinity: Affinity,
    k: int,
    *,
    seed: int = 0,
    tolerance: float = 1e-4,
    checked: int = 32,
    max_products: int = 24,
) -> Spectrum:
    """At most k leading eigenpairs of any affinity by block Krylov iteration.

    Parameters
    ----------
    tolerance, checked
        The residual ``|S v - s v|`` that the `checked` leading pairs must reach. Pairs further down
        sit in a near-continuum where single vectors have no meaning, only the space they span.
    max_products
        Products with W of at most that many blocks; each costs O(n^2 d).

    Raises
    ------
    SolverError
        The tolerance was not reached: nothing half-solved is ever returned.
    """
    n = affinity.n
    k = min(k, n)
    checked = min(checked, k)
    scale = affinity.degrees().rsqrt().float()[:, None]
    device = scale.device
    width = min(n, max(32, k // 2))
    rng = torch.Generator().manual_seed(seed)
    block = torch.randn(n, width, generator=rng).to(device) * (1.0 / scale)
    block = torch.linalg.qr(block)[0]
    basis, image = block, scale * affinity.matmul(scale * block)
    residual = float("inf")
    for _ in range(max_products):
        if basis.shape[1] >= k or basis.shape[1] == n:
            # Rayleigh-Ritz: the best eigenpairs that the space holds.
            inner = (basis.T @ image).double()
            values, small = _eigh(0.5 * (inner + inner.T))
            values, small = values[-k:].flip(0), small[:, -k:].flip(1).float()
            vectors = basis @ small
            error = image @ small[:, :checked] - vectors[:, :checked] * values[:checked].float()
            residual = float(torch.linalg.vector_norm(error, dim=0).max())
            if residual <= tolerance or basis.shape[1] == n:
                keep = values > _PRODUCT_ROUNDING * values[0]
                return Spectrum(
                    (1.0 - values[keep]).clamp(0.0, 2.0), _fixed_sign(vectors[:, keep]), residual
                )
        # Grow the space by the image of its newest block, orthogonalised twice (once is not enough
        # in float32).
        block = image[:, -block.shape[1] :]
        for _ in range(2):
            block = block - basis @ (basis.T @ block)
        block, triangle = torch.linalg.qr(block)
        block = block[:, triangle.diagonal().abs() > 1e-5][:, : n - basis.shape[1]]
        block = block - basis @ (basis.T @ block)
        if block.shape[1] == 0:  # the space is invariant: what it holds is exact
            tolerance = float("inf")
            k = checked = min(k, basis.shape[1])
            continue
        basis = torch.cat([basis, block], dim=1)
        image = torch.cat([image, scale * affinity.matmul(scale * block)], dim=1)
    raise SolverError(
        f"eigenvectors of the {n}-patch graph did not converge: residual {residual:.1e} after "
        f"{max_products} products, {tolerance:.0e} wanted; raise max_products, ask for fewer"
        "parts, or use the min-max cosine affinity, which is solved exactly"
    )


def reference_eigenvectors(affinity: Tensor, k: int) -> Spectrum:
    """The k smallest eigenpairs of ``I - D^-1/2 W D^-1/2`` for a dense W, in float64.

    Parameters
    ----------
    affinity
        (n, n) symmetric, non-negative, diagonal as it should count (zero in the published code:
        see :func:`regiontree.spectral.affinity.dense_affinity`).

    Raises
    ------
    SolverError
        More than :data:`REFERENCE_LIMIT` patches, or a patch connected to nothing.
    """
    n = len(affinity)
    if n > REFERENCE_LIMIT:
        raise SolverError(
            f"the dense reference solver is limited to {REFERENCE_LIMIT} patches, got {n}; "
            "use a smaller image size or the low-rank solver"
        )
    w = affinity.double()
    degrees = w.sum(dim=1)
    if not bool((degrees > 0).all()):
        alone = int((degrees <= 0).sum())
        raise SolverError(
            f"{alone} of {n} patches are connected to nothing, so their normalised cut is "
            "undefined; lower the affinity threshold"
        )
    scale = degrees.rsqrt()
    values, vectors = _eigh(scale[:, None] * w * scale)
    values, vectors = values[-k:].flip(0), vectors[:, -k:].flip(1)
    return Spectrum(1.0 - values, _fixed_sign(vectors))


def _gram(unit: Tensor, scale: Tensor) -> Tensor:
    """``Y'Y`` of Y = D^-1/2 [1, F], (d + 1, d + 1) float64, a block of rows of Y at a time.

    It is symmetric, so of its four quarters one is not computed, and that of the column of ones is
    a product with a vector.
    """
    n, d = unit.shape
    half = d // 2
    gram = unit.new_zeros(d + 1, d + 1, dtype=torch.float64)
    rows = unit.new_empty(min(n, _ROW_BLOCK), d, dtype=torch.float64)
    for start in range(0, n, _ROW_BLOCK):
        s = scale[start : start + _ROW_BLOCK].double()
        y = torch.mul(unit[start : start + _ROW_BLOCK], s[:, None], out=rows[: len(s)])
        gram[0, 0] += s @ s
        gram[0, 1:].addmv_(y.T, s)
        gram[1 : half + 1, 1:].addmm_(y[:, :half].T, y)
        gram[half + 1 :, half + 1 :].addmm_(y[:, half:].T, y[:, half:])
    return gram.triu_().add_(gram.triu(1).T)


def _eigh(matrix: Tensor) -> tuple[Tensor, Tensor]:
    try:
        values, vectors = torch.linalg.eigh(matrix)
    except RuntimeError as error:
        raise SolverError(
            f"symmetric eigenproblem of size {len(matrix)} failed: {error}"
        ) from error
    if not bool(torch.isfinite(values).all()):
        raise SolverError(f"symmetric eigenproblem of size {len(matrix)} gave non-finite values")
    return values, vectors


def _fixed_sign(vectors: Tensor) -> Tensor:
    """Columns turned so that their entry of largest magnitude is positive."""
    largest = vectors.gather(0, vectors.abs().argmax(dim=0, keepdim=True))
    return vectors * torch.where(largest < 0, -1.0, 1.0).to(vectors.dtype)
