"""How well is the IoU of a node with a marked segment predicted, and which masks come first?

Question
    How near is the predicted IoU of a node (`regiontree.export.quality`) to its best IoU with any
    segment of the truth? Do its coefficients hold for photographs that they were not fitted to, for
    other data sets, and for trees of other settings? Of the first masks of a list, how many are
    things: in the order of the predicted IoU, or in that of persistence times stability squared?
Method
    All photographs of the data sets whose description says which segments there are, at most 60 of
    each. The prediction is a logistic function of the logarithm of the persistence, of the
    stability and of the logarithm of the share of the image. It is fitted to the best IoU of every
    node but the root with any segment that is no crowd, by maximum likelihood of a fraction (Papke
    and Wooldridge 1996). *Package*: the coefficients of the package, which come from all of
    coco_panoptic. *Other half*: those fitted to the other half of the same photographs, even and
    odd ones. *Ranking*: no prediction, the order of `ranked_nodes`.
    R2 and the Spearman correlation are over all nodes of a data set. The top are the 1 % of nodes
    with the highest prediction. AR is average recall by COCO's rules, nodes alone as masks.
Printed
    Means of prediction and of best IoU, over all nodes and over the top; R2; Spearman correlation;
    AR at 10 and at 100 masks. Below, the coefficients fitted to all of coco_panoptic.

    python benchmarks/predicted_iou.py
    python benchmarks/predicted_iou.py --sets coco_panoptic --photos 8 --trees default
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from _common import arguments, print_closing, print_heading, print_results
from numpy.typing import NDArray
from recall import sets_with_segments
from scipy.special import expit
from scipy.stats import spearmanr

from regiontree import RegionParser, RegionTree
from regiontree.datasets.dataset import Dataset
from regiontree.errors import DataError
from regiontree.export.quality import predicted_iou, predictors
from regiontree.metrics import RecallMetric, Segments, ranked_masks, steady_persistence

Floats = NDArray[np.float64]

WAYS: dict[str, dict[str, Any]] = {
    "default": {},
    "accurate": {"preset": "accurate"},
    "consensus": {"tree": "consensus"},
    "recursive": {"tree": "recursive"},
    "default without stability": {"stability": 0},
}
LIMITS = (10, 100)


@dataclass(frozen=True, slots=True)
class Seen:
    """One tree beside its truth: facts of nodes (N, 4), best IoU (N,), and orders of masks."""

    name: str
    facts: Floats
    best: Floats
    package: Floats
    ranking: Floats
    found: Segments


def looked_at(name: str, tree: RegionTree, maps: Any) -> Seen:
    """The facts of all nodes but the root, and how they overlap the truth."""
    _, found = ranked_masks(tree, maps, pieces=False)
    found = dataclasses.replace(found, both=found.both[:-1], masks=found.masks[:-1])
    whole = found.only(~found.crowd)
    best = whole.iou.max(axis=1, initial=0.0)
    return Seen(
        name, predictors(tree)[:-1], best, predicted_iou(tree)[:-1],
        steady_persistence(tree)[:-1], found,
    )  # fmt: skip


def gathered(dataset: Dataset, photos: int, parser: RegionParser) -> list[Seen]:
    """All trees of a data set beside the truth."""
    seen = []
    for sample in dataset.samples[:photos]:
        try:
            maps = dataset.segments(sample)
        except DataError as error:
            print(f"left out: {error}\n")
            continue
        seen.append(looked_at(sample.id, parser.parse(sample.image), maps))
    return seen


def fitted(seen: Sequence[Seen]) -> Floats:
    """Coefficients by Newton's method; that of a fact that is always 0 is 0."""
    facts = np.concatenate([one.facts for one in seen])
    best = np.concatenate([one.best for one in seen])
    used = np.flatnonzero(facts.any(axis=0))
    own, coefficients = facts[:, used], np.zeros(facts.shape[1])
    for _ in range(50):
        mean = expit(own @ coefficients[used])
        curvature = (own * (mean * (1 - mean))[:, None]).T @ own
        coefficients[used] += np.linalg.solve(curvature, own.T @ (best - mean))
    return coefficients


def recall(seen: Sequence[Seen], scores: Sequence[Floats]) -> tuple[float, float]:
    """AR in percent at each of LIMITS, with masks in the order of scores."""
    metric = RecallMetric(LIMITS)
    for one, score in zip(seen, scores, strict=True):
        metric.update(one.name, score, one.found)
    found = metric.compute().recall
    low, high = (100 * found["all", limit] for limit in LIMITS)
    return low, high


def rows_of(way: str, data_set: str, seen: Sequence[Seen]) -> Iterator[list[object]]:
    """A row for each kind of coefficients, and one for the ranking."""
    predictions = {"package": [one.package for one in seen]}
    if len(seen) >= 8:
        halves = [fitted(seen[1::2]), fitted(seen[::2])]  # of even ones, of odd ones
        predictions["other half"] = [
            expit(one.facts @ halves[number % 2]) for number, one in enumerate(seen)
        ]
    best = np.concatenate([one.best for one in seen])
    for name, each in predictions.items():
        value = np.concatenate(each)
        top = value >= np.quantile(value, 0.99)
        r2 = 1 - ((best - value) ** 2).mean() / best.var()
        yield [
            way, data_set, name, len(seen), 100 * value.mean(), 100 * best.mean(),
            100 * value[top].mean(), 100 * best[top].mean(), r2,
            spearmanr(value, best).statistic, *recall(seen, each),
        ]  # fmt: skip
    order = [one.ranking for one in seen]
    spearman = spearmanr(np.concatenate(order), best).statistic
    yield [
        way, data_set, "ranking", len(seen), None, 100 * best.mean(), None, None, None, spearman,
        *recall(seen, order),
    ]  # fmt: skip


def main() -> None:
    options = arguments(__doc__)
    sets = sets_with_segments()
    options.add_argument("--sets", nargs="+", choices=list(sets), default=list(sets),
                         help="data sets  [all with segments]")  # fmt: skip
    options.add_argument("--photos", type=int, default=60, help="photographs of each  [60]")
    options.add_argument("--trees", nargs="+", choices=list(WAYS), default=list(WAYS))
    given = options.parse_args()
    if not given.sets:
        raise SystemExit("no photographs: neither $REGIONTREE_DATA nor ../shared/data has them")
    torch.set_num_threads(1)
    print_heading(__file__)
    rows: list[Sequence[object]] = []
    coefficients = []
    for way in given.trees:
        parser = RegionParser(device="cpu", **WAYS[way])
        for name in given.sets if way == "default" else ["coco_panoptic"]:
            seen = gathered(sets[name], given.photos, parser)
            rows += rows_of(way, name, seen)
            if name == "coco_panoptic":
                coefficients.append(f"{way}: {np.round(fitted(seen), 2).tolist()}")
    print_results("predicted-iou", rows, given.csv)
    print("\n".join(["", "fitted to coco_panoptic:", *coefficients]))
    print_closing()


if __name__ == "__main__":
    main()
