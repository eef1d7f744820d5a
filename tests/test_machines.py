"""Trees of machines of different make agree: kernels of other processors are forced.

The processes are those of ``benchmarks/kernels.py``. Each keeps its features, so both can be
compared: trees made wholly with those kernels, and trees that this process makes of the features.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from conftest import EXAMPLE, ROOT
from hypothesis import given
from hypothesis import strategies as st

sys.path.insert(0, str(ROOT / "benchmarks"))

import kernels
from _agreement import adjusted_rand_index

from regiontree import RegionTree

FORCED = {
    made.name: made for made in kernels.KERNELS if made.dtype == "float32" and made.threads == 1
}
BASE = "those of this machine"
PHOTOS = [str(EXAMPLE)]


@pytest.fixture(scope="module")
def made(embedded_installed: None, tmp_path_factory) -> dict[str, Path]:
    """The folder of features and trees of each process, by the name of its kernels."""
    folders = {}
    for name, forced in FORCED.items():
        folder = tmp_path_factory.mktemp("kernels")
        task = {"folder": str(folder), "photos": PHOTOS, "preset": "fast", "dtype": "auto",
                "threads": 1}  # fmt: skip
        subprocess.run(
            [sys.executable, kernels.__file__, "--task", "make", json.dumps(task)],
            check=True,
            capture_output=True,
            env={**os.environ, **forced.variables, "OMP_NUM_THREADS": "1"},
        )
        folders[name] = folder
    return folders


def features(folder: Path) -> torch.Tensor:
    return torch.from_numpy(np.load(folder / "features-0.npy"))


OTHERS = [name for name in FORCED if name != BASE]


@pytest.mark.slow
@pytest.mark.parametrize("name", OTHERS)
def test_whole_trees_agree_between_kernels(made, name):
    trees = [RegionTree.load(made[kernel] / "tree-0.npz") for kernel in (BASE, name)]
    assert kernels.agreement(*trees, 24) >= kernels.TARGET


@pytest.mark.slow
@pytest.mark.parametrize("name", OTHERS)
def test_trees_of_the_features_of_other_kernels_agree(made, name):
    builder = kernels.Builder("fast", PHOTOS)
    (base,), (other,) = (builder.trees(made[kernel]) for kernel in (BASE, name))
    assert kernels.agreement(base, other, 24) >= kernels.TARGET


@pytest.mark.slow
@pytest.mark.parametrize("name", OTHERS)
def test_features_agree_but_the_kernels_were_others(made, name):
    base, other = features(made[BASE]), features(made[name])
    torch.testing.assert_close(other, base, rtol=1e-3, atol=1e-3)
    if torch.backends.cpu.get_cpu_capability() == "AVX512":  # else they may be this machine's own
        assert not torch.equal(other, base)


labels = st.lists(st.tuples(st.integers(0, 3), st.integers(0, 3)), min_size=2, max_size=30)


@given(labels)
def test_the_adjusted_rand_index_counts_pairs(pairs):
    """Hubert and Arabie's formula, by going through all pairs."""
    first, second = np.array(pairs).T
    n = len(first)
    both = same_first = same_second = 0
    for i in range(n):
        for j in range(i):
            one, other = first[i] == first[j], second[i] == second[j]
            both, same_first, same_second = (
                both + (one and other), same_first + one, same_second + other
            )  # fmt: skip
    expected = same_first * same_second / (n * (n - 1) / 2)
    most = (same_first + same_second) / 2
    wanted = 1.0 if most == expected else (both - expected) / (most - expected)
    assert adjusted_rand_index(first, second) == pytest.approx(wanted)
