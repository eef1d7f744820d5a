"""What `study.py` keeps of one tree on one image: its scores by protocol, measure and budget."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from study_methods import BUDGETS, Tree
from study_tables import MAIN, MEASURES, PROTOCOLS, SHOWN, Record

from regiontree import RegionTree
from regiontree.datasets.dataset import Dataset
from regiontree.images import nearest
from regiontree.metrics import (
    CoveringMetric,
    budget_nodes,
    contingency,
    region_counts,
    score_tree,
)
from regiontree.metrics.score import score_regions


def score_record(built: Tree | list[Tree], truth: NDArray[np.int32], dataset: Dataset) -> Record:
    """Scores by protocol and measure, one for each of SHOWN; None where nothing is to be covered.

    Flat methods have no score of all nodes.
    """
    labels = dataset.labels
    assert labels is not None
    classes = labels.classes(), labels.classes(labels.max_depth)
    trees = (
        [(built, SHOWN)]
        if isinstance(built, Tree)
        else [(tree, (budget,)) for tree, budget in zip(built, BUDGETS, strict=True)]
    )
    record: Record = {"scores": {}}
    if isinstance(built, Tree):
        record["chosen"] = chosen_scores(built, truth, dataset)
    for protocol in PROTOCOLS:
        rows: dict[str, list[float]] = {name: [] for name in (*MEASURES.values(), "nodes")}
        for tree, budgets in trees:
            if protocol == "grid":
                leaf, mask = tree.labels, nearest(truth, tree.labels.shape)
            else:
                leaf, mask = nearest(tree.labels, truth.shape), truth
            table = contingency(leaf, mask, int(tree.labels.max()) + 1)
            counts = [region_counts(tree.parents, table, each) for each in classes]
            for budget in budgets:
                nodes = budget_nodes(tree.parents, tree.height, budget)
                all_, finest = (
                    score_regions(tree.parents, *count, each, nodes=nodes)
                    for count, each in zip(counts, classes, strict=True)
                )
                if all_ is None or finest is None:
                    return {"scores": None}
                for name, value in zip(rows, (all_.nm, all_.nh, finest.nm, all_.nodes),
                                       strict=True):  # fmt: skip
                    rows[name].append(value)
        record["scores"][protocol] = rows
    return record


def chosen_scores(
    tree: Tree, truth: NDArray[np.int32], dataset: Dataset
) -> dict[str, list[float]] | None:
    """NM (T), NH (T) and nodes at full size of each of CHOSEN."""
    assert dataset.labels is not None
    classes, most = dataset.labels.classes(), BUDGETS[MAIN]
    whole = RegionTree(labels=tree.labels, parents=tree.parents, height=tree.height)
    found: dict[str, list[float]] = {}
    for way, shown, nodes in (
        ("condensed", whole.condense(most), None),
        ("salient", whole, np.sort(whole.salient(most)) if len(whole) > 1 else None),
    ):
        table = contingency(nearest(shown.labels, truth.shape), truth, shown.n_leaves)
        score = score_tree(shown.parents, table, classes, nodes=nodes)
        if score is None:
            return None
        found[way] = [score.nm, score.nh, score.nodes]
    return found


def covering_record(image: str, tree: Tree, truths: Sequence[NDArray[np.int32]]) -> Record:
    metric = CoveringMetric()
    leaf, leaves = nearest(tree.labels, truths[0].shape), int(tree.labels.max()) + 1
    metric.update(
        image, tree.parents, tree.height, [contingency(leaf, truth, leaves) for truth in truths]
    )
    return {"covering": metric.state()}
