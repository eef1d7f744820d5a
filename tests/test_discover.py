"""Collections: categories of regions over many photographs."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from PIL import Image
from typer.testing import CliRunner

from regiontree import Collection, RegionParser
from regiontree.cli import app
from regiontree.collection import CollectionSettings, discover
from regiontree.collection.command import run
from regiontree.collection.files import CollectionFiles
from regiontree.collection.model import load_model
from regiontree.collection.projection import Moments
from regiontree.collection.prototypes import find_prototypes, nearest_prototypes
from regiontree.collection.regions import described_nodes, regions_of, viewed_nodes
from regiontree.errors import CollectionError, RegionTreeError, SettingsError
from regiontree.forest.convert import convert
from regiontree.tree import RegionTree, StopReason

KINDS = 4  # kinds of things in the made-up photographs
DIM = 12


def kinds_of(tree: RegionTree) -> NDArray[np.int64]:
    """What each leaf of a made-up photograph shows."""
    return np.array(tree.meta["kinds"])


def made_up(seed: int, *, no_data: bool = False, dim: int = DIM, network: str = "n") -> RegionTree:
    """A photograph of six leaves, each of one of four kinds, whose descriptors are near."""
    rng = np.random.default_rng(seed)
    kinds = rng.permutation([0, 1, 2, 3, rng.integers(KINDS), rng.integers(KINDS)])
    centres = np.random.default_rng(99).normal(size=(KINDS, dim)) * 3
    labels = np.repeat(np.arange(6), [4, 5, 6, 7, 8, 10]).reshape(5, 8)
    stop = np.array([1] * 6 + [0] * 3)
    parents, height = np.array([6, 6, 7, 7, 8, 8, 8, 8, 8]), np.array([0] * 6 + [0.3, 0.4, 1])
    if no_data:
        parents, height = np.array([6, 6, 6, 6, 6, 7, 7, 7]), np.array([0] * 6 + [0.5, 1])
        stop = np.array([1] * 5 + [StopReason.NO_DATA] + [0] * 2)
    return RegionTree(
        labels=labels,
        parents=parents,
        height=height,
        stop=stop,
        descriptor=(centres[kinds] + rng.normal(size=(6, dim)) * 0.1).astype(np.float16),
        meta={
            "kinds": kinds.tolist(),
            "backbone": {"name": network, "sha256": "0" * 64},
            "image": {"size": [5, 8], "name": f"{seed}.png"},
        },
    )


def save_all(folder: Path, seeds: Any, **options: Any) -> Path:
    for seed in seeds:
        made_up(seed, **options).save(folder / f"{seed:03d}.npz")
    return folder


@pytest.fixture
def trees(tmp_path: Path) -> Path:
    (tmp_path / "trees").mkdir()
    return save_all(tmp_path / "trees", range(30))


SETTINGS = CollectionSettings(regions=6, prototypes=40, dimensions=8, descriptor="token")


def test_things_of_a_kind_are_one_category(trees: Path, tmp_path: Path) -> None:
    found = discover(trees, tmp_path / "out", SETTINGS)
    assert (found.photographs, found.new, found.regions, found.failed) == (30, 30, 180, {})
    collection = Collection.load(tmp_path / "out")
    category_of: dict[int, set[int]] = {kind: set() for kind in range(KINDS)}
    for key in collection.ids:
        tree = collection.forest[key]
        shown = collection.label_map(key, n_categories=KINDS)
        for leaf, kind in enumerate(kinds_of(tree)):
            category_of[int(kind)] |= set(np.unique(shown[tree.labels == leaf]).tolist())
    assert sorted(len(one) for one in category_of.values()) == [1] * KINDS
    assert set().union(*category_of.values()) == set(range(KINDS))


def test_categories_are_nested_and_count_every_region(trees: Path, tmp_path: Path) -> None:
    discover(trees, tmp_path / "out", SETTINGS)
    collection = Collection.load(tmp_path / "out")
    before = collection.division(1)
    for n in range(2, collection.n_prototypes + 1):
        after = collection.division(n)
        assert set(after.tolist()) == set(range(int(after.max()) + 1))
        assert len(set(zip(before.tolist(), after.tolist(), strict=True))) == after.max() + 1
        before = after
    categories = collection.categories(5)
    assert sum(one.n_regions for one in categories) == 180
    assert sum(one.share for one in categories) == pytest.approx(1)
    assert [one.index for one in categories] == list(range(5))
    for one in categories:
        inside = collection.regions(one)
        assert len(inside) == one.n_regions
        assert all(a.likeness >= b.likeness for a, b in zip(inside, inside[1:], strict=False))


def test_pixels_without_data_have_no_category(tmp_path: Path) -> None:
    (tmp_path / "trees").mkdir()
    save_all(tmp_path / "trees", range(8), no_data=True)
    discover(tmp_path / "trees", tmp_path / "out", SETTINGS)
    collection = Collection.load(tmp_path / "out")
    for key in collection.ids:
        shown, tree = collection.label_map(key, 3), collection.forest[key]
        np.testing.assert_array_equal(shown == -1, tree.labels == 5)


def test_the_same_trees_give_the_same_bytes(trees: Path, tmp_path: Path) -> None:
    for name in ("a", "b"):
        discover(trees, tmp_path / name, SETTINGS)
    for file in sorted(p.relative_to(tmp_path / "a") for p in (tmp_path / "a").rglob("*.npz")):
        assert (tmp_path / "a" / file).read_bytes() == (tmp_path / "b" / file).read_bytes(), file


def test_a_store_gives_what_its_trees_give(trees: Path, tmp_path: Path) -> None:
    pytest.importorskip("pyarrow")
    convert(trees, tmp_path / "store")
    discover(trees, tmp_path / "a", SETTINGS)
    discover(tmp_path / "store", tmp_path / "b", SETTINGS)
    one, other = Collection.load(tmp_path / "a"), Collection.load(tmp_path / "b")
    assert sorted(one.ids) == sorted(other.ids)
    for key in one.ids:
        shown = {
            *zip(
                one.label_map(key, KINDS).reshape(-1).tolist(),
                other.label_map(key, KINDS).reshape(-1).tolist(),
                strict=True,
            )
        }
        assert len(shown) == KINDS


def test_its_categories_are_scored_on_a_data_set(trees: Path, tmp_path: Path) -> None:
    discover(trees, tmp_path / "out", SETTINGS)
    for key in Collection.load(tmp_path / "out").ids:
        tree = RegionTree.load(trees / f"{key}.npz")
        for folder, pixels in (
            ("images", np.zeros((5, 8, 3), np.uint8)),
            ("masks", kinds_of(tree)[tree.labels].astype(np.uint8)),
        ):
            (tmp_path / folder).mkdir(exist_ok=True)
            Image.fromarray(pixels).save(tmp_path / folder / f"{key}.png")
    labels = {"source": "made up", "labels": {f"kind {k}": k for k in range(KINDS)}}
    (tmp_path / "labels.yaml").write_text(json.dumps(labels))  # JSON is YAML
    spec = {"root": ".", "images": "images", "masks": "masks", "labels": "labels.yaml"}
    (tmp_path / "spec.yaml").write_text(json.dumps(spec))
    asked = ["--categories", tmp_path / "out", "--dataset", tmp_path / "spec.yaml", "--json"]
    done = CliRunner().invoke(app, ["evaluate", *map(str, asked)])
    assert done.exit_code == 0, done.output
    found = json.loads(done.stdout)["depths"]["1"]
    assert (found["accuracy"], found["miou"]) == (1, 1)
    assert found["names"]["10"] == 1


def test_an_interrupted_command_goes_on(
    trees: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("regiontree.collection.treework.PIECE", 3)
    monkeypatch.setattr("regiontree.collection.treework.PART", 2)
    discover(trees, tmp_path / "whole", SETTINGS)
    for stage, stop in (("regions", 10), ("regions", 29), ("categories", 9)):
        out = tmp_path / f"{stage}{stop}"

        def advance(now: str, done: int, said: str | None, at: Any = (stage, stop)) -> None:
            if (now, done) == at:
                raise KeyboardInterrupt

        with pytest.raises(KeyboardInterrupt):
            discover(trees, out, SETTINGS, advance=advance)
        kept = len(list((out / "regions").glob("*.npz")))
        assert kept
        discover(trees, out)  # with the settings that it was begun with
        both = [Collection.load(folder) for folder in (out, tmp_path / "whole")]
        assert both[0].ids == both[1].ids
        for key in both[0].ids:
            np.testing.assert_array_equal(*(one.label_map(key, 6) for one in both))


def test_new_photographs_join_and_categories_stay(trees: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    discover(trees, out, SETTINGS)
    before = (out / "model.npz").read_bytes(), (out / "categories.npz").read_bytes()
    save_all(trees, range(30, 36))
    assert discover(trees, out).waiting == 6
    assert len(Collection.load(out)) == 30
    added = discover(trees, out, add=True)
    assert (added.new, added.photographs, added.waiting) == (6, 36, 0)
    assert before == ((out / "model.npz").read_bytes(), (out / "categories.npz").read_bytes())
    collection = Collection.load(out)
    old = {}
    for key in collection.ids:
        tree, shown = collection.forest[key], collection.label_map(key, KINDS)
        for leaf, kind in enumerate(kinds_of(tree)):
            category = int(shown[tree.labels == leaf][0])
            assert old.setdefault(int(kind), category) == category


def test_names_reach_the_pixels_and_a_region_can_be_moved(trees: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    discover(trees, out, SETTINGS)
    collection = Collection.load(out)
    first, second = collection.categories(KINDS)[:2]
    key = next(one.photo for one in collection.regions(first))
    node = next(one.node for one in collection.regions(first) if one.photo == key)
    names = collection.names.named(first.node, "sky").named(second.node, "a, sea")
    names.save(out / "collection.csv", [])
    assert [one.name for one in Collection.load(out).categories(KINDS)[:2]] == ["sky", "a, sea"]
    shown, known = Collection.load(out).named_map(key)
    plain = collection.label_map(key, KINDS)
    assert known == ["a, sea", "sky"]
    np.testing.assert_array_equal(shown == 1, plain == 0)
    np.testing.assert_array_equal(shown == 0, plain == 1)

    with (out / "collection.csv").open("a", encoding="utf-8") as file:
        file.write(f"{key}#{node},,{second.node}\n")
    moved, region = Collection.load(out), collection.forest[key].mask(node)
    for now in (moved.named_map(key)[0] == 0, moved.label_map(key, KINDS) == 1):
        np.testing.assert_array_equal(now, (plain == 1) | region)
    assert len(np.unique(moved.label_map(key, 1))) == 1


def test_regions_like_an_example(trees: Path, tmp_path: Path) -> None:
    discover(trees, tmp_path / "out", SETTINGS)
    collection = Collection.load(tmp_path / "out")
    key = collection.ids[3]
    tree = collection.forest[key]
    kind = kinds_of(tree)[2]
    y, x = np.argwhere(tree.labels == 2)[0].tolist()
    for found in (collection.like(key, 2, k=10), collection.like(key, point=(y, x), k=10)):
        assert len(found) == 10
        assert all(kinds_of(collection.forest[one.photo])[one.node] == kind for one in found)
        assert (key, 2) not in {(one.photo, one.node) for one in found}
    assert len(collection.like(key, 2, k=10_000)) == 179
    with pytest.raises(CollectionError, match="give a node or a point"):
        collection.like(key)


def test_regions_of_a_tree_cover_what_has_data() -> None:
    tree = made_up(1, no_data=True)
    regions = regions_of(tree, 4, "token")
    assert regions.share.sum() == pytest.approx(1)
    assert 5 not in regions.nodes
    values, _ = described_nodes(tree, "token")
    for node, value in zip(regions.nodes, regions.values, strict=True):
        np.testing.assert_array_equal(value, values[node])


@pytest.mark.parametrize("power", [0.0, 0.25, 0.5])
def test_whitening(power: float) -> None:
    rng = np.random.default_rng(0)
    values = rng.normal(size=(500, 6)) * [9, 5, 3, 2, 1, 0] + [1, 2, 3, 4, 5, 6]
    weight = rng.random(500)
    moments = Moments([6])
    for start in range(0, 500, 130):  # the order of blocks is all that matters to the last bits
        moments.add(values[start : start + 130], weight[start : start + 130])
    projection = moments.projection(6, power)
    mean = np.average(values, axis=0, weights=weight)
    spread = np.cov(values.T, aweights=weight, ddof=0)
    eigenvalues = np.sort(np.linalg.eigvalsh(spread))[::-1][:5]  # the last has no variance
    assert projection.axes.shape == (6, 5)
    np.testing.assert_allclose(projection.mean, mean)
    rows = (values - mean) @ projection.axes
    now = np.cov(rows.T, aweights=weight, ddof=0)
    np.testing.assert_allclose(now, np.diag(eigenvalues ** (1 - 2 * power)), atol=1e-9)
    unit = projection(values)
    np.testing.assert_allclose(np.linalg.norm(unit, axis=1), 1, rtol=1e-6)
    np.testing.assert_allclose(unit, rows / np.linalg.norm(rows, axis=1, keepdims=True), atol=1e-6)


def test_what_varies_within_regions_counts_less() -> None:
    rng = np.random.default_rng(3)
    values = rng.normal(size=(400, 3)) * [1.0, 1.0, 1.2]
    moments = Moments([3])
    moments.add(values, np.ones(400))
    noise = np.diag([0.0, 0.0, 30.0])  # leaves scatter along the last axis alone
    plain, quiet = moments.projection(3, 0.0), moments.projection(3, 0.0, [noise])
    assert np.abs(plain.axes[:, 0]).argmax() == 2
    assert np.abs(quiet.axes[:, 2]).argmax() == 2
    # r is 10, so the last axis is divided by the root of 30 / 10 + 1.
    along = np.linalg.norm(quiet.axes, axis=1) / np.linalg.norm(plain.axes, axis=1)
    np.testing.assert_allclose(along, [1, 1, 0.5], rtol=1e-9)
    same = moments.projection(3, 0.0, [np.zeros((3, 3))])
    np.testing.assert_allclose(same.axes, plain.axes)


def test_the_scatter_is_that_of_leaves_around_their_regions() -> None:
    tree = made_up(2)
    regions = regions_of(tree, 3, "token")
    assert tree.descriptor is not None
    x, region = tree.descriptor.astype(np.float64), tree.cut(n_regions=3)
    expected = np.zeros((DIM, DIM))
    for leaf in range(tree.n_leaves):
        (own,) = np.unique(region[tree.labels == leaf])
        apart = x[leaf] - regions.values[own]
        expected += np.outer(apart, apart) * (tree.labels == leaf).mean()
    np.testing.assert_allclose(regions.within.reshape(DIM, DIM), expected, atol=1e-3)
    assert np.abs(expected).max() > 1


def test_regions_are_seen_by_themselves_and_relative_to_their_photograph() -> None:
    tree = made_up(4)
    assert tree.descriptor is not None
    weight = np.bincount(tree.labels.ravel())
    mean = np.average(tree.descriptor.astype(np.float64), axis=0, weights=weight)
    rows = viewed_nodes(tree, 4, "token")
    np.testing.assert_allclose(rows[:, :DIM], tree.descriptors())
    np.testing.assert_allclose(rows[:, DIM:], tree.descriptors() - mean, atol=1e-2)


def test_light_that_a_whole_photograph_shares_is_forgiven(tmp_path: Path) -> None:
    """Photographs whose descriptors are shifted, each by its own vector, keep their categories."""
    (tmp_path / "trees").mkdir()
    rng = np.random.default_rng(0)
    for seed in range(30):
        tree = made_up(seed)
        assert tree.descriptor is not None
        shifted = tree.descriptor + 4 * rng.normal(size=DIM)
        parts = {name: getattr(tree, name) for name in ("labels", "parents", "height", "stop")}
        RegionTree(**parts, descriptor=shifted.astype(np.float16), meta=dict(tree.meta)).save(
            tmp_path / "trees" / f"{seed:03d}.npz"
        )
    discover(tmp_path / "trees", tmp_path / "out", SETTINGS)
    collection = Collection.load(tmp_path / "out")
    right = total = 0
    counts = np.zeros((KINDS, KINDS))
    for key in collection.ids:
        tree, shown = collection.forest[key], collection.label_map(key, n_categories=KINDS)
        np.add.at(counts, (shown, kinds_of(tree)[tree.labels]), 1)
    right, total = counts.max(axis=1).sum(), counts.sum()
    assert right / total > 0.95


def test_blocks_count_alike() -> None:
    """Each block of a row is treated by itself, whatever its size and scale."""
    rng = np.random.default_rng(1)
    small, large = rng.normal(size=(200, 4)), rng.normal(size=(200, 7)) * 1000
    share = np.ones(200)

    def rows(values: NDArray[np.float64], blocks: list[int]) -> NDArray[np.float32]:
        moments = Moments(blocks)
        moments.add(values, share)
        return moments.projection(5, 0.25)(values)

    both = rows(np.concatenate([small, large], axis=1), [4, 7])
    assert both.shape == (200, 4 + 5)
    np.testing.assert_allclose(both[:, :4] * 2**0.5, rows(small, [4]), atol=1e-5)
    np.testing.assert_allclose(both[:, 4:] * 2**0.5, rows(large, [7]), atol=1e-5)


def test_every_node_has_the_prototype_that_it_is_most_like(trees: Path, tmp_path: Path) -> None:
    discover(trees, tmp_path / "out", SETTINGS)
    files = CollectionFiles(tmp_path / "out")
    projection, prototypes = load_model(files)
    (part,) = files.read_parts("photographs", {"prototype", "likeness"})
    for i, one in enumerate(part.photographs):
        own = slice(part.start[i], part.start[i + 1])
        tree = RegionTree.load(trees / f"{one['id']}.npz")
        rows = projection(viewed_nodes(tree, SETTINGS.regions, "token"))
        distance = ((rows[:, None] - prototypes.centres) ** 2).sum(axis=2)
        assert len(rows) == tree.n_nodes
        found = distance[np.arange(len(rows)), part.arrays["prototype"][own]]
        np.testing.assert_allclose(found, distance.min(axis=1), atol=1e-5)


def test_the_defaults_are_those_of_the_page() -> None:
    usual = CollectionSettings()
    assert (usual.regions, usual.descriptor, usual.dimensions) == (32, "both", 64)
    assert (usual.whitening, usual.prototypes, usual.tree.neighbours) == (0.25, 1000, 15)


def test_prototypes_by_streaming_are_means_of_their_regions() -> None:
    rng = np.random.default_rng(0)
    rows = rng.normal(size=(6000, 5)).astype(np.float32)
    rows /= np.linalg.norm(rows, axis=1, keepdims=True)
    share = rng.random(6000).astype(np.float32)

    def blocks() -> Any:
        return ((rows[i : i + 700], share[i : i + 700]) for i in range(0, 6000, 700))

    found = find_prototypes(blocks, 6000, 20, sample=1500, passes=40, seed=0)
    labels, likeness = nearest_prototypes(rows, found.centres)
    assert len(np.unique(labels)) == len(found.count) == 20
    assert found.count.sum() == 6000
    for k in range(20):
        own = labels == k
        mean = np.average(rows[own], axis=0, weights=share[own])
        assert np.linalg.norm(mean - found.centres[k]) < 0.02  # the passes have converged, nearly
        cosine = rows[own] @ found.centres[k] / np.linalg.norm(found.centres[k])
        np.testing.assert_allclose(likeness[own], cosine, atol=1e-5)


def test_one_photograph_and_more_categories_than_regions(tmp_path: Path) -> None:
    (tmp_path / "trees").mkdir()
    save_all(tmp_path / "trees", [0])
    discover(tmp_path / "trees", tmp_path / "out", SETTINGS)
    collection = Collection.load(tmp_path / "out")
    assert collection.n_prototypes == 3  # half as many as regions
    assert collection.label_map("000", 100).max() == 2
    assert len(collection.categories(100)) == 3


def test_trees_that_were_not_made_alike(trees: Path, tmp_path: Path) -> None:
    made_up(50, network="other").save(trees / "050.npz")
    made_up(51, dim=DIM + 1).save(trees / "051.npz")
    plain = made_up(52)
    arrays = {name: getattr(plain, name) for name in ("labels", "parents", "height", "stop")}
    RegionTree(**arrays, meta=dict(plain.meta)).save(trees / "052.npz")
    (trees / "053.npz").write_bytes(b"no tree")
    found = discover(trees, tmp_path / "out", SETTINGS)
    assert found.photographs == 30
    assert "another network than that of '000'" in found.failed["050"]
    assert "length of descriptors" in found.failed["051"]
    assert "--set backbone.descriptor=token" in found.failed["052"]
    assert set(found.failed) == {"050", "051", "052", "053"}


@pytest.mark.parametrize(
    ("name", "value", "said"),
    [("smoothing", 5, "smoothing"), ("contrast", None, "smoothing"), ("facet", "key", "features")],
)
def test_embeddings_of_other_settings_cannot_be_compared(
    tmp_path: Path, name: str, value: Any, said: str
) -> None:
    usual = {"smoothing": 2, "contrast": 20.0, "facet": "auto", "layers": None}
    for i, settings in enumerate([usual, usual, {**usual, name: value}]):
        tree = made_up(i)
        arrays = {one: getattr(tree, one) for one in ("labels", "parents", "height", "stop")}
        embedding = np.random.default_rng(i).normal(size=(9, 5)).astype(np.float32)
        meta = {**tree.meta, "settings": settings}
        RegionTree(**arrays, embedding=embedding, meta=meta).save(tmp_path / "trees" / f"{i}.npz")
    settings = CollectionSettings(regions=6, descriptor="embedding")
    found = discover(tmp_path / "trees", tmp_path / "out", settings)
    assert set(found.failed) == {"2"}
    assert f"another {'kind of ' if said == 'features' else ''}{said}" in found.failed["2"]


def test_trees_without_descriptors_alone(tmp_path: Path) -> None:
    tree = made_up(0)
    arrays = {name: getattr(tree, name) for name in ("labels", "parents", "height", "stop")}
    RegionTree(**arrays).save(tmp_path / "trees" / "a.npz")
    with pytest.raises(CollectionError, match="no tree can be used: its tree has no descriptors"):
        discover(tmp_path / "trees", tmp_path / "out", SETTINGS)


def test_what_cannot_be_is_refused(trees: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    with pytest.raises(CollectionError, match="holds no collection"):
        Collection.load(out)
    discover(trees, out, SETTINGS)
    with pytest.raises(CollectionError, match="was made with regions=6, now regions=9"):
        discover(
            trees,
            out,
            CollectionSettings(regions=9, prototypes=40, dimensions=8, descriptor="token"),
        )
    collection = Collection.load(out)
    with pytest.raises(CollectionError, match="'00' is not in the collection"):
        collection.label_map("00")
    with pytest.raises(RegionTreeError, match="n_categories"):
        collection.label_map("000", 0)
    with pytest.raises(CollectionError, match="there is no category"):
        collection.regions(10_000)
    with pytest.raises(SettingsError, match="whitening"):
        CollectionSettings(whitening=0.7)
    made_up(77).save(trees / "000.npz")
    made_up(77, no_data=True).save(trees / "001.npz")
    (trees / "002.npz").unlink()
    fresh = Collection.load(out)
    with pytest.raises(CollectionError, match="'001': its tree has changed"):
        fresh.label_map("001")
    with pytest.raises(CollectionError, match="'002': its tree is gone"):
        fresh.label_map("002")


@pytest.mark.parametrize("file", ["collection.json", "model.npz", "regions/000000.npz"])
def test_a_damaged_file_is_named(trees: Path, tmp_path: Path, file: str) -> None:
    out = tmp_path / "out"
    discover(trees, out, SETTINGS)
    (out / file).write_bytes(b"{}" if file.endswith("json") else b"PK")
    with pytest.raises(CollectionError, match=Path(file).name):
        Collection.load(out).categories(3)


def command(*arguments: Any) -> tuple[int, str, str]:
    done = CliRunner().invoke(app, ["discover", *map(str, arguments)])
    return done.exit_code, done.stdout, done.stderr


def test_the_command(trees: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    asked = [trees, "-o", out]
    code, printed, _ = command(
        *asked,
        "--set",
        "descriptor=token",
        "--set",
        "regions=6",
        "--set",
        "prototypes=20",
        "--json",
    )
    told = json.loads(printed)
    assert (code, told["photographs"], told["new"], told["prototypes"]) == (0, 30, 30, 20)
    assert (out / "collection.csv").read_text("utf-8-sig").startswith("category,name,parent")
    save_all(trees, [40])
    code, _, said = command(*asked)
    assert code == 0
    assert "1 tree is not in the collection; add it with --add" in said
    assert command(*asked, "--add")[0] == 0
    assert len(Collection.load(out)) == 31
    (trees / "bad.npz").write_bytes(b"no tree")
    assert command(*asked, "--add")[0] == 1
    shutil.rmtree(out)
    code, _, said = command(*asked, "--set", "region=6")
    assert code == 2
    assert "did you mean 'regions'?" in said


class Colours:
    """The mean colour of each 8 x 8 pixels."""

    name, digest, patch, dim, dtype = "colours", "1", 8, 3, torch.float32
    device = torch.device("cpu")

    def features(self, pixels: torch.Tensor) -> torch.Tensor:
        return torch.nn.functional.avg_pool2d(pixels, 8).permute(0, 2, 3, 1) + 0.1


def test_a_folder_of_photographs_becomes_trees_first(tmp_path: Path) -> None:
    (tmp_path / "photos").mkdir()
    rng = np.random.default_rng(0)
    for i in range(4):
        halves = rng.permutation([[220, 30, 30], [30, 30, 220]])
        pixels = np.repeat(np.repeat(halves[None], 32, 1), 64, 0).astype(np.uint8)
        Image.fromarray(pixels).save(tmp_path / "photos" / f"{i}.png")
    out = tmp_path / "out"
    code = run(
        str(tmp_path / "photos"),
        str(out),
        ["regions=2", "descriptor=embedding"],
        add=False,
        as_json=False,
        parser=lambda: RegionParser(backbone=Colours(), size=64, parts=8),
    )
    assert code == 0
    assert len(list((out / "trees").glob("*.npz"))) == 4
    collection = Collection.load(out)
    shown = {
        tuple(np.asarray(Image.open(tmp_path / "photos" / f"{key}.png"))[0, x].tolist()): category
        for key in collection.ids
        for x in (0, 63)
        for category in [int(collection.label_map(key, 2)[0, x])]
    }
    assert sorted(shown.values()) == [0, 1]
