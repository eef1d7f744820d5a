"""Is Ward's tree of parts better than the published recursion, and than what else one would try?

Every method builds its tree from the same features, by default those of the preset accurate, and is
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
are scored on it. BSDS500 has regions without classes, and a table of its own. So have the trees
that the published code itself made, of five images of VOC, where they lie beside the data: every
method then builds from the features that they were made of.

Every image of every method is one small file below --output, and is not made again; after a change
of the package's code, pass --overwrite.

    python benchmarks/study.py                        # all; --methods ward recursion for two
"""

from __future__ import annotations

import json
import multiprocessing
import sys
import time
from collections.abc import Iterable, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

from _common import (
    REPOSITORY,
    SUBSETS,
    arguments,
    chosen_samples,
    data_folder,
    print_closing,
    print_heading,
)
from rich.console import Console
from rich.progress import track
from study_golden import golden
from study_methods import Method, Photograph, Tree, methods, variants
from study_scores import covering_record, score_record
from study_tables import (
    Bootstrap,
    Record,
    Result,
    print_choice,
    print_chosen,
    print_covering,
    print_curves,
    print_differences,
    print_golden,
    print_sets,
)

from regiontree.backbones.featurefile import load_features, read_features_meta
from regiontree.datasets.dataset import Dataset, Sample
from regiontree.errors import FeatureError
from regiontree.experiments.config import load_experiment
from regiontree.experiments.plan import prepare
from regiontree.experiments.stages import Pipeline, feature_settings
from regiontree.settings import PRESETS, Settings
from regiontree.system.files import atomic_write, sha256_of

BSDS = "bsds500"
CHOICE = "ward-settings"


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
    """Steps for the features of a preset; the published one has none and takes the default's."""
    return Settings.make(preset).smooth.steps or Settings.make("default").smooth.steps


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
    options.add_argument("--preset", choices=list(PRESETS), default="accurate", help="of features")
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
            print_curves(shown, given.preset, given.csv)
            print_differences(shown, bootstrap, given.preset, given.csv)
            print_chosen(shown, bootstrap, given.preset, given.csv)
            print_sets(shown, given.preset, given.csv)
        if tried:
            print_choice(results, tried, bootstrap, given.preset, given.csv)
    if covering:
        print_covering(covering, given.preset, given.csv)
    if "voc2012" in given.sets and (
        stored := golden({key: known_methods[key] for key in trees}, data)
    ):
        print_golden(stored, given.csv)
    print_closing()


if __name__ == "__main__":
    main()
