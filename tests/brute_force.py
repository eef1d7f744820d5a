"""The metrics once more, straight from their formulas, with a full mask for every node and region.

Slow and plain on purpose, and sharing no code with :mod:`regiontree.metrics`: tests compare the two
on random trees, and ``benchmarks/metrics.py`` compares their cost.
"""

from __future__ import annotations

from itertools import permutations
from typing import Any

import numpy as np

from regiontree.metrics import ClassTree
from regiontree.tree import RegionTree

Score = dict[str, Any]


def class_path(classes: ClassTree, c: int) -> list[int]:
    """The class, the class around it, and so on."""
    path = [c]
    while classes.parents[path[-1]] >= 0:
        path.append(int(classes.parents[path[-1]]))
    return path


def region_masks(truth: np.ndarray, classes: ClassTree) -> dict[int, np.ndarray]:
    """The mask of each class that has a pixel, its own or of a class inside it."""
    masks: dict[int, np.ndarray] = {}
    for value in set(truth.reshape(-1).tolist()) - set(classes.ignored):
        for c in class_path(classes, classes.class_of_id[value]):
            masks[c] = masks.get(c, np.zeros(truth.shape, bool)) | (truth == value)
    return dict(sorted(masks.items()))


def node_path(tree: RegionTree, node: int) -> list[int]:
    """The node, its parent, and so on; without the root, unless it is the node."""
    path = [node]
    while tree.parents[path[-1]] not in (path[-1], tree.root):
        path.append(int(tree.parents[path[-1]]))
    return path


def nodes_within(tree: RegionTree, budget: int | None) -> list[int]:
    """Divide the highest open node until the next does not fit.

    Of equally high nodes the one nearer to the root comes first, then the larger number.
    """
    below = {
        node: [c for c in range(tree.root) if tree.parents[c] == node]
        for node in range(tree.n_nodes)
    }
    if budget is None:
        return sorted(set(range(tree.n_nodes)) - {tree.root}) or [tree.root]
    shown: list[int] = []
    open_nodes = {tree.root}
    while open_nodes := {node for node in open_nodes if below[node]}:
        highest = min(open_nodes, key=lambda node: (-tree.height[node], tree.level[node], -node))
        if len(shown) + len(below[highest]) > budget:
            break
        shown += below[highest]
        open_nodes = open_nodes - {highest} | set(below[highest])
    return sorted(shown) or [tree.root]


def overlaps(
    tree: RegionTree, truth: np.ndarray, classes: ClassTree, nodes: list[int]
) -> dict[int, dict[int, tuple[int, int, int]]]:
    """For each class and node: pixels in both, in the node alone, in the region alone."""
    regions = region_masks(truth, classes)
    valid = ~np.isin(truth, sorted(classes.ignored))
    found: dict[int, dict[int, tuple[int, int, int]]] = {c: {} for c in regions}
    for node in nodes:
        mask = tree.mask(node) & valid
        for c, region in regions.items():
            tp = int(np.count_nonzero(mask & region))
            fp = int(np.count_nonzero(mask & ~region))
            fn = int(np.count_nonzero(region & ~mask))
            found[c][node] = tp, fp, fn
    return found


def best_match(found: dict[int, dict[int, tuple[int, int, int]]]) -> dict[int, int]:
    """For each class the node of largest IoU, the lowest of equals."""
    return {
        c: max(sorted(counts), key=lambda node: counts[node][0] / sum(counts[node]))
        for c, counts in found.items()
    }


def best_assignment_sum(found: dict[int, dict[int, tuple[int, int, int]]]) -> float:
    """Largest sum of IoUs when no node may be used twice: every assignment is tried."""
    nodes = sorted(next(iter(found.values())))
    nothing: list[int | None] = [None] * max(0, len(found) - len(nodes))
    return max(
        sum(
            found[c][node][0] / sum(found[c][node])
            for c, node in zip(found, chosen, strict=False)
            if node is not None
        )
        for chosen in permutations([*nodes, *nothing], len(found))
    )


def score(
    tree: RegionTree,
    truth: np.ndarray,
    classes: ClassTree,
    *,
    nodes: list[int] | None = None,
    match: dict[int, int] | None = None,
    threshold: float = 0.0,
) -> Score | None:
    """All of an image's scores by the formulas; None where only the background is to be seen.

    `match` imposes a node on each class (-1: none) instead of the best.
    """
    nodes = nodes_within(tree, None) if nodes is None else nodes
    found = overlaps(tree, truth, classes, nodes)
    if not set(found) - {classes.background}:
        return None
    match = best_match(found) if match is None else match
    size = {c: sum(next(iter(counts.values()))[::2]) for c, counts in found.items()}
    counts = {c: found[c][n] if n >= 0 else (0, 0, size[c]) for c, n in match.items()}
    iou = {c: tp / (tp + fp + fn) for c, (tp, fp, fn) in counts.items()}
    iou = {c: value if value >= threshold else 0.0 for c, value in iou.items()}
    weight = {}
    for c in found:
        around = class_path(classes, c)
        above = node_path(tree, match[c]) if match[c] >= 0 else []
        weight[c] = sum(match[p] in above for p in around) / len(around)
    return {
        "node": match,
        "counts": counts,
        "iou": iou,
        "nm": sum(iou.values()) / len(iou),
        "nh": sum(iou[c] * weight[c] for c in iou) / len(iou),
        "nodes": len(nodes),
        "leaves": sum(all(tree.parents[o] != n or o == n for o in nodes) for n in nodes),
    }


def data_set(scores: list[Score], classes: ClassTree, threshold: float = 0.0) -> Score:
    """Semantic scores: counts of each class summed over images, then divided."""
    total = {
        c: tuple(sum(s["counts"][c][k] for s in scores if c in s["counts"]) for k in range(3))
        for c in range(len(classes))
    }
    present = {c: t for c, t in total.items() if t[0] + t[2] > 0}
    iou = {c: tp / (tp + fp + fn) for c, (tp, fp, fn) in present.items()}
    iou = {c: value if value >= threshold else 0.0 for c, value in iou.items()}
    pixels = sum(tp + fn for tp, _, fn in present.values())
    return {
        "iou": {c: iou.get(c, 0.0) for c in range(len(classes))},
        "frequency": {c: (t[0] + t[2]) / pixels for c, t in total.items()},
        "miou": sum(iou.values()) / len(present),
        "pacc": sum(tp for tp, _, _ in present.values()) / pixels,
        "macc": sum(tp / (tp + fn) for tp, _, fn in present.values()) / len(present),
        "fiou": sum((tp + fn) / pixels * iou[c] for c, (tp, _, fn) in present.items()),
        "nm": sum(s["nm"] for s in scores) / len(scores),
        "nh": sum(s["nh"] for s in scores) / len(scores),
        "nodes": sum(s["nodes"] for s in scores) / len(scores),
        "leaves": sum(s["leaves"] for s in scores) / len(scores),
    }


def covering(regions: list[np.ndarray], annotators: list[np.ndarray]) -> float:
    """Mean over annotators of the covering of their segmentation by some masks, pixel by pixel."""
    coverings = []
    for segmentation in annotators:
        best = np.zeros(segmentation.shape)
        for value in np.unique(segmentation):
            human = segmentation == value
            best[human] = max((mask & human).sum() / (mask | human).sum() for mask in regions)
        coverings.append(best.mean())
    return float(np.mean(coverings))
