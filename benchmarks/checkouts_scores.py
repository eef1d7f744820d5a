"""Are trees as good as in another checkout of the project, if both get the same features?

Reads the features that ``results.py --preset PRESET`` left in ``--output``, at most ``--images`` of
each data set. Both checkouts build the tree of each photograph, with its borders, at the size of
the ground truth (:mod:`checkouts`). The measures are those of :mod:`refine`: NMCovering and
NHCovering with 24 nodes and with all, BSDS500 covering, and boundary F at 2 and 5 pixels. Means are
over images, then over data sets.

The other checkout draws random numbers: --seeds says with which seeds it builds trees, each a way
of its own. How far they lie apart says what a difference on a few photographs means.

    git worktree add ../earlier a1d0933
    python benchmarks/checkouts_scores.py --other ../earlier --output results/default
    python benchmarks/checkouts_scores.py --other ../earlier --output results/default \
        --seeds 1234 0 1 2 3 --only cityscapes_train8 cocostuff164k_sample
"""

from __future__ import annotations

import tempfile
from pathlib import Path

import numpy as np
from _common import (
    REPOSITORY,
    SUBSETS,
    arguments,
    chosen_samples,
    data_folder,
    print_closing,
    print_heading,
    print_results,
)
from checkouts import Checkout
from refine import VOID, Scores, classes_of, means, scores_of

from regiontree import RegionParser, RegionTree
from regiontree.backbones.featurefile import load_features
from regiontree.datasets.catalog import open_dataset
from regiontree.datasets.dataset import Dataset
from regiontree.metrics.boundary import true_borders

SEED = 1234  # the default of every version


def main() -> None:
    parser = arguments(__doc__)
    parser.add_argument("--other", type=Path, required=True, help="folder of the other checkout")
    parser.add_argument("--output", type=Path, required=True, help="where results.py wrote")
    parser.add_argument("--preset", choices=("default", "accurate"), default="default")
    parser.add_argument("--images", type=int, default=1000, help="of each data set  [all]")
    parser.add_argument("--seeds", type=int, nargs="+", default=[SEED], help="of the other")
    parser.add_argument("--only", nargs="+", metavar="NAME", help="these data sets")
    options = parser.parse_args()
    print_heading(__file__)
    both = {
        "before" + (f", seed {seed}" if seed != SEED else ""): Checkout(
            options.other.resolve(), seed
        )
        for seed in options.seeds
    }
    both["after"] = Checkout(REPOSITORY)
    found: dict[str, list[Scores]] = {}
    for spec in sorted(SUBSETS.glob("*.yaml")):
        folder = options.output / spec.stem / "embedded" / "features"
        if folder.is_dir() and (not options.only or spec.stem in options.only):
            dataset = open_dataset(spec, None, data_folder())
            scores = _scored(both, dataset, folder, options.preset, options.images)
            found |= {spec.stem: scores} if scores else {}
            print(f"{spec.stem}: {len(scores)}", flush=True)
    for checkout in both.values():
        checkout.close()
    rows: list[list[object]] = []
    for name, images in [*found.items(), (None, None)]:
        among = found if images is None else {name: images}
        count = sum(map(len, among.values()))
        for way in both:
            row = means(among, way)
            assert row is not None
            rows.append([options.preset, name or "mean", count, way, *(100 * row)])
    print_results("checkouts-scores", rows, options.csv)
    print_closing()


def _scored(
    both: dict[str, Checkout], dataset: Dataset, folder: Path, preset: str, limit: int
) -> list[Scores]:
    """Scores of the images of a data set, in both checkouts."""
    parser = RegionParser(preset=preset, backbone="precomputed:-", refine="guided")
    every: list[Scores] = []
    with tempfile.TemporaryDirectory() as scratch:
        given, saved = Path(scratch, "given.npz"), Path(scratch, "tree.npz")
        for sample in chosen_samples(dataset, limit):
            file = folder / f"{sample.id}.safetensors"
            if not file.exists():
                continue
            masks = dataset.truths(sample)
            np.savez(
                given, features=load_features(file).patches.float().numpy(),
                rgb=parser.pixels(sample.image), size=masks[0].shape,
            )  # fmt: skip
            truth = true_borders(classes_of(masks[-1], dataset), margin=VOID)
            scores: Scores = {}
            for way, checkout in both.items():
                saved.unlink(missing_ok=True)
                checkout.ask(preset, "tree and borders", given, save=saved)
                tree = RegionTree.load(saved)
                scores[way] = scores_of(tree.labels, tree, dataset, masks, truth)
            every.append(scores)
    return every


if __name__ == "__main__":
    main()
