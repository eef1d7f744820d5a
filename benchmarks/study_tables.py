"""The tables of `study.py`: scores of many images by method, means over data sets, intervals.

A record is what `study.py` keeps of one image and one method, read back from JSON.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from _common import print_results
from numpy.typing import NDArray
from study_methods import BUDGETS, Method

from regiontree.metrics import CoveringMetric

SHOWN = (*BUDGETS, None)  # None: all nodes
MEASURES = {"NM (T)": "nm", "NH (T)": "nh", "NM (S)": "s"}
PROTOCOLS = ("grid", "pixel")
NAMES = {"grid": "patch grid", "pixel": "full size"}
MAIN = BUDGETS.index(24)
CHOSEN = ("condensed", "salient")
DRAWS = 1000

BASELINE, REFERENCE = "baseline", "recursion"

Record = dict[str, Any]
Values = NDArray[np.float64]
PerSet = dict[str, Values]  # data set -> (images, ...)


@dataclass
class Result:
    """Scores of a method. The last axis: each of SHOWN, then the area.

    Attributes
    ----------
    method : Method
    scores : (protocol, measure) -> data set -> (images, 8)
    nodes : data set -> (images, 7)
    seconds : data set -> (images,)
    chosen : way of choosing 24 nodes, none for flat methods -> data set -> (images, 3): NM (T),
        NH (T), nodes
    """

    method: Method
    scores: dict[tuple[str, str], PerSet] = field(default_factory=dict)
    nodes: PerSet = field(default_factory=dict)
    seconds: PerSet = field(default_factory=dict)
    chosen: dict[str, PerSet] = field(default_factory=dict)

    def add(self, name: str, found: Sequence[Record]) -> None:
        """Take in the records of a data set."""
        for protocol in PROTOCOLS:
            for measure in MEASURES.values():
                rows = np.array([padded(r["scores"][protocol][measure]) for r in found])
                curve = np.column_stack([rows, area(rows)])
                self.scores.setdefault((protocol, measure), {})[name] = curve
        self.nodes[name] = np.array([padded(r["scores"]["grid"]["nodes"]) for r in found])
        self.seconds[name] = np.array([r["seconds"] for r in found])
        for way in CHOSEN if not self.method.flat else ():
            self.chosen.setdefault(way, {})[name] = np.array([r["chosen"][way] for r in found])


def padded(row: Sequence[float]) -> list[float]:
    return [*row, *[np.nan] * (len(SHOWN) - len(row))]


def area(rows: Values) -> Values:
    """Mean height of the curve over the logarithm of the budget, by trapezoids, (images,)."""
    at = np.log(BUDGETS)
    curve = rows[:, : len(BUDGETS)]
    areas: Values = np.trapezoid(curve, at, axis=1) / (at[-1] - at[0])
    return areas


def over_sets(values: Mapping[str, Values]) -> Values:
    """Mean over images, then over data sets."""
    return np.mean([rows.mean(axis=0) for rows in values.values()], axis=0)


class Bootstrap:
    """Draws of images within data sets, the same for all methods."""

    def __init__(self, images: Mapping[str, int]) -> None:
        rng = np.random.default_rng(1234)
        self.drawn = {name: rng.integers(n, size=(DRAWS, n)) for name, n in images.items()}

    def interval(self, values: Mapping[str, Values]) -> tuple[float, float, float]:
        """Mean of (images,) values of each data set, and the ends of its interval."""
        means = np.mean(
            [rows[self.drawn[name]].mean(axis=1) for name, rows in values.items()], axis=0
        )
        low, high = np.percentile(means, (2.5, 97.5))
        return float(over_sets(values)), float(low), float(high)


# -- printed and written ---------------------------------------------------------------------------


def curve_cells(scores: Values, nodes: Values) -> list[float]:
    """Score in percent and nodes shown, for each of SHOWN."""
    shown = zip(scores[: len(SHOWN)], nodes, strict=True)
    return [value for score, count in shown for value in (100 * score, count)]


def signed(values: tuple[float, float, float]) -> list[str]:
    """A difference and the ends of its interval, in percent with their signs."""
    return [f"{100 * value:+.1f}" for value in values]


def print_curves(results: Mapping[str, Result], features: str, csv: Path | None) -> None:
    """Scores at each budget, with the nodes shown."""
    print("### Score, and nodes shown, by budget\n")
    rows: list[list[object]] = []
    for protocol in PROTOCOLS:
        for title, measure in MEASURES.items():
            for result in results.values():
                scores = over_sets(result.scores[protocol, measure])
                nodes = over_sets(result.nodes)
                nodes = np.where(np.isnan(scores[: len(SHOWN)]), np.nan, nodes)
                rows.append(
                    [features, NAMES[protocol], title, result.method.title,
                     *curve_cells(scores, nodes), 100 * scores[-1], over_sets(result.seconds)]
                )  # fmt: skip
    print_results("study", rows, csv)


def print_differences(
    results: Mapping[str, Result], bootstrap: Bootstrap, features: str, csv: Path | None
) -> None:
    """Intervals, and differences to the published recursion and to the best baseline."""
    print("### Intervals, and paired differences\n")
    rows: list[list[object]] = []
    for protocol in PROTOCOLS:
        for title, measure in list(MEASURES.items())[:2]:
            found = {key: result.scores[protocol, measure] for key, result in results.items()}
            baselines = [key for key in found if results[key].method.kind == BASELINE]
            others = [key for key in (REFERENCE,) if key in found]
            others += sorted(baselines, key=lambda key: -over_sets(found[key])[MAIN])[:1]
            for key, scores in found.items():
                start = [features, NAMES[protocol], title, results[key].method.title]
                for at, figure in ((MAIN, f"{BUDGETS[MAIN]} nodes"), (-1, "area")):
                    own = {name: values[:, at] for name, values in scores.items()}
                    interval = [100 * value for value in bootstrap.interval(own)]
                    rows.append([*start, figure, *interval])
                    for other in others:
                        if key == other:
                            continue
                        apart = {name: own[name] - found[other][name][:, at] for name in own}
                        less = f"{figure}, less {results[other].method.title}"
                        rows.append([*start, less, *signed(bootstrap.interval(apart))])
    print_results("study-differences", rows, csv, "differences")


def print_chosen(
    results: Mapping[str, Result], bootstrap: Bootstrap, features: str, csv: Path | None
) -> None:
    """24 nodes of each tree: of a cut, condensed, and the salient ones; the differences of our
    condensed tree from all of them."""
    print(f"### {BUDGETS[MAIN]} nodes at full size, chosen in three ways\n")
    found: dict[str, dict[str, PerSet]] = {}
    for key, result in results.items():
        if result.chosen:
            nm, nh = (result.scores["pixel", measure] for measure in ("nm", "nh"))
            cut = {
                name: np.column_stack([nm[name][:, MAIN], nh[name][:, MAIN], nodes[:, MAIN]])
                for name, nodes in result.nodes.items()
            }
            found[key] = {"cut": cut, **result.chosen}
    rows: list[list[object]] = []
    for key, choices in found.items():
        for way in ("cut", *CHOSEN):
            nm_, nh_, nodes_ = over_sets(choices[way])
            rows.append([features, results[key].method.title, way, 100 * nm_, 100 * nh_, nodes_])
    print_results("study-chosen", rows, csv, "chosen")
    if "ward" not in found:
        return
    print("### Our condensed tree, less each\n")
    ours = found["ward"]["condensed"]
    rows = []
    for key, choices in found.items():
        for way in ("cut", *CHOSEN):
            if key == "ward" and way == "condensed":
                continue
            for column, measure in enumerate(("NM (T)", "NH (T)")):
                apart = {
                    name: ours[name][:, column] - choices[way][name][:, column] for name in ours
                }
                start = [features, results[key].method.title, way, measure]
                rows.append([*start, *signed(bootstrap.interval(apart))])
    print_results("study-chosen-differences", rows, csv, "chosen-differences")


def print_sets(results: Mapping[str, Result], features: str, csv: Path | None) -> None:
    """Both scores of each data set at the main budget, on the patch grid."""
    print(f"### Data sets: NM (T) and NH (T), patch grid, {BUDGETS[MAIN]} nodes\n")
    names = list(next(iter(results.values())).nodes)
    rows: list[list[object]] = []
    for name in names:
        for result in results.values():
            nm, nh = (
                100 * result.scores["grid", measure][name][:, MAIN].mean()
                for measure in ("nm", "nh")
            )
            rows.append([features, name, len(result.nodes[name]), result.method.title, nm, nh])
    print_results("study-sets", rows, csv, "sets")


def print_choice(
    results: Mapping[str, Result],
    keys: Sequence[str],
    bootstrap: Bootstrap,
    features: str,
    csv: Path | None,
) -> None:
    """Ward's settings one at a time, and leave-one-set-out choice among them."""
    found = {key: results[key].scores["grid", "nm"] for key in keys}
    areas = {key: {name: rows[:, -1] for name, rows in sets.items()} for key, sets in found.items()}
    print("### Settings of Ward's tree of parts: area of NM (T) and NH (T), patch grid\n")
    rows: list[list[object]] = []
    for key in found:
        apart = {name: values - areas["ward"][name] for name, values in areas[key].items()}
        less = [None] * 3 if key == "ward" else signed(bootstrap.interval(apart))
        by_nh = 100 * over_sets(results[key].scores["grid", "nh"])[-1]
        own = 100 * float(over_sets(areas[key]))
        rows.append([features, key, own, *less, by_nh, over_sets(results[key].seconds)])
    print_results("study-settings", rows, csv, "settings")
    if len(areas["ward"]) < 2:
        return  # no other data set to choose on
    means = {key: {name: rows.mean() for name, rows in sets.items()} for key, sets in areas.items()}
    print("### Settings chosen on the other data sets: area of NM (T), patch grid\n")
    rows = []
    for left_out in means["ward"]:
        others = [name for name in means["ward"] if name != left_out]
        best = max(means, key=lambda key: np.mean([means[key][name] for name in others]))
        own, default = 100 * means[best][left_out], 100 * means["ward"][left_out]
        rows.append([features, left_out, best, own, default])
    ends = [float(np.mean([row[column] for row in rows])) for column in (3, 4)]
    rows.append([features, "mean of data sets", None, *ends])
    print_results("study-left-out", rows, csv, "left-out")


def print_covering(found: Mapping[str, Sequence[Record]], features: str, csv: Path | None) -> None:
    print("### BSDS500: segmentation covering, full size, regions that end on patches\n")
    rows: list[list[object]] = []
    for title, some in found.items():
        metric = CoveringMetric()
        for record in some:
            metric.merge_state(record["covering"])
        scores = metric.compute()
        seconds = np.mean([record["seconds"] for record in some])
        rows.append([features, title, scores.images, scores.ods, scores.ois, scores.best,
                     scores.ods_scale, scores.nodes, seconds])  # fmt: skip
    # Arbelaez et al., PAMI 2011: all 200 test images, at pixels.
    printed = ["", "gPb-OWT-UCM as printed, another split", 200, 0.59, 0.65, 0.74]
    rows.append([*printed, None, None, None])
    print_results("study-covering", rows, csv, "covering")


def print_golden(found: Mapping[str, Sequence[Record]], csv: Path | None) -> None:
    """Scores at each budget of trees from the features that the published code's were made of."""
    if not found:
        return
    images = len(next(iter(found.values())))
    print(f"### The {images} images with trees of the published code: NM (T), full size\n")
    rows: list[list[object]] = []
    for title, some in found.items():
        scores, nodes = (
            np.mean([record["scores"]["pixel"][name] for record in some], axis=0)
            for name in ("nm", "nodes")
        )
        rows.append([title, *curve_cells(scores, nodes), 100 * float(area(scores[None])[0])])
    print_results("study-golden", rows, csv, "golden")
