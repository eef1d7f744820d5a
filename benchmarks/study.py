"""Is Ward's tree of parts better than the published recursion, and than what else one would try?

Every method builds its tree from the same features, by default those of the default preset, and is
scored with the same number of nodes shown: NMCovering and NHCovering against the label tree (T),
NMCovering against its finest level (S), on the patch grid as published and at full size. No tree is
refined.

- A tree shows its nodes from the highest down (`regiontree.metrics.budget_nodes`); those of the
  recursion have no published height, so its share of feature scatter is used, as in the package.
  A root with more children than the budget shows only itself. Flat methods are run once a budget.
- 24 nodes chosen otherwise, in a table of their own: the tree that `RegionTree.condense` makes of
  24 nodes, and the 24 nodes of `RegionTree.salient` without any others.
- The area is that under the score against the logarithm of the budget, from 5 to 200 nodes, by
  trapezoids, divided by its width: a mean score. A tree of fewer nodes keeps its last score.
- Images weigh alike within a data set, data sets alike in the mean. Intervals are of 95 %, by
  drawing the images of each data set again 1,000 times; all methods share the draws, so that
  differences are paired. A data set of one image adds nothing to an interval.
- Images are taken in the order of the hash of their ids: a sample, and a smaller one is part of it.
- Seconds are of the tree alone, on whatever the machine did at that time; of a flat method, all six
  budgets together. Features cost the same for all and are not counted.

Ward's settings are put to the test (`ward-settings`): for each data set, those best on all others
are scored on it. BSDS500 has regions without classes, and a table of its own.

Every image of every method is one small file below --output, and is not made again; after a change
of the package's code, pass --overwrite.

    python benchmarks/study.py                        # all; --methods ward recursion for two
"""

from __future__ import annotations

import hashlib
import json
import multiprocessing
import sys
import time
from collections.abc import Iterable, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
from _common import (
    REPOSITORY,
    SUBSETS,
    arguments,
    data_folder,
    print_closing,
    print_heading,
    print_table,
)
from numpy.typing import NDArray
from rich.console import Console
from rich.progress import track
from study_methods import BUDGETS, Method, Photograph, Tree, methods, variants

from regiontree import RegionTree
from regiontree.datasets.dataset import Dataset, Sample
from regiontree.errors import FeatureError
from regiontree.experiments.config import load_experiment
from regiontree.experiments.run import prepare
from regiontree.experiments.stages import Pipeline, feature_settings
from regiontree.featurefile import load_features, read_features_meta
from regiontree.files import atomic_write, sha256_of
from regiontree.images import nearest
from regiontree.metrics import (
    CoveringMetric,
    budget_nodes,
    contingency,
    region_counts,
    score_tree,
)
from regiontree.metrics.score import score_regions
from regiontree.settings import PRESETS, Settings

BSDS = "bsds500"
SHOWN = (*BUDGETS, None)  # None: all nodes
MEASURES = {"NM (T)": "nm", "NH (T)": "nh", "NM (S)": "s"}
PROTOCOLS = {"grid": "patch grid, as published", "pixel": "full size"}
MAIN = BUDGETS.index(24)
CHOSEN = ("condensed", "salient")
DRAWS = 1000

BASELINE, REFERENCE = "baseline", "recursion"
CHOICE = "ward-settings"

Record = dict[str, Any]
Values = NDArray[np.float64]
PerSet = dict[str, Values]  # data set -> (images, ...)


# -- one image ------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Work:
    """All methods of one image: what a process is given."""

    name: str  # of the data set
    image: str
    keys: tuple[str, ...]
    preset: str
    data: Path
    features: Path
    output: Path
    overwrite: bool


def smoothing(preset: str) -> int:
    """Steps for the features of a preset; the published one, without any, looks once, as fast."""
    return Settings.make(preset).smoothing or Settings.make("fast").smoothing


@lru_cache
def all_methods(steps: int) -> dict[str, Method]:
    return {**variants(steps), **methods(steps)}


@lru_cache(maxsize=1)  # it holds the network
def opened(name: str, preset: str, data: Path, features: Path) -> tuple[Dataset, Pipeline]:
    """A data set, and the stage that makes its features."""
    plan = prepare(
        load_experiment(
            REPOSITORY / "configs" / f"{preset}.yaml",
            dataset=str(SUBSETS / f"{name}.yaml"),
            root=data,
            output=features,
            stages=["features"],
        )
    )
    return plan.dataset, Pipeline(plan.experiment, plan.dataset, None)


def features_file(pipeline: Pipeline, sample: Sample) -> Path:
    """The file of a sample's features, made unless it is there."""
    path = pipeline.features_path(sample)
    if path.is_file():
        meta = read_features_meta(path)
        wanted = feature_settings(pipeline.experiment.settings.as_dict())
        if meta["settings"] == wanted and meta["source"].get("sha256") == sha256_of(sample.image):
            return path
    outcome = pipeline.run(sample)
    if outcome.error is not None:
        raise FeatureError(outcome.error)
    return path


def records(work: Work) -> dict[str, Record]:
    """The record of each method, from its file or made now."""
    dataset, pipeline = opened(work.name, work.preset, work.data, work.features)
    sample = next(sample for sample in dataset.samples if sample.id == work.image)
    source = features_file(pipeline, sample)
    digest = sha256_of(source)
    found: dict[str, Record] = {}
    photo = truths = None
    for key in work.keys:
        method = all_methods(smoothing(work.preset))[key]
        path = (
            work.output / work.preset / work.name / f"{key}-{method.digest}" / f"{sample.id}.json"
        )
        if path.is_file() and not work.overwrite:
            found[key] = json.loads(path.read_bytes())
            if found[key]["features"] == digest:
                continue
        if photo is None or truths is None:
            photo = Photograph(load_features(source).patches.float(), sample.image)
            truths = dataset.truths(sample)
        start = time.perf_counter()
        built = method.build(photo)
        found[key] = {
            "method": method.title,
            "settings": dict(method.settings),
            "features": digest,
            "seconds": round(time.perf_counter() - start, 4),
            **(
                covering_record(sample.id, built, truths)
                if isinstance(built, Tree) and dataset.labels is None
                else score_record(built, truths[0], dataset)
            ),
        }
        with atomic_write(path) as file:
            file.write(json.dumps(found[key]).encode())
    return found


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


# -- all images -----------------------------------------------------------------------------------


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


def chosen_samples(dataset: Dataset, limit: int) -> list[Sample]:
    """At most `limit` samples in the order of the hash of their ids."""
    by_hash = sorted(dataset.samples, key=lambda s: hashlib.sha256(s.id.encode()).hexdigest())
    return by_hash[:limit]


# -- tables ---------------------------------------------------------------------------------------


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


# -- the whole ------------------------------------------------------------------------------------


def done(works: Sequence[Work], jobs: int) -> Iterable[dict[str, Record]]:
    if jobs == 1:
        return map(records, works)
    pool = ProcessPoolExecutor(jobs, mp_context=multiprocessing.get_context("spawn"))
    return pool.map(records, works)


def main() -> None:
    known = sorted(path.stem for path in SUBSETS.glob("*.yaml"))
    offered = [*methods(1), CHOICE]
    options = arguments(__doc__)
    options.add_argument("--images", type=int, default=12, metavar="N", help="of each data set")
    options.add_argument("--bsds-images", type=int, default=40, metavar="N")
    options.add_argument("--sets", nargs="+", choices=known, default=known, metavar="NAME")
    options.add_argument("--methods", nargs="+", choices=offered, default=offered, metavar="NAME",
                         help=", ".join(offered))  # fmt: skip
    options.add_argument("--preset", choices=list(PRESETS), default="default", help="of features")
    options.add_argument("--output", type=Path, default=Path("results", "study"))
    options.add_argument(
        "--features", type=Path, default=None, help="OUTPUT/PRESET/features if left out"
    )
    options.add_argument("--data", type=Path, default=None, help="$REGIONTREE_DATA if left out")
    options.add_argument("--jobs", type=int, default=1)
    options.add_argument("--overwrite", action="store_true")
    given = options.parse_args()
    data = given.data or data_folder()
    if not data.is_dir():
        sys.exit(f"no real images in {data}: pass --data or set REGIONTREE_DATA")
    features = given.features or given.output / given.preset / "features"
    steps = smoothing(given.preset)
    known_methods = all_methods(steps)
    keys = [key for key in methods(steps) if key in given.methods]
    tried = [key for key in variants(steps) if CHOICE in given.methods]
    trees = [key for key in keys if not known_methods[key].flat]
    works = []
    for name in given.sets:
        limit, wanted = (
            (given.bsds_images, trees) if name == BSDS else (given.images, [*keys, *tried])
        )
        dataset, _ = opened(name, given.preset, data, features)
        works += [
            Work(name, sample.id, tuple(dict.fromkeys(wanted)), given.preset, data, features,
                 given.output, given.overwrite)
            for sample in chosen_samples(dataset, limit)
        ]  # fmt: skip
    print_heading("study.py")
    bar = Console(stderr=True)
    found: dict[str, list[dict[str, Record]]] = {name: [] for name in given.sets}
    for work, each in zip(
        works, track(done(works, given.jobs), "images", len(works), console=bar), strict=True
    ):
        found[work.name].append(each)
    people = found.pop(BSDS, [])
    covering = {known_methods[key].title: [each[key] for each in people] for key in trees if people}
    results = {key: Result(known_methods[key]) for key in dict.fromkeys([*keys, *tried])}
    for name, images in found.items():
        # An image without any class but the background is scored by no method.
        scored = [each for each in images if all(each[key]["scores"] for key in results)]
        if len(scored) < len(images):
            print(f"{name}: {len(images) - len(scored)} images have nothing to cover\n")
        for key, result in results.items() if scored else ():
            result.add(name, [each[key] for each in scored])
    shown = {key: results[key] for key in keys}
    if results and (
        images_of := {n: len(r) for n, r in next(iter(results.values())).nodes.items()}
    ):
        bootstrap = Bootstrap(images_of)
        total = sum(images_of.values())
        print(f"{total} images of {len(images_of)} data sets\n")
        if shown:
            print_curves(shown)
            print_differences(shown, bootstrap)
            print_chosen(shown, bootstrap)
            print_sets(shown)
        if tried:
            print_choice(results, tried, bootstrap)
    if covering:
        print_covering(covering)
    print_closing()


if __name__ == "__main__":
    main()
