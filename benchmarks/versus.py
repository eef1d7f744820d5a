"""How do the eigenvectors and the over-clustering compare with what other packages offer?

Question
    On one real grid of 60 x 60 x 384 features and 200 eigenvectors or clusters: time, memory and
    agreement of this package, scikit-learn's SpectralClustering and ncut-pytorch.
Method
    Features -> unit rows -> min-max cosine affinity. The ways:

    - ours: affinity as factors, 200 eigenvectors; and all of the over-clustering (+ k-means once).
    - scikit-learn: ``SpectralClustering(n_clusters=200, affinity="precomputed",
      assign_labels="kmeans", n_init=1, random_state=0)``, its default solver (ARPACK), on the dense
      min-max affinity in float64; making the affinity is not timed. It takes minutes, so it runs
      once, in one process with ours before and after it; k-means starts once in both.
    - ncut-pytorch: ``ncut_fn(unit, n_eig=200, device="cpu")``, with its own affinity (Gaussian, at
      the width it finds itself) and with the min-max cosine affinity as ``affinity_fn``. Up to
      8,192 nodes it takes the whole graph without its Nystroem sampling, and finds eigenvectors by
      a randomised SVD with two power iterations. Its default of no gradients is kept.

    Ours and ncut-pytorch are timed in turn (A B A B) in one process. Memory is measured for each
    way in a fresh process, above features and imported libraries (see _common.py); for
    scikit-learn it includes the affinity it is given.

    Agreement: cosine of each of the 10 leading eigenvectors, and least cosine of the principal
    angles between the spaces of all 10, with the dense float64 solver of the published graph, whose
    diagonal is zero (ours keeps it: docs/decisions.md).
Printed
    Seconds, times slower than ours, memory; cosines; sizes of the parts, their mean normalised cut
    on the published graph, and the share of the features' scatter left within them.
Targets
    Over-clustering at least 50 times as fast as scikit-learn; eigenvectors faster than
    ncut-pytorch; each of ours under 150 MB above the features.
"""

from __future__ import annotations

import statistics
import tempfile
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from _common import (
    MB,
    PeakMemory,
    Times,
    arguments,
    features_of,
    interleave,
    is_child,
    load_features,
    photographs,
    print_closing,
    print_heading,
    print_results,
    print_target,
    ratio,
    resident,
    run_child,
    save_features,
    seconds,
)
from numpy.typing import NDArray
from torch import Tensor

from regiontree.spectral.affinity import (
    AffinitySettings,
    dense_affinity,
    make_affinity,
    unit_rows,
)
from regiontree.spectral.eigen import leading_eigenvectors, reference_eigenvectors
from regiontree.spectral.oversegment import PatchGraph, SpectralClustering

K = 200
LEADING = 10
SEED = 1234
EIGENVECTORS, OVERSEGMENT = "ours: eigenvectors", "ours: over-clustering"
NCUT, NCUT_MINMAX = "ncut-pytorch: its affinity", "ncut-pytorch: min-max affinity"
SKLEARN = "scikit-learn: SpectralClustering"
SETTINGS = AffinitySettings()


def main() -> None:
    if is_child({"memory": measure_memory, "sklearn": measure_sklearn}):
        return
    parser = arguments(__doc__)
    parser.add_argument("--photo", type=int, default=0, help="which photograph (default 0)")
    parser.add_argument("--repeats", type=int, default=7, help="timed turns (default 7)")
    parser.add_argument("--skip-sklearn", action="store_true", help="it takes minutes")
    options = parser.parse_args()
    print_heading(__file__)
    photo = photographs(options.photo + 1)[-1]
    features = features_of([photo], 840)[0]
    print(f"{photo.name}: {' x '.join(map(str, features.shape))} features, {K} eigenvectors\n")
    flat = features.reshape(-1, features.shape[-1])

    ways = _ways(flat)
    times = interleave(ways, options.repeats)
    with tempfile.TemporaryDirectory() as folder:
        path = str(Path(folder) / "features.npy")
        save_features(Path(path), flat)
        memory = {name: run_child(__file__, "memory", path=path, way=name)["mb"] for name in ways}
        sklearn = None
        if not options.skip_sklearn:
            sklearn = run_child(__file__, "sklearn", path=path, repeats=options.repeats)

    _print_costs(times, memory, sklearn, options.csv)
    unit = unit_rows(flat)
    dense = dense_affinity(unit, SETTINGS)
    _print_agreement(unit, dense, options.csv)
    parts = {OVERSEGMENT: ours_parts(flat).numpy()}
    if sklearn is not None:
        parts[SKLEARN] = np.array(sklearn["labels"])
    _print_parts(parts, unit.double().numpy(), dense.numpy(), options.csv)

    if sklearn is not None:
        faster = sklearn["seconds"] / statistics.median(sklearn["ours"])
        print_target(
            f"over-clustering at least 50 times as fast as scikit-learn ({faster:.0f})",
            met=faster >= 50,
        )
    for name in (NCUT, NCUT_MINMAX):
        faster = ratio(times[name], times[EIGENVECTORS])
        print_target(f"eigenvectors faster than {name} ({faster:.1f} times)", met=faster > 1)
    for name in (EIGENVECTORS, OVERSEGMENT):
        print_target(f"{name} under 150 MB ({memory[name]:.0f} MB)", met=memory[name] < 150)
    print_closing()


# -- the ways -------------------------------------------------------------------------------------


@torch.inference_mode()
def ours_eigenvectors(flat: Tensor, k: int = K) -> Tensor:
    return leading_eigenvectors(make_affinity(unit_rows(flat), SETTINGS), k, seed=SEED).vectors


@torch.inference_mode()
def ours_parts(flat: Tensor, k: int = K) -> Tensor:
    unit = unit_rows(flat)
    affinity = make_affinity(unit, SETTINGS)
    graph = PatchGraph(unit, affinity, SETTINGS, (1, len(unit)))
    return SpectralClustering(count=k, vectors=None).group(graph, seed=SEED)


@torch.inference_mode()
def ncut_eigenvectors(flat: Tensor, k: int = K, *, minmax: bool = False) -> Tensor:
    from ncut_pytorch import ncut_fn

    torch.manual_seed(SEED)
    unit = unit_rows(flat)
    own = {"affinity_fn": minmax_affinity, "sigma": 1.0} if minmax else {}
    vectors: Tensor = ncut_fn(unit, n_eig=k, device="cpu", **own)[0]
    return vectors


def minmax_affinity(x: Tensor, y: Tensor | None = None, sigma: float = 1.0) -> Tensor:
    """The min-max cosine affinity in float32, signed as ncut-pytorch wants it; sigma is unused."""
    distance = x.matmul((x if y is None else y).T).neg_().add_(1.0).clamp_min_(0.0)
    return distance.div_(-distance.max()).add_(1.0)


def _ways(flat: Tensor, k: int = K) -> dict[str, Callable[[], Tensor]]:
    return {
        EIGENVECTORS: lambda: ours_eigenvectors(flat, k),
        OVERSEGMENT: lambda: ours_parts(flat, k),
        NCUT: lambda: ncut_eigenvectors(flat, k),
        NCUT_MINMAX: lambda: ncut_eigenvectors(flat, k, minmax=True),
    }


def _sklearn_labels(affinity: NDArray[np.float64], k: int = K) -> NDArray[np.int32]:
    from sklearn.cluster import SpectralClustering

    clustering = SpectralClustering(
        n_clusters=k,
        affinity="precomputed",
        assign_labels="kmeans",
        n_init=1,
        random_state=0,
    )
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        labels: NDArray[np.int32] = clustering.fit(affinity).labels_
    return labels


# -- in fresh processes ---------------------------------------------------------------------------


def measure_memory(path: str, way: str) -> dict[str, Any]:
    """Peak megabytes of one way, above features and libraries."""
    flat = load_features(path)
    _ways(flat[:256].clone(), 16)[way]()  # loads what the way loads
    with PeakMemory() as memory:
        _ways(flat)[way]()
    return {"mb": memory.extra / MB}


def measure_sklearn(path: str, repeats: int) -> dict[str, Any]:
    """Seconds, peak megabytes and labels of scikit-learn, and seconds of ours before and after."""
    flat = load_features(path)
    small = dense_affinity(unit_rows(flat[:256]), SETTINGS).numpy()
    _sklearn_labels(small, 16)
    ours_parts(flat)
    ours = [seconds(lambda: ours_parts(flat)) for _ in range(repeats)]
    before = resident()
    affinity = dense_affinity(unit_rows(flat), SETTINGS).numpy()
    resident()  # hands back what making the affinity took besides
    found: list[NDArray[np.int32]] = []
    with PeakMemory(above=before) as memory:
        taken = seconds(lambda: found.append(_sklearn_labels(affinity)))
    ours += [seconds(lambda: ours_parts(flat)) for _ in range(repeats)]
    return {
        "seconds": taken,
        "ours": ours,
        "mb": memory.extra / MB,
        "labels": found[0].tolist(),
    }


# -- what is printed ------------------------------------------------------------------------------


def _print_costs(
    times: Times, memory: dict[str, float], sklearn: dict[str, Any] | None, csv: Path | None
) -> None:
    rows: list[tuple[object, ...]] = []
    for name, taken in times.items():
        ours = OVERSEGMENT if name == OVERSEGMENT else EIGENVECTORS
        rows.append((name, statistics.median(taken), ratio(taken, times[ours]), memory[name]))
    if sklearn is not None:
        slower = sklearn["seconds"] / statistics.median(sklearn["ours"])
        rows.append((SKLEARN, sklearn["seconds"], slower, sklearn["mb"]))
    print_results("versus", rows, csv)
    print(
        "Ratio, ours = 1: ncut-pytorch against our eigenvectors, scikit-learn against our parts.\n"
    )


def _print_agreement(unit: Tensor, dense: Tensor, csv: Path | None) -> None:
    with torch.inference_mode():
        reference = reference_eigenvectors(dense, LEADING).vectors
        kept = reference_eigenvectors(dense.clone().fill_diagonal_(1.0), LEADING).vectors
    rows = []
    for name, vectors in (
        ("ours", ours_eigenvectors(unit)),
        ("ncut-pytorch, min-max affinity", ncut_eigenvectors(unit, minmax=True)),
    ):
        found = torch.nn.functional.normalize(vectors[:, :LEADING].double(), dim=0)
        for graph, exact in (("diagonal kept", kept), ("published, zero diagonal", reference)):
            cosine = (exact * found).sum(dim=0).abs()
            angles = torch.linalg.svdvals(exact.T @ torch.linalg.qr(found)[0])
            rows.append((name, graph, *cosine.tolist(), float(angles.min())))
    print("Cosine of eigenvector 1, 2, ... with the dense float64 solver's:\n")
    print_results("versus-agreement", rows, csv, "agreement")


def _print_parts(
    parts: dict[str, NDArray[np.integer[Any]]],
    unit: NDArray[np.float64],
    dense: NDArray[np.float64],
    csv: Path | None,
) -> None:
    """What the parts are worth: sizes, normalised cut on the published graph, scatter within."""
    rows = []
    degrees = dense.sum(axis=1)
    scatter = len(unit) - np.square(unit.sum(axis=0)).sum() / len(unit)
    for name, labels in parts.items():
        count = np.bincount(labels)
        member = np.eye(len(count))[labels]
        inside = np.einsum("ng,ng->g", member, dense @ member)
        cut = float((1.0 - inside / (member.T @ degrees)).mean())
        within = len(unit) - float((np.square(member.T @ unit).sum(axis=1) / count).sum())
        single = int((count == 1).sum())
        rows.append((name, len(count), single, int(count.max()), cut, within / scatter))
    print("The parts (both last columns: lower is better):\n")
    print_results("versus-parts", rows, csv, "parts")


if __name__ == "__main__":
    main()
