"""The tables of `study.py`: scores of many images by method, means over data sets, intervals.

A record is what `study.py` keeps of one image and one method, read back from JSON.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from _common import print_table
from numpy.typing import NDArray
from study_methods import BUDGETS, Method

from regiontree.metrics import CoveringMetric

SHOWN = (*BUDGETS, None)  # None: all nodes
MEASURES = {"NM (T)": "nm", "NH (T)": "nh", "NM (S)": "s"}
PROTOCOLS = {"grid": "patch grid, as published", "pixel": "full size"}
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


# -- printed ---------------------------------------------------------------------------------------


def percent(value: float) -> str:
    return "" if np.isnan(value) else f"{100 * value:.1f}"


def ranged(values: tuple[float, float, float], *, sign: bool = False) -> str:
    mean, low, high = (100 * value for value in values)
    return (
        f"{mean:+.1f} [{low:+.1f}, {high:+.1f}]" if sign else f"{mean:.1f} [{low:.1f}, {high:.1f}]"
    )


def print_curves(results: Mapping[str, Result]) -> None:
    """Scores at each budget, with the nodes shown."""
    for protocol, how in PROTOCOLS.items():
        for title, measure in MEASURES.items():
            print(f"### {title}, {protocol} ({how}): score (nodes shown) by budget\n")
            rows = []
            for result in results.values():
                scores = over_sets(result.scores[protocol, measure])
                nodes = over_sets(result.nodes)
                cells = [
                    "" if np.isnan(score) else f"{percent(score)} ({shown:.0f})"
                    for score, shown in zip(scores, nodes, strict=False)
                ]
                seconds = f"{over_sets(result.seconds):.2f}"
                rows.append([result.method.title, *cells, percent(scores[-1]), seconds])
            budgets = [str(budget or "all") for budget in SHOWN]
            print_table(["method", *budgets, "area", "s/image"], rows)


def print_differences(results: Mapping[str, Result], bootstrap: Bootstrap) -> None:
    """Intervals, and differences to the published recursion and to the best baseline."""
    for protocol in PROTOCOLS:
        for title, measure in list(MEASURES.items())[:2]:
            found = {key: result.scores[protocol, measure] for key, result in results.items()}
            baselines = [key for key in found if results[key].method.kind == BASELINE]
            others = [key for key in (REFERENCE,) if key in found]
            others += sorted(baselines, key=lambda key: -over_sets(found[key])[MAIN])[:1]
            names = [results[key].method.title for key in others]
            print(f"### {title}, {protocol}: intervals, and paired differences\n")
            rows = []
            for key, scores in found.items():
                cells = []
                for at in (MAIN, -1):
                    own = {name: values[:, at] for name, values in scores.items()}
                    cells.append(ranged(bootstrap.interval(own)))
                    for other in others:
                        apart = {name: own[name] - found[other][name][:, at] for name in own}
                        same = key == other
                        cells.append("" if same else ranged(bootstrap.interval(apart), sign=True))
                rows.append([results[key].method.title, *cells])
            header = [
                cell
                for at in (f"{BUDGETS[MAIN]} nodes", "area")
                for cell in (at, *(f"{at}, less {name}" for name in names))
            ]
            print_table(["method", *header], rows)


def print_chosen(results: Mapping[str, Result], bootstrap: Bootstrap) -> None:
    """24 nodes of each tree: of a cut, condensed, and the salient ones; the differences of our
    condensed tree from all of them."""
    most = BUDGETS[MAIN]
    print(f"### {most} nodes, pixel ({PROTOCOLS['pixel']}): NM (T) / NH (T) (nodes) by choice\n")
    found: dict[str, dict[str, PerSet]] = {}
    for key, result in results.items():
        if result.chosen:
            nm, nh = (result.scores["pixel", measure] for measure in ("nm", "nh"))
            cut = {
                name: np.column_stack([nm[name][:, MAIN], nh[name][:, MAIN], nodes[:, MAIN]])
                for name, nodes in result.nodes.items()
            }
            found[key] = {"cut": cut, **result.chosen}
    ways = ("cut", *CHOSEN)
    rows = []
    for key, choices in found.items():
        cells = []
        for way in ways:
            nm_, nh_, nodes_ = over_sets(choices[way])
            cells.append(f"{percent(nm_)} / {percent(nh_)} ({nodes_:.0f})")
        rows.append([results[key].method.title, *cells])
    print_table(["method", *ways], rows)
    if "ward" not in found:
        return
    print("### The same, our condensed tree less each: NM (T), then NH (T)\n")
    ours = found["ward"]["condensed"]
    rows = []
    for key, choices in found.items():
        cells = []
        for way, column in ((way, column) for way in ways for column in (0, 1)):
            apart = {name: ours[name][:, column] - choices[way][name][:, column] for name in ours}
            same = key == "ward" and way == "condensed"
            cells.append("" if same else ranged(bootstrap.interval(apart), sign=True))
        rows.append([results[key].method.title, *cells])
    header = [f"{way}, {measure}" for way in ways for measure in ("NM", "NH")]
    print_table(["method", *header], rows)


def print_sets(results: Mapping[str, Result]) -> None:
    """Both scores of each data set at the main budget."""
    print(f"### Data sets: NM (T) / NH (T), grid, {BUDGETS[MAIN]} nodes\n")
    names = list(next(iter(results.values())).nodes)
    rows = []
    for name in names:
        cells = [
            "/".join(
                percent(result.scores["grid", measure][name][:, MAIN].mean())
                for measure in ("nm", "nh")
            )
            for result in results.values()
        ]
        rows.append([name, len(next(iter(results.values())).nodes[name]), *cells])
    print_table(["data set", "images", *(result.method.title for result in results.values())], rows)


def print_choice(results: Mapping[str, Result], tried: Sequence[str], bootstrap: Bootstrap) -> None:
    """Ward's settings one at a time, and leave-one-set-out choice among them."""
    found = {key: results[key].scores["grid", "nm"] for key in tried}
    areas = {key: {name: rows[:, -1] for name, rows in sets.items()} for key, sets in found.items()}
    print("### Settings of Ward's tree of parts: area of NM (T) and NH (T), grid\n")
    rows = []
    for key in found:
        apart = {name: rows - areas["ward"][name] for name, rows in areas[key].items()}
        by_nh = over_sets(results[key].scores["grid", "nh"])[-1]
        difference = "" if key == "ward" else ranged(bootstrap.interval(apart), sign=True)
        seconds = f"{over_sets(results[key].seconds):.2f}"
        rows.append(
            [key, percent(float(over_sets(areas[key]))), difference, percent(by_nh), seconds]
        )
    print_table(["setting", "NM (T)", "less the default's", "NH (T)", "s/image"], rows)
    if len(areas["ward"]) < 2:
        return  # no other data set to choose on
    means = {key: {name: rows.mean() for name, rows in sets.items()} for key, sets in areas.items()}
    print("### Settings chosen on the other data sets: area of NM (T), grid\n")
    rows, picked, scores = [], [], []
    for left_out in means["ward"]:
        others = [name for name in means["ward"] if name != left_out]
        best = max(means, key=lambda key: np.mean([means[key][name] for name in others]))
        picked.append(best)
        scores.append(means[best][left_out])
        rows.append([left_out, best, percent(scores[-1]), percent(means["ward"][left_out])])
    rows.append(["mean", "", percent(np.mean(scores)), percent(np.mean([*means["ward"].values()]))])
    print_table(["left out", "chosen on the others", "its score", "the default's"], rows)
    times = {key: picked.count(key) for key in dict.fromkeys(picked)}
    print("Chosen: " + ", ".join(f"{key} {count} times" for key, count in times.items()) + "\n")


def print_covering(found: Mapping[str, Sequence[Record]]) -> None:
    print("### BSDS500: segmentation covering, full size\n")
    rows = []
    for title, some in found.items():
        metric = CoveringMetric()
        for record in some:
            metric.merge_state(record["covering"])
        scores = metric.compute()
        seconds = np.mean([record["seconds"] for record in some])
        cells = [f"{value:.3f}" for value in (scores.ods, scores.ois, scores.best)]
        rows.append([title, scores.images, *cells, f"{scores.ods_scale:.0f}",
                     f"{scores.nodes:.0f}", f"{seconds:.2f}"])  # fmt: skip
    rows.append(["gPb-OWT-UCM as printed, ANOTHER SPLIT", 200, "0.59", "0.65", "0.74", "", "", ""])
    header = ["method", "images", "ODS", "OIS", "best", "ODS regions", "nodes", "s/image"]
    print_table(header, rows)
    print(
        "gPb-OWT-UCM: Arbelaez et al., PAMI 2011, all 200 test images, at pixels; ours are cut "
        "along patches.\n"
    )


def print_golden(found: Mapping[str, Sequence[Record]]) -> None:
    """Scores at each budget of trees from the features that the published code's were made of."""
    if not found:
        return
    images = len(next(iter(found.values())))
    print(
        f"### The {images} images with trees of the published code: NM (T), pixel "
        f"({PROTOCOLS['pixel']}): score (nodes shown) by budget\n"
    )
    rows = []
    for title, some in found.items():
        scores, nodes = (
            np.mean([record["scores"]["pixel"][name] for record in some], axis=0)
            for name in ("nm", "nodes")
        )
        cells = [f"{percent(s)} ({n:.0f})" for s, n in zip(scores, nodes, strict=True)]
        rows.append([title, *cells, percent(float(area(scores[None])[0]))])
    print_table(["method", *(str(budget or "all") for budget in SHOWN), "area"], rows)
