"""Scoring trees that exist already: ours, anybody's, and those that cannot be scored."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

import brute_force
import numpy as np
import pytest
import yaml
from conftest import ROOT
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image
from test_experiments import make_data, run_config
from trees import random_tree
from typer.testing import CliRunner

from regiontree.cli import app
from regiontree.datasets.dataset import Sample
from regiontree.datasets.labels import load_label_tree
from regiontree.experiments.evaluate import _find_trees, _matches, _Tree
from regiontree.metrics.budget import budget_nodes
from regiontree.metrics.scales import cut_members
from regiontree.tree import RegionTree


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """A data set's description, and the folder of its trees."""
    folder = tmp_path_factory.mktemp("evaluate")
    config = make_data(folder, 4)
    plan, _ = run_config(config, refine="none")  # leaves on the patch grid
    description = folder / "set.yaml"
    description.write_text(yaml.safe_dump(yaml.safe_load(config.read_text())["dataset"]))
    return description, plan.experiment.trees_dir


def evaluate(trees: Path, dataset: Path, *options: str) -> tuple[dict, str, int]:
    result = CliRunner().invoke(
        app, ["evaluate", str(trees), "--dataset", str(dataset), "--json", *options]
    )
    if result.exception is not None and not isinstance(result.exception, SystemExit):
        raise result.exception
    return (json.loads(result.stdout) if result.stdout else {}), result.stderr, result.exit_code


def test_the_same_tables_as_the_run_that_made_them(made: tuple[Path, Path]) -> None:
    dataset, trees = made
    found, _, code = evaluate(
        trees, dataset, "--protocol", "pixel", "--protocol", "grid", "--budgets", "2,4"
    )
    assert code == 0
    (summary,) = dataset.parent.rglob("summary.json")
    assert found["tables"] == json.loads(summary.read_text())["tables"]


def test_the_summary_is_written_where_it_is_asked_for(
    made: tuple[Path, Path], tmp_path: Path
) -> None:
    dataset, trees = made
    found, _, _ = evaluate(trees, dataset, "-o", str(tmp_path / "out"))
    assert json.loads((tmp_path / "out/summary.json").read_text())["tables"] == found["tables"]
    assert "NMCovering" in (tmp_path / "out/summary.md").read_text()


def test_anybodys_trees_are_scored_by_the_formulas(made: tuple[Path, Path], tmp_path: Path) -> None:
    dataset, _ = made
    labels = load_label_tree(dataset.parent / "labels.txt")
    rng = np.random.default_rng(0)
    expected = []
    for i in range(4):
        tree = random_tree(rng, 7, (32, 32))
        truth = np.asarray(Image.open(dataset.parent / "masks" / f"p{i:03}.png")).astype(int)
        expected.append(brute_force.score(tree, truth, labels.classes()))
        if i % 2:  # root first, -1 as its parent
            flip = tree.n_nodes - 1 - np.arange(tree.n_nodes)
            parents = flip[tree.parents[flip]]
            parents[0] = -1
            np.savez(tmp_path / f"p{i:03}.npz", labels=flip[tree.labels], parents=parents)
        else:
            Image.fromarray(tree.labels.astype(np.uint8)).save(tmp_path / f"p{i:03}.png")
            (tmp_path / f"p{i:03}.json").write_text(json.dumps({"parents": tree.parents.tolist()}))
    found, _, code = evaluate(tmp_path, dataset)
    assert code == 0
    scores = found["tables"]["pixel, tree"]
    # Equal IoUs are broken by the order of nodes, which flipping changes; NMCovering has no ties.
    assert scores["nm_covering"] == pytest.approx(np.mean([s["nm"] for s in expected if s]))
    assert scores["nodes"] == pytest.approx(np.mean([s["nodes"] for s in expected if s]))


def test_one_to_one_matching_and_a_threshold_only_lower_scores(
    made: tuple[Path, Path], tmp_path: Path
) -> None:
    dataset, whole = made
    trees = tmp_path / "coarse"  # two regions, which miss most of the truth's
    trees.mkdir()
    for path in whole.glob("*.npz"):
        RegionTree.load(path).prune(n_regions=2).save(trees / path.name)
    loose = evaluate(trees, dataset)[0]["tables"]["pixel, tree"]
    once = evaluate(trees, dataset, "--match", "hungarian")[0]["tables"]["pixel, tree"]
    strict = evaluate(trees, dataset, "--threshold", "0.99")[0]["tables"]["pixel, tree"]
    assert once["nm_covering"] <= loose["nm_covering"]
    assert strict["nm_covering"] < loose["nm_covering"]


def test_a_tree_on_its_patch_grid_is_enlarged(made: tuple[Path, Path], tmp_path: Path) -> None:
    dataset, trees = made
    for path in trees.glob("*.npz"):
        tree = RegionTree.load(path)
        RegionTree(tree.labels[2::4, 2::4], tree.parents, tree.height).save(tmp_path / path.name)
    small, large = evaluate(tmp_path, dataset)[0], evaluate(trees, dataset)[0]
    assert small["tables"]["pixel, tree"] == large["tables"]["pixel, tree"]


def test_what_cannot_be_scored_is_told_and_the_rest_is_scored(
    made: tuple[Path, Path], tmp_path: Path
) -> None:
    dataset, trees = made
    names = sorted(path.name for path in trees.glob("*.npz"))
    whole = RegionTree.load(trees / names[0])
    whole.save(tmp_path / names[0])
    meta = {"image": {"size": [32, 32], "grid": [8, 8], "sha256": "0" * 64}}
    RegionTree(whole.labels, whole.parents, whole.height, meta=meta).save(tmp_path / names[1])
    (tmp_path / names[2]).write_bytes(b"damaged")
    found, said, code = evaluate(tmp_path, dataset)
    assert code == 1
    assert found["tables"]["pixel, tree"]["images"] == 1
    assert "is a tree of another photograph" in said
    assert "damaged or not a region tree" in said
    assert "1 images have no tree: p003" in said


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (("--protocol", "patch"), "protocol must be one of pixel, grid, got 'patch'"),
        (("--threshold", "2"), "threshold must be a number in"),
        (("--match", "best"), "match"),
        (("--budgets", "5,x"), "budgets must be whole numbers"),
        (("--metric", "boundry"), "did you mean 'boundary'?"),
        (("--metric", "boundary", "--protocol", "grid"), "'boundary' has no score with protocol"),
        (("--split", "train"), "train"),
    ],
)
def test_wrong_options_are_named(
    made: tuple[Path, Path], options: tuple[str, ...], said: str
) -> None:
    _, told, code = evaluate(made[1], made[0], *options)
    assert code == 2
    assert said in told


def test_no_trees_at_all(made: tuple[Path, Path], tmp_path: Path) -> None:
    assert "no tree files" in evaluate(tmp_path, made[0])[1]
    assert "no such file or folder of trees" in evaluate(tmp_path / "none", made[0])[1]
    random_tree(np.random.default_rng(0), 3, (4, 4)).save(tmp_path / "other.npz")
    _, said, code = evaluate(tmp_path, made[0])
    assert code == 2
    assert "nothing could be scored" in said


def test_the_catalogue_is_listed_explained_and_checked(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(ROOT)
    runner = CliRunner()
    listed = runner.invoke(app, ["datasets"])
    assert "voc12" in listed.stdout
    told = runner.invoke(app, ["datasets", "cityscapes"])
    assert "leftImg8bit" in told.stdout
    missing = runner.invoke(app, ["datasets", "voc12", "--check", "--root", str(tmp_path)])
    assert missing.exit_code == 1
    assert "missing:" in missing.stdout
    planned = runner.invoke(
        app, ["run", "configs/voc12.yaml", "--root", str(tmp_path), "--dry-run"]
    )
    assert planned.exit_code == 0
    assert "hint      regiontree datasets voc12" in planned.stdout
    near = runner.invoke(app, ["datasets", "cityscape"])
    assert near.exit_code == 2
    assert "did you mean 'cityscapes'" in near.stderr


# -- which tree belongs to which image ------------------------------------------------------------


def found(
    folder: Path,
    files: list[str],
    ids: list[str],
    ending: str = ".png",
    places: Sequence[str] = ".",
) -> dict[str, str]:
    """The tree of each id, below the folder, or the error. The places in it are looked through."""
    for name in files:
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        if path.suffix == ".json":
            path.write_text('{"parents": [-1]}')
        elif path.suffix == ".npz":
            RegionTree([[0, 1]], [2, 2, 2], [0, 0, 1]).save(path)
        else:
            path.write_bytes(b"")
    samples = [Sample(one, Path("photos") / f"{one}{ending}") for one in ids]
    trees, problems = _find_trees([folder / place for place in places])
    assert problems == []
    matches = _matches(trees, samples)
    return {
        one: str(match).removeprefix(f"{folder}/") if isinstance(match, _Tree) else str(match)
        for one, match in matches.items()
    }


@pytest.mark.parametrize(
    ("files", "matches"),
    [
        (["a.npz", "b.npz"], {"a": "a.npz", "b": "b.npz", "c": "None"}),
        (["a.b/c.d.npz", "a.b/c.npz"], {"a.b/c.d": "a.b/c.d.npz", "a.b/c": "a.b/c.npz"}),
        (["a.b/c.d.npz"], {"a.b/c": "None", "a.b/c.d": "a.b/c.d.npz"}),
        (["scan.v2.final.npz"], {"scan.v2.final": "scan.v2.final.npz", "scan": "None"}),
        (["scan.v2.npz"], {"x/scan.v2": "scan.v2.npz"}),  # flat trees of nested images
        (["photo.png.npz"], {"photo": "photo.png.npz"}),  # as a batch names twins
        (["val/a/1.npz", "val/b/1.npz"], {"a/1": "val/a/1.npz", "b/1": "val/b/1.npz"}),
        (["b/1.npz"], {"a/1": "None", "b/1": "b/1.npz"}),
        (["a/1.npz"], {"1": "None", "a/1": "a/1.npz"}),
        (["val/a/1.npz", "val/1.npz"], {"1": "val/1.npz", "a/1": "val/a/1.npz"}),
        (
            ["a.npz", "a.cuts.png", "a.hierarchy.png", "a.cut-004.png", "a.png", ".a.tmp.npz"],
            {"a": "a.npz"},
        ),
        (["a.png", "a.json"], {"a": "a.png"}),
        (["a.v1.png", "a.v1.json"], {"a.v1": "a.v1.png"}),
    ],
)
def test_trees_are_found_by_ids(tmp_path: Path, files: list[str], matches: dict[str, str]) -> None:
    assert found(tmp_path, files, list(matches)) == matches


@pytest.mark.parametrize("places", [["a.b", "a"], ["a.b", "a", "."], [".", "a"], ["a", "x.npz"]])
def test_trees_of_several_folders(tmp_path: Path, places: list[str]) -> None:
    """As ``evaluate trees/*`` names them."""
    trees = ["a.b/c.d.npz", "a/c.d.npz", "a/y.npz", "x.npz"]
    ids = ["a.b/c.d", "a/c.d", "x", "a/y"]
    matches = found(tmp_path, trees, ids, places=places)
    there = [place for place in trees if "." in places or place.split("/")[0] in places]
    for one in ids:
        assert matches[one] == (f"{one}.npz" if f"{one}.npz" in there else "None"), one


@pytest.mark.parametrize(
    ("files", "ids", "facts"),
    [
        (["a.npz", "a.png", "a.json"], ["a"], ["several trees", "a.npz", "a.png"]),
        (["x/a.npz", "y/a.npz"], ["a"], ["several trees", "x/a.npz", "y/a.npz"]),
        (["a.npz", "a.png.npz"], ["a"], ["several trees", "a.png.npz"]),
        (["1.npz"], ["a/1", "b/1"], ["fits several images", "a/1, b/1"]),
        (["a.png"], ["a"], ["a.png", "no a.json"]),
    ],
)
def test_what_fits_no_single_tree_is_told(
    tmp_path: Path, files: list[str], ids: list[str], facts: list[str]
) -> None:
    for said in found(tmp_path, files, ids).values():
        assert not [fact for fact in facts if fact not in said], said


def test_files_of_another_kind_beside_a_tree_do_not_count(tmp_path: Path) -> None:
    (tmp_path / "a.png").write_bytes(b"")
    (tmp_path / "a.json").write_text('{"shapes": []}')  # somebody's annotation of the photograph
    assert found(tmp_path, ["a.npz"], ["a"]) == {"a": "a.npz"}
    np.savez(tmp_path / "a.png.npz", features=np.ones((2, 2, 3)))
    assert found(tmp_path, [], ["a"]) == {"a": "a.npz"}


@settings(max_examples=60, deadline=None)
@given(st.integers(0, 10**6), st.integers(2, 30))
def test_metrics_divide_equal_heights_in_the_order_of_cuts(seed: int, leaves: int) -> None:
    rng = np.random.default_rng(seed)
    tree = random_tree(rng, leaves, (8, 8))
    tied = np.round(tree.height * 3) / 3
    tree = RegionTree(tree.labels, tree.parents, tied)
    members = cut_members(tree.parents, tree.height, "regions", range(1, tree.n_leaves + 1))
    for count, member in zip(range(1, tree.n_leaves + 1), members, strict=True):
        assert np.flatnonzero(member).tolist() == tree.cut_nodes(n_regions=count).tolist()
    for budget in range(1, tree.n_nodes):
        shown = set(budget_nodes(tree.parents, tree.height, budget).tolist())
        ends = [node for node in shown if not shown & set(tree.children(node))]
        # As masks, because a budget may end above an only child, which is no other region.
        cut = {tree.mask(node).tobytes() for node in tree.cut_nodes(n_regions=len(ends))}
        assert {tree.mask(node).tobytes() for node in ends} == cut
