"""The smallest eigenpairs of the normalised Laplacian of the patch graph.

The normalised Laplacian is ``L = I - S`` with ``S = D^-1/2 W D^-1/2``. So L and S have the same
eigenvectors, and the smallest eigenvalues of L belong to the largest of S. There are three solvers:

- :func:`low_rank_eigenvectors` is exact, for ``W = a 11' + b F F'``. Then ``S = Y M Y'`` with
  ``Y = D^-1/2 [1, F]``, which has d + 1 columns, and ``M = diag(a, b, ..., b)``. The small matrix
  ``M^1/2 Y'Y M^1/2`` has the same non-zero eigenvalues as S.
- :func:`krylov_eigenvectors` is iterative, for any affinity that can multiply a block of vectors.
  It checks the residual of its result.
- :func:`reference_eigenvectors` is dense and in float64, for small graphs and for tests. The caller
  may set the diagonal of W to 0 first, as the published code does.

Each solver returns a :class:`Spectrum`. The sign of its vectors is fixed, so equal input gives
equal output. The first two solvers leave out eigenpairs whose eigenvalue of S is not above 0,
because these do not describe groups of patches. So a spectrum can hold fewer than k eigenpairs.

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
    "fix_signs",
    "gram_matrix",
    "krylov_eigenvectors",
    "leading_eigenvectors",
    "low_rank_eigenvectors",
    "reference_eigenvectors",
]

# Most patches for the dense solver. It holds three n x n float64 arrays: 1.6 GB at this limit.
REFERENCE_LIMIT = 8192
"""Most patches of the dense solver: it holds three n x n float64 arrays, 1.6 GB at that size."""
# Eigenvalues below this share of the largest one are rounding.
_RANK_TOLERANCE = 1e-10
# The same share for eigenvalues that were computed from float32 products.
_PRODUCT_ROUNDING = 1e-6
# Rows of a block of the Gram matrix: with fewer, threads wait for each other more often.
_ROW_BLOCK = 4096


@dataclass(frozen=True, slots=True)
class Spectrum:
    """Eigenpairs of the normalised Laplacian, smallest first.

    Attributes
    ----------
    values : Tensor
        (k,) float64, ascending, in [0, 2].
    vectors : Tensor
        (n, k) float32 (float64 from the reference solver), with orthonormal columns. The entry of
        largest magnitude in each column is positive.
    residual : float
        Largest ``|S v - s v|`` of the leading eigenpairs that were checked. Direct solvers give 0.
    """

    values: Tensor
    vectors: Tensor
    residual: float = 0.0


def leading_eigenvectors(affinity: Affinity, k: int, *, seed: int = 0) -> Spectrum:
    """At most k eigenpairs of an affinity, from the fastest solver that fits the affinity.

    Parameters
    ----------
    affinity
        The affinity of n patches.
    k
        Number of eigenpairs, >= 1.
    seed
        Seed of the random start of :func:`krylov_eigenvectors`. The low-rank solver ignores it.

    Raises
    ------
    SettingsError
        `k` is below 1.
    SolverError
        The eigenproblem has no usable solution: see the two solvers.
    """
    if k < 1:
        raise SettingsError(f"number of eigenvectors must be at least 1, got {k}")
    if isinstance(affinity, LowRankAffinity):
        return low_rank_eigenvectors(affinity, k)
    return krylov_eigenvectors(affinity, k, seed=seed)


def low_rank_eigenvectors(affinity: LowRankAffinity, k: int) -> Spectrum:
    """At most k eigenpairs of a :class:`LowRankAffinity`, exactly, in O(n d^2) time.

    The spectrum is shorter than k if S has fewer than k positive eigenvalues. This happens if
    n < k, if d + 1 < k, or if features are equal.

    Raises
    ------
    SolverError
        The small eigenproblem failed.
    """
    unit, a, b = affinity.unit, affinity.a, affinity.b
    scale = affinity.degrees().rsqrt().float()
    d = unit.shape[1]

    gram = gram_matrix(unit, scale)
    m = torch.full((d + 1,), b, dtype=torch.float64, device=unit.device)
    m[0] = a
    if a >= 0:
        # M = M^1/2 M^1/2, so S = (Y M^1/2)(Y M^1/2)' and one symmetric eigenproblem is enough.
        root = m.sqrt()
        values, small = _eigh(root[:, None] * gram * root)
        keep = values > _RANK_TOLERANCE * values[-1].clamp_min(1e-300)
        values, to_vectors = values[keep], root[:, None] * small[:, keep] / values[keep].sqrt()
    else:
        # M has no real square root. Orthonormalise Y through its Gram matrix: S = Q (R M R') Q'.
        power, basis = _eigh(gram)
        keep = power > _RANK_TOLERANCE * power[-1]
        power, basis = power[keep].sqrt(), basis[:, keep]
        inner = power[:, None] * (basis.T @ (m[:, None] * basis)) * power
        values, small = _eigh(0.5 * (inner + inner.T))
        keep = values > _RANK_TOLERANCE * values[-1].clamp_min(1e-300)
        values, to_vectors = values[keep], (basis / power) @ small[:, keep]

    values, to_vectors = values[-k:].flip(0), to_vectors[:, -k:].flip(1).float()
    # Y @ to_vectors without building Y, whose first column is `scale`.
    vectors = torch.addmm(to_vectors[0].expand(len(unit), -1), unit, to_vectors[1:])
    return Spectrum((1.0 - values).clamp(0.0, 2.0), fix_signs(vectors.mul_(scale[:, None])))


def krylov_eigenvectors(
    affinity: Affinity,
    k: int,
    *,
    seed: int = 0,
    tolerance: float = 1e-4,
    checked: int = 32,
    max_products: int = 24,
) -> Spectrum:
    """At most k eigenpairs of any affinity, by block Krylov iteration.

    Parameters
    ----------
    affinity
        The affinity of n patches.
    k
        Number of eigenpairs, >= 1.
    seed
        Seed of the random start.
    tolerance
        Largest residual ``|S v - s v|`` that is accepted.
    checked
        Number of leading eigenpairs whose residual is checked. The eigenvalues after them lie so
        close together that a single vector has no meaning. Only the space of all of them has one.
    max_products
        Most products of W with a block of vectors. Each product takes O(n^2 d) time.

    Raises
    ------
    SolverError
        The residual is above `tolerance` after `max_products` products.
    """
    n = affinity.n
    k = min(k, n)
    checked = min(checked, k)
    scale = affinity.degrees().rsqrt().float()[:, None]
    device = scale.device
    width = min(n, max(32, k // 2))
    rng = torch.Generator("cpu").manual_seed(seed)
    block = torch.randn(n, width, generator=rng, dtype=torch.float32, device="cpu")
    block = block.to(device) * (1.0 / scale)
    block = torch.linalg.qr(block)[0]
    basis, image = block, scale * affinity.matmul(scale * block)
    residual = float("inf")
    for _ in range(max_products):
        if basis.shape[1] >= k or basis.shape[1] == n:
            # Rayleigh-Ritz: the best approximations of eigenpairs within the space of the basis.
            inner = (basis.T @ image).double()
            values, small = _eigh(0.5 * (inner + inner.T))
            values, small = values[-k:].flip(0), small[:, -k:].flip(1).float()
            vectors = basis @ small
            error = image @ small[:, :checked] - vectors[:, :checked] * values[:checked].float()
            residual = float(torch.linalg.vector_norm(error, dim=0).max())
            if residual <= tolerance or basis.shape[1] == n:
                keep = values > _PRODUCT_ROUNDING * values[0]
                return Spectrum(
                    (1.0 - values[keep]).clamp(0.0, 2.0), fix_signs(vectors[:, keep]), residual
                )
        # Extend the basis by S times its newest block. Orthogonalising once is not enough in
        # float32.
        block = image[:, -block.shape[1] :]
        for _ in range(2):
            block = block - basis @ (basis.T @ block)
        block, triangle = torch.linalg.qr(block)
        block = block[:, triangle.diagonal().abs() > 1e-5][:, : n - basis.shape[1]]
        block = block - basis @ (basis.T @ block)
        if block.shape[1] == 0:  # S maps the space onto itself, so its eigenpairs are exact
            tolerance = float("inf")
            k = checked = min(k, basis.shape[1])
            continue
        basis = torch.cat([basis, block], dim=1)
        image = torch.cat([image, scale * affinity.matmul(scale * block)], dim=1)
    raise SolverError(
        f"eigenvectors of the graph of {n} patches did not converge: the residual is "
        f"{residual:.1e} after {max_products} products, but must be at most {tolerance:.0e}; "
        "raise max_products, ask for fewer parts, or use the min-max cosine affinity, which has "
        "an exact solver"
    )


def reference_eigenvectors(affinity: Tensor, k: int) -> Spectrum:
    """The k smallest eigenpairs of ``I - D^-1/2 W D^-1/2`` for a dense W, in float64.

    Parameters
    ----------
    affinity
        W, (n, n), symmetric and non-negative. Its diagonal is used as it is. The published code
        sets it to 0, as :func:`regiontree.spectral.affinity.dense_affinity` does.
    k
        Number of eigenpairs, 1 to n.

    Raises
    ------
    SolverError
        There are more than :data:`REFERENCE_LIMIT` patches, a patch has degree 0, or the
        eigenproblem failed.
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
            f"{alone} of {n} patches have no affinity to any other patch, so their normalised cut "
            "is undefined; lower the affinity threshold"
        )
    scale = degrees.rsqrt()
    values, vectors = _eigh(scale[:, None] * w * scale)
    values, vectors = values[-k:].flip(0), vectors[:, -k:].flip(1)
    return Spectrum(1.0 - values, fix_signs(vectors))


def gram_matrix(unit: Tensor, scale: Tensor) -> Tensor:
    """``Y'Y`` of ``Y = D^-1/2 [1, F]``, (d + 1, d + 1) float64, a block of rows of Y at a time.

    `unit` is F, (n, d) float32, the unit-length features. `scale` is the diagonal of ``D^-1/2``,
    (n,) float32. The matrix is symmetric, so the lower left quarter is not computed but copied from
    the upper right quarter.
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
    """Ascending eigenvalues and eigenvectors of a symmetric matrix; a failure is a SolverError."""
    try:
        values, vectors = torch.linalg.eigh(matrix)
    except RuntimeError as error:
        raise SolverError(
            f"symmetric eigenproblem of size {len(matrix)} failed: {error}"
        ) from error
    if not bool(torch.isfinite(values).all()):
        raise SolverError(f"symmetric eigenproblem of size {len(matrix)} gave non-finite values")
    return values, vectors


def fix_signs(vectors: Tensor) -> Tensor:
    """The columns, negated where their entry of largest magnitude is negative.

    `vectors` and the result are (n, k) floating. An eigenvector is known up to its sign. The sign
    that this rule chooses does not depend on the solver.
    """
    largest = vectors.gather(0, vectors.abs().argmax(dim=0, keepdim=True))
    return vectors * torch.where(largest < 0, -1.0, 1.0).to(vectors.dtype)
