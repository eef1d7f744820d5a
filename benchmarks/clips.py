"""Does one tree of a clip follow things better than trees of its frames, and is it steadier?

Question: how well does the best tube cover an object, how often does a region's number change, and
how much do borders boil? What does a clip's tree cost beside the network?

Method: clips of ../shared/video, 50 frames each: three of DAVIS 2016 with one object, one of CamVid
with 11 classes. `tubes` is the tree of the clip. `frames followed` are trees of single frames: the
best node of the first frame, with the truth known, is followed by the largest overlap with the mask
before. `frames, best` takes the best node of each frame with the truth known, which nobody can do.
`k-means` clusters the patch features of the whole clip, and takes the best cluster of the best of
8, 12 and 24. Nodes are those of a budget of 24, or all. F is of the node with the best J. NM is
NMCovering at 24 nodes over all pixels of the clip; for frames it is the mean of the frames. Flicker
and switches are of the cut into 24 regions; regions of single frames are matched from frame to
frame first. Beside the network: all seconds of a frame but those of the network and of reading.

Printed: a row for each clip, preset and way, and the means over the three clips of DAVIS.

    python benchmarks/clips.py --csv benchmarks/results/clips.csv
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from _common import arguments, data_folder, print_closing, print_heading, print_results
from numpy.typing import NDArray
from PIL import Image

from regiontree import RegionParser, RegionTree
from regiontree.clips import ClipParser
from regiontree.frames import open_frames
from regiontree.images import nearest
from regiontree.metrics.budget import budget_nodes
from regiontree.metrics.classes import ClassTree
from regiontree.metrics.contingency import Contingency, contingency
from regiontree.metrics.score import score_tree
from regiontree.metrics.tubes import (
    TubeOverlaps,
    border_f,
    flicker,
    identity_switches,
    matched_regions,
    region_j,
    still_pixels,
)
from regiontree.spectral.kmeans import kmeans

BUDGET, REGIONS, CLUSTERS = 24, 24, (8, 12, 24)
DAVIS = ("blackswan", "bmx-trees", "dance-twirl")
CLIPS = (*DAVIS, "camvid-0016E5")
PRESETS = ("default", "fast")

Map = NDArray[Any]


@dataclass(slots=True)
class Clip:
    """A clip with its truth: one mask of classes a frame."""

    name: str
    folder: Path
    frames: list[Map] = field(default_factory=list)
    truth: list[Map] = field(default_factory=list)
    still: list[Map] = field(default_factory=list)

    @classmethod
    def read(cls, name: str) -> Clip:
        clip = cls(name, data_folder().parent / "video" / name)
        for path in sorted((clip.folder / "frames").iterdir()):
            clip.frames.append(np.asarray(Image.open(path).convert("RGB")))
            mask = clip.folder / "masks" / f"{path.stem}.png"
            clip.truth.append(np.asarray(Image.open(mask)).astype(np.int64))
        clip.still = [
            still_pixels(a, b) for a, b in zip(clip.frames, clip.frames[1:], strict=False)
        ]
        return clip

    @property
    def objects(self) -> list[Map]:
        """The mask of the object in each frame."""
        return [truth > 0 for truth in self.truth]


class Timed:
    """A parser whose seconds in the network and in reading are counted apart."""

    def __init__(self, preset: str) -> None:
        self.parser = RegionParser(preset=preset)
        self.seconds = 0.0
        extract = self.parser.extract

        def timed(*given: Any, **more: Any) -> Any:
            start = time.perf_counter()
            found = extract(*given, **more)
            self.seconds += time.perf_counter() - start
            return found

        self.parser.extract = timed  # type: ignore[method-assign]


def boiling(regions: list[Map], clip: Clip) -> float:
    """The share of still pixels that change their region."""
    pairs = zip(regions, regions[1:], clip.still, strict=False)
    changed, still = np.sum([flicker(a, b, where) for a, b, where in pairs], axis=0)
    return 100 * changed / max(still, 1)


def switches(regions: list[Map], clip: Clip) -> float | None:
    """The share of steps in which the object's region is another one than before."""
    if clip.name not in DAVIS:
        return None
    changed, steps = identity_switches(regions, clip.objects)
    return 100 * changed / max(steps, 1)


def classes_of(path: Path) -> ClassTree:
    """The classes of a clip: lines of mask value, class and the class above, - for void."""
    lines = [line.split("\t") for line in path.read_text().splitlines() if line.strip()]
    known = [(int(value), name, above) for value, name, above in lines if above != "-"]
    void = frozenset(int(value) for value, _, above in lines if above == "-")
    names = list(
        dict.fromkeys([above for *_, above in known] + [f"{n} (own)" for _, n, _ in known])
    )
    parents = [-1] * len(names)
    ids = {}
    for value, name, above in known:
        at = names.index(f"{name} (own)")
        parents[at], ids[value] = names.index(above), at
    return ClassTree(tuple(names), np.array(parents), ids, void)


def covering(tables: list[Contingency], tree: Any, clip: Clip) -> float | None:
    """NMCovering at a budget of 24 nodes, of the sum of the frames' tables."""
    if clip.name in DAVIS:
        return None
    classes = classes_of(clip.folder / "labels.txt")
    ids = np.unique(np.concatenate([table.ids for table in tables]))
    counts = sum(
        np.stack([table.counts[:, table.ids == value].sum(axis=1) for value in ids], axis=1)
        for table in tables
    )
    nodes = budget_nodes(tree.parents, tree.height, BUDGET)
    score = score_tree(tree.parents, Contingency(counts, ids), classes, nodes=nodes)
    return None if score is None else 100 * score.nm


def of_tubes(clip: Clip, preset: str) -> dict[str, Any]:
    timed = Timed(preset)
    frames = open_frames(clip.folder / "frames")
    reading = -time.perf_counter()
    for _ in frames:
        pass
    reading += time.perf_counter()
    start = time.perf_counter()
    tree = ClipParser(timed.parser).parse(frames)
    beside = time.perf_counter() - start - timed.seconds - reading
    maps = [tree.frame_labels(t) for t in range(tree.n_frames)]
    regions = list(tree.cut(n_regions=REGIONS))
    found: dict[str, Any] = {
        "flicker": boiling(regions, clip), "switches": switches(regions, clip),
        "milliseconds": 1000 * beside / tree.n_frames,
    }  # fmt: skip
    if clip.name in DAVIS:
        overlaps = TubeOverlaps(tree.parents)
        for own, mask in zip(maps, clip.objects, strict=True):
            overlaps.add(own, mask)
        j = overlaps.mean()
        nodes = budget_nodes(tree.parents, tree.height, BUDGET)
        best = int(nodes[j[nodes].argmax()])
        f = [border_f(tree.mask(best, frame=t), mask) for t, mask in enumerate(clip.objects)]
        found |= {"j": 100 * j[best], "j_all": 100 * j[:-1].max(), "f": 100 * np.mean(f)}
    tables = [
        contingency(own, truth, tree.n_leaves) for own, truth in zip(maps, clip.truth, strict=True)
    ]
    return found | {"nm": covering(tables, tree, clip)}


def of_frames(clip: Clip, preset: str) -> Iterator[tuple[str, dict[str, Any]]]:
    timed = Timed(preset)
    trees: list[RegionTree] = []
    start, reading = time.perf_counter(), 0.0
    for frame in open_frames(clip.folder / "frames"):
        reading -= time.perf_counter()
        image = frame.image
        reading += time.perf_counter()
        features = timed.parser.extract(image)
        trees.append(timed.parser.build(features, rgb=timed.parser.pixels(image, decoded=image)))
    beside = time.perf_counter() - start - timed.seconds
    regions = [trees[0].cut(n_regions=REGIONS)]
    fresh = REGIONS
    for tree in trees[1:]:
        own = matched_regions(regions[-1], tree.cut(n_regions=REGIONS))
        own = np.where(own < 0, fresh, own)  # a region without a partner is a new one
        fresh += 1
        regions.append(own)
    found: dict[str, Any] = {
        "flicker": boiling(regions, clip), "switches": switches(regions, clip),
        "milliseconds": 1000 * beside / len(trees),
    }  # fmt: skip
    covered = [
        covering([contingency(tree.labels, truth, tree.n_leaves)], tree, clip)
        for tree, truth in zip(trees, clip.truth, strict=True)
    ]
    if clip.name not in DAVIS:
        yield (
            "frames followed",
            found | {"nm": np.mean([one for one in covered if one is not None])},
        )
        return
    followed, best, before = [], [], None
    for tree, mask in zip(trees, clip.objects, strict=True):
        own = TubeOverlaps(tree.parents)
        own.add(tree.labels, mask)
        nodes = budget_nodes(tree.parents, tree.height, BUDGET)
        j = own.mean()
        best.append((tree.mask(int(nodes[j[nodes].argmax()])), 100 * j[:-1].max()))
        if before is None:
            before = best[0][0]
        else:
            last = TubeOverlaps(tree.parents)
            last.add(tree.labels, before)
            before = tree.mask(int(nodes[last.mean()[nodes].argmax()]))
        followed.append(before)
    for way, masks in (("frames followed", followed), ("frames, best", [m for m, _ in best])):
        pairs = list(zip(masks, clip.objects, strict=True))
        scores = {
            "j": 100 * np.mean([region_j(a, b) for a, b in pairs]),
            "f": 100 * np.mean([border_f(a, b) for a, b in pairs]),
        }
        if way == "frames followed":
            yield way, found | scores
        else:
            yield way, scores | {"j_all": np.mean([score for _, score in best])}


def of_clusters(clip: Clip, preset: str) -> dict[str, Any]:
    parser = RegionParser(preset=preset)
    found = [parser.features(frame.image) for frame in open_frames(clip.folder / "frames")]
    h, w, d = found[0].shape
    rows = torch.nn.functional.normalize(torch.stack(found).reshape(-1, d), dim=1)
    scores = []
    for k in CLUSTERS:
        labels = kmeans(rows, k, seed=0).labels.numpy().reshape(len(found), h, w)
        maps = [nearest(own.astype(np.int32), clip.truth[0].shape) for own in labels]
        j = [
            np.mean([region_j(own == c, m) for own, m in zip(maps, clip.objects, strict=True)])
            for c in range(k)
        ]
        c = int(np.argmax(j))
        f = [border_f(own == c, mask) for own, mask in zip(maps, clip.objects, strict=True)]
        scores.append({"j": 100 * j[c], "f": 100 * np.mean(f)})
    return max(scores, key=lambda score: score["j"])


COLUMNS = ("j", "j_all", "f", "nm", "switches", "flicker", "milliseconds")


def main() -> None:
    parser = arguments(__doc__)
    parser.add_argument("--only", nargs="+", default=list(CLIPS), help="clips")
    parser.add_argument("--presets", nargs="+", default=list(PRESETS))
    asked = parser.parse_args()
    print_heading(__file__)
    rows: list[tuple[str, str, str, dict[str, Any]]] = []
    for preset in asked.presets:
        for name in asked.only:
            clip = Clip.read(name)
            rows.append((name, preset, "tubes", of_tubes(clip, preset)))
            rows += [(name, preset, way, scores) for way, scores in of_frames(clip, preset)]
            if name in DAVIS:
                rows.append((name, preset, "k-means", of_clusters(clip, preset)))
        for way in ("tubes", "frames followed", "frames, best", "k-means"):
            own = [s for n, p, way_, s in rows if n in DAVIS and p == preset and way_ == way]
            keys = {key for scores in own for key in scores if scores[key] is not None}
            means = {key: float(np.mean([scores[key] for scores in own])) for key in keys}
            rows.append(("mean of DAVIS", preset, way, means))
    table = [
        [name, preset, way, *(scores.get(column) for column in COLUMNS)]
        for name, preset, way, scores in rows
    ]
    print_results("clips", table, asked.csv)
    print_closing()


if __name__ == "__main__":
    main()
