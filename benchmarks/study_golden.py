"""The trees that the published code itself made, for `study.py`: scored as all others are, and with
them the trees of every method from the features that were stored with them.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from _common import SUBSETS
from study_methods import Method, Photograph, Tree
from study_scores import score_record
from study_tables import Record

from regiontree import RegionTree
from regiontree.datasets.catalog import open_dataset
from regiontree.spectral.affinity import unit_rows

TITLE = "The published code's own trees"


def golden(methods: Mapping[str, Method], data: Path) -> dict[str, list[Record]]:
    """Records by title, one for each stored tree; none where there are no trees."""
    files = sorted((data.parent / "reference" / "golden").glob("*.npz"))
    dataset = open_dataset(SUBSETS / "voc2012.yaml", None, data)
    samples = {sample.id.rsplit("/", 1)[-1]: sample for sample in dataset.samples}
    found: dict[str, list[Record]] = {}
    for file in files:
        sample = samples[file.stem]
        with np.load(file, allow_pickle=False) as opened:
            stored = dict(opened)
        photo = Photograph(torch.from_numpy(stored["features"].astype(np.float32)), sample.image)
        trees: dict[str, Any] = {TITLE: stored_tree(stored, photo)}
        trees |= {method.title: method.build(photo) for method in methods.values()}
        truth = dataset.truths(sample)[0]
        for title, tree in trees.items():
            found.setdefault(title, []).append(score_record(tree, truth, dataset))
    return found


def stored_tree(stored: Mapping[str, Any], photo: Photograph) -> Tree:
    """As it was stored, with the heights that the package gives to the recursion's nodes: the share
    of the image's feature scatter, ``n - |sum of unit features|^2 / n``, that lies within each."""
    tree = RegionTree.from_parents(stored["node_of_patch"], stored["parents"])
    leaf = tree.labels.ravel()
    unit = unit_rows(photo.features.flatten(0, 1)).double().numpy()
    sums = np.zeros((len(tree), unit.shape[1]))
    np.add.at(sums, leaf, unit)
    count = np.bincount(leaf, minlength=len(tree)).astype(float)
    for node, parent in enumerate(tree.parents[:-1].tolist()):
        sums[parent] += sums[node]
        count[parent] += count[node]
    scatter = np.maximum(0.0, count - (sums**2).sum(axis=1) / count)
    scatter[: tree.n_leaves] = 0.0
    return Tree(tree.labels, tree.parents, scatter / scatter[-1])
