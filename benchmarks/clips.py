"""How well do tubes follow objects, and how steady are regions, beside trees of single frames?

Question
    J and F of the best tube of a clip's tree, NMCovering over the volume, flicker, boiling borders
    and identity switches: how do they compare with trees of single frames whose nodes are followed
    by overlap, and with k-means of the patches of the whole clip?
Method
    Clips of ../shared/video, and a volume drawn by code: nested ellipsoids with texture, whose
    truth is known. Ways:
    `clip tree`: `regiontree.parse_clip`. `followed`: trees of single frames; each of the 24 nodes
    of the first frame is followed to the node with the highest IoU among the 24 of the next frame.
    Its J is that of the node that is best in the first frame, whose truth is known. `oracle`: the
    node of each frame that is best for this frame's truth. `k-means`: of the patches of the clip;
    the best cluster.
    Nodes are those of a budget of 24, or all but the root. Flicker, boiling and switches are of the
    cut into 24 regions; regions of single frames are linked from frame to frame first. J and F are
    means over all frames, the first and the last too. NMCovering and NHCovering are of the sum of
    all frames' overlaps.
Printed
    A row for each clip, preset and way; then the IoU of each class (`clips-classes.csv`).

    python benchmarks/clips.py --features FOLDER
    python benchmarks/clips.py --features FOLDER --presets fast --clips blackswan
"""

from __future__ import annotations

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
from regiontree.clips import parse_clip
from regiontree.images.grid import nearest
from regiontree.metrics import ClassTree, budget_nodes, contingency, score_tree
from regiontree.metrics.contingency import node_counts
from regiontree.metrics.steadiness import (
    FlickerCounts,
    IdentitySwitches,
    linked_regions,
    noise_level,
    noise_threshold,
)
from regiontree.metrics.tubes import TubeCounts, contour_f, series_scores
from regiontree.spectral.kmeans import kmeans
from regiontree.tree.kernel import preorder

BUDGET, REGIONS, CLUSTERS, GROUPS = 24, 24, (8, 12, 24), 800
DAVIS = ("blackswan", "bmx-trees", "dance-twirl")
CLIPS = (*DAVIS, "camvid-0016E5", "ellipsoids")
OBJECT = 1  # of a mask of DAVIS, once its values above 0 are made 1
VOID = 11  # of CamVid

Map = NDArray[Any]
Scores = dict[str, Any]


# -- clips ----------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True, eq=False)
class Clip:
    """Attributes: name; frames (H, W, 3) uint8; truths (H, W); classes, None for one object."""

    name: str
    frames: list[Map]
    truths: list[Map]
    classes: ClassTree | None

    @property
    def size(self) -> tuple[int, int]:
        return self.truths[0].shape


def read_clip(name: str) -> Clip:
    if name == "ellipsoids":
        return drawn_volume()
    folder = data_folder().parent / "video" / name
    masks = sorted((folder / "masks").glob("*.png"))
    if not masks:
        raise SystemExit(f"no masks in {folder}")
    truths = [np.asarray(Image.open(path)).astype(np.int64) for path in masks]
    if name in DAVIS:
        truths = [np.minimum(truth, OBJECT) for truth in truths]
    frames = [
        np.asarray(Image.open(folder / "frames" / f"{path.stem}.jpg").convert("RGB"))
        for path in masks
    ]
    return Clip(name, frames, truths, None if name in DAVIS else classes_of(folder / "labels.txt"))


def classes_of(path: Path) -> ClassTree:
    """Classes of lines of mask value, name and the class above, without the classes above."""
    rows = [line.split("\t")[:2] for line in path.read_text().splitlines() if line.strip()]
    kept = [(int(value), name) for value, name in rows if int(value) != VOID]
    ids = {value: at for at, (value, _) in enumerate(kept)}
    return ClassTree(tuple(name for _, name in kept), [-1] * len(kept), ids, frozenset({VOID}))


def drawn_volume(planes: int = 40, side: int = 280) -> Clip:
    """A stack of planes through a body, two organs in it and a core in one of them, with noise.

    Each tissue has stripes of a direction and width of its own, in all three directions.
    """
    z, y, x = np.mgrid[-1 : 1 : planes * 1j, -1 : 1 : side * 1j, -1 : 1 : side * 1j]

    def inside(centre: tuple[float, ...], axes: tuple[float, ...]) -> Map:
        apart = ((z, y, x)[i] - centre[i] for i in range(3))
        return sum((d / axis) ** 2 for d, axis in zip(apart, axes, strict=True)) <= 1

    truth = np.zeros(z.shape, np.int64)
    truth[inside((0, 0, 0), (1.3, 0.8, 0.9))] = 1
    truth[inside((-0.1, -0.1, -0.4), (0.8, 0.45, 0.3))] = 2
    truth[inside((0.1, 0.1, 0.42), (0.7, 0.35, 0.3))] = 3
    truth[inside((0.1, 0.1, 0.42), (0.4, 0.18, 0.15))] = 4
    rng = np.random.default_rng(0)
    colour = np.array(
        [[25, 25, 30], [150, 110, 100], [90, 120, 80], [190, 170, 120], [110, 60, 70]]
    )
    values = colour[truth].astype(np.float64)
    for tissue in range(1, 5):
        wave = rng.normal(0, 1, 3) * (6, 25, 25)
        stripes = 18 * np.sin(wave[0] * z + wave[1] * y + wave[2] * x)
        values[truth == tissue] += stripes[truth == tissue][:, None]
    values += rng.normal(0, 8, values.shape)
    frames = np.clip(np.round(values), 0, 255).astype(np.uint8)
    names = ("outside", "body", "organ", "other organ", "core")
    classes = ClassTree(names, [-1, -1, 1, 1, 3], {i: i for i in range(5)})
    return Clip("ellipsoids", list(frames), list(truth), classes)


def features_of(clip: Clip, preset: str, folder: Path) -> Map:
    """Patch features of all frames, (T, h, w, d) float16, kept in the folder."""
    path = folder / f"{preset}-{clip.name}.npy"
    if not path.is_file():
        parser = RegionParser(preset=preset, device="cpu")
        found = [parser.features(Image.fromarray(frame)).numpy() for frame in clip.frames]
        folder.mkdir(parents=True, exist_ok=True)
        np.save(path, np.stack(found).astype(np.float16))
    return np.load(path)


# -- a tree of the whole clip ---------------------------------------------------------------------


@dataclass(frozen=True, slots=True, eq=False)
class Tubes:
    """Attributes: leaf of each pixel of each frame; parents and height (N,)."""

    labels: list[Map]
    parents: Map
    height: Map

    def cut(self, count: int) -> list[Map]:
        """The regions of each frame if the tree is cut into `count` tubes."""
        leaves = np.arange(1 if len(self.parents) == 1 else self.parents.min(), dtype=np.int32)
        tree = RegionTree(leaves[None], self.parents, self.height)
        number = tree.cut(n_regions=count)[0]
        return [number[own] for own in self.labels]


def clip_tree(clip: Clip, preset: str) -> Tubes:
    """The tree of a clip."""
    tree = parse_clip(np.stack(clip.frames), preset=preset)
    return Tubes([tree.frame_labels(t) for t in range(tree.n_frames)], tree.parents, tree.height)


# -- measures -------------------------------------------------------------------------------------


@dataclass(slots=True)
class Row:
    clip: str
    preset: str
    way: str
    scores: Scores
    classes: dict[str, float] = field(default_factory=dict)


def steadiness(clip: Clip, regions: list[Map], *, link: bool) -> Scores:
    """Flicker and boiling; not of the drawn volume, whose planes are no times."""
    if clip.name == "ellipsoids":
        return {}
    noise = float(np.median([noise_level(frame) for frame in clip.frames[::10]]))
    flicker = FlickerCounts(link=link, threshold=noise_threshold(noise))
    switches = IdentitySwitches(ignored=(0,) if clip.classes is None else (VOID,))
    named, fresh = None, 0
    for frame, own, truth in zip(clip.frames, regions, clip.truths, strict=True):
        flicker.update(frame, own)
        numbers = linked_regions(named, own, fresh) if link and named is not None else own
        named, fresh = numbers, max(fresh, int(numbers.max()) + 1)
        switches.update(numbers, truth)
    found, counts = flicker.compute(), switches.compute().values()
    return {
        "flicker": 100 * found.flicker, "boiling": 100 * found.boiling,
        "static": 100 * found.static,
        "switches": 100 * sum(s for s, _ in counts) / max(sum(n for _, n in counts), 1),
    }  # fmt: skip


def of_tree(clip: Clip, tubes: Tubes) -> tuple[Scores, dict[str, float]]:
    """J, F and coverings of a tree of the clip."""
    counts = TubeCounts(tubes.parents)
    for own, truth in zip(tubes.labels, clip.truths, strict=True):
        counts.update(own, truth)
    nodes = budget_nodes(tubes.parents, tubes.height, BUDGET)
    if clip.classes is not None:
        score = score_tree(tubes.parents, counts.table(), clip.classes, nodes=nodes)
        every = score_tree(tubes.parents, counts.table(), clip.classes)
        names = [clip.classes.names[c] for c in score.classes]
        return {"nm": 100 * score.nm, "nh": 100 * score.nh, "nm_all": 100 * every.nm}, dict(
            zip(names, 100 * score.iou, strict=True)
        )
    best = counts.best(OBJECT, nodes)
    leaf = leaves_of(tubes.parents, best.node)
    f = [
        contour_f(leaf[own], t == OBJECT) for own, t in zip(tubes.labels, clip.truths, strict=True)
    ]
    return of_series(best.series, f) | {"j_all": 100 * counts.best(OBJECT).j.mean}, {}


def of_series(j: Any, f: Any) -> Scores:
    """Columns for J and F of each frame."""
    own, contour = series_scores(j), series_scores(f)
    return {
        "j": 100 * own.mean, "j_recall": 100 * own.recall, "j_decay": 100 * own.decay,
        "f": 100 * contour.mean,
    }  # fmt: skip


def leaves_of(parents: Map, node: int) -> Map:
    """Whether each leaf is in the node, (L,) bool."""
    leaves = np.arange(1 if len(parents) == 1 else int(parents.min()))
    return preorder(parents).holds(np.full(len(leaves), node), leaves)


# -- trees of single frames -----------------------------------------------------------------------


def frame_trees(clip: Clip, features: Map, parser: RegionParser) -> list[RegionTree]:
    return [
        parser.build(torch.from_numpy(own.astype(np.float32)), rgb=frame, image_size=clip.size)
        for frame, own in zip(clip.frames, features, strict=True)
    ]


def overlaps(tree: RegionTree, truth: Map, values: list[int]) -> tuple[Map, Map, Map]:
    """Of the nodes of the budget and K values: shared pixels (B, K), sizes (B,) and (K,)."""
    nodes = budget_nodes(tree.parents, tree.height, BUDGET)
    table = contingency(tree.labels, truth, tree.n_leaves)
    counted = np.ascontiguousarray(table.counts[:, table.ids != VOID])
    counts = node_counts(tree.parents, counted)[nodes]
    ids = table.ids[table.ids != VOID].tolist()
    shared = np.zeros((len(nodes), len(values)), np.int64)
    for at, value in enumerate(values):
        if value in ids:
            shared[:, at] = counts[:, ids.index(value)]
    size = np.array([(truth == value).sum() for value in values])
    return shared, counts.sum(axis=1), size


def followers(before: RegionTree, after: RegionTree) -> Map:
    """For each node of the budget of a frame: the place of the node of the next with most IoU."""
    nodes = [budget_nodes(tree.parents, tree.height, BUDGET) for tree in (before, after)]
    table = contingency(before.labels, after.labels, before.n_leaves)
    leaves = np.zeros((before.n_leaves, after.n_leaves), np.int64)
    leaves[:, table.ids] = table.counts
    half = np.ascontiguousarray(node_counts(before.parents, leaves).T)
    both = node_counts(after.parents, half).T
    shared = both[np.ix_(*nodes)]
    sizes = both[nodes[0], -1][:, None] + both[-1, nodes[1]]
    return (shared / np.maximum(sizes - shared, 1)).argmax(axis=1)


def iou(shared: Map, size: Map, true: Map) -> Map:
    """(B, K); 1 where node and truth are empty."""
    union = size[:, None] + true - shared
    return np.where(union > 0, shared / np.maximum(union, 1), 1.0)


def of_frames(
    clip: Clip, trees: list[RegionTree]
) -> Iterator[tuple[str, Scores, dict[str, float]]]:
    """`followed` and `oracle`."""
    values = [OBJECT] if clip.classes is None else sorted(clip.classes.class_of_id)
    steady = steadiness(clip, [tree.cut(n_regions=REGIONS) for tree in trees], link=True)
    each = [overlaps(tree, t, values) for tree, t in zip(trees, clip.truths, strict=True)]
    place = np.arange(len(each[0][1]))
    places = [place]
    for before, after in zip(trees, trees[1:], strict=False):
        place = followers(before, after)[place]
        places.append(place)
    if clip.classes is not None:
        # The drawn volume's classes contain each other, which only trees of the clip use.
        if (clip.classes.parents >= 0).any():
            return
        tubes = [(s[p], n[p], k) for p, (s, n, k) in zip(places, each, strict=True)]
        found = iou(*(sum(part) for part in zip(*tubes, strict=True))).max(axis=0)
        best = [iou(*one).argmax(axis=0) for one in each]
        own = sum(s[b, np.arange(len(b))] for b, (s, _, _) in zip(best, each, strict=True))
        # A class that is not in the frame takes no node there.
        size = sum(np.where(k > 0, n[b], 0) for b, (_, n, k) in zip(best, each, strict=True))
        true = sum(k for *_, k in each)
        there = true > 0
        names = [clip.classes.names[clip.classes.class_of_id[v]] for v in values]
        for way, scores, extra in (
            ("followed", found, steady),
            ("oracle", own / np.maximum(size + true - own, 1), {}),
        ):
            classes = {n: 100 * s for n, s, t in zip(names, scores, there, strict=True) if t}
            yield way, extra | {"nm": float(np.mean(list(classes.values())))}, classes
        return
    first = iou(*each[0])[:, 0].argmax()
    for way, chosen, extra in (
        ("followed", [p[first] for p in places], steady),
        ("oracle", [int(iou(*one)[:, 0].argmax()) for one in each], {}),
    ):
        j, f = [], []
        for tree, at, one, truth in zip(trees, chosen, each, clip.truths, strict=True):
            node = budget_nodes(tree.parents, tree.height, BUDGET)[at]
            j.append(iou(*one)[at, 0])
            f.append(contour_f(leaves_of(tree.parents, node)[tree.labels], truth == OBJECT))
        yield way, of_series(j, f) | extra, {}


# -- k-means --------------------------------------------------------------------------------------


def of_clusters(clip: Clip, features: Map, k: int) -> Row:
    frames, h, w, d = features.shape
    rows = torch.from_numpy(features.reshape(-1, d).astype(np.float32))
    labels = kmeans(torch.nn.functional.normalize(rows, dim=1), k, seed=0).labels.numpy()
    maps = [nearest(own, clip.size) for own in labels.reshape(frames, h, w).astype(np.int32)]
    count = int(labels.max()) + 1
    flat = Tubes(maps, np.full(count + 1, count, np.int32), np.append(np.zeros(count), 1))
    scores, classes = of_tree(clip, flat)
    scores.pop("j_all", None)
    scores.pop("nm_all", None)
    return Row(
        clip.name, "", f"k-means, k = {k}", scores | steadiness(clip, maps, link=False), classes
    )


# -- all ------------------------------------------------------------------------------------------

COLUMNS = ("j", "j_all", "j_recall", "j_decay", "f", "nm", "nm_all", "nh", "switches", "flicker",
           "boiling", "static")  # fmt: skip


def rows_of(clip: Clip, preset: str, folder: Path) -> Iterator[Row]:
    features = features_of(clip, preset, folder)
    parser = RegionParser(preset=preset, device="cpu")
    tubes = clip_tree(clip, preset)
    scores, classes = of_tree(clip, tubes)
    steady = steadiness(clip, tubes.cut(REGIONS), link=False)
    yield Row(clip.name, preset, "clip tree", scores | steady, classes)
    for way, own, of_classes in of_frames(clip, frame_trees(clip, features, parser)):
        yield Row(clip.name, preset, way, own, of_classes)
    for k in CLUSTERS:
        row = of_clusters(clip, features, k)
        row.preset = preset
        yield row


def main() -> None:
    options = arguments(__doc__)
    options.add_argument("--clips", nargs="+", choices=CLIPS, default=list(CLIPS))
    options.add_argument("--presets", nargs="+", default=["default", "fast"])
    options.add_argument(
        "--features", type=Path, required=True, metavar="FOLDER", help="where features are kept"
    )
    given = options.parse_args()
    torch.set_num_threads(1)
    print_heading(__file__)
    rows = []
    for preset in given.presets:
        for name in given.clips:
            for row in rows_of(read_clip(name), preset, given.features):
                print(row.clip, row.preset, row.way, row.scores, flush=True)
                rows.append(row)
    table = [[r.clip, r.preset, r.way, *(r.scores.get(c) for c in COLUMNS)] for r in rows]
    print_results("clips", table, given.csv)
    by_class = [
        [r.clip, r.preset, r.way, name, value] for r in rows for name, value in r.classes.items()
    ]
    print_results("clips-classes", by_class, given.csv, "classes")
    print_closing()


if __name__ == "__main__":
    main()
