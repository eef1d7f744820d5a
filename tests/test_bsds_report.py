"""The measures of BSDS500 in reports: figures of the metrics themselves, however a run went."""

from __future__ import annotations

import copy
import json
from dataclasses import asdict
from pathlib import Path
from typing import Any

import brute_force
import numpy as np
import pytest
import yaml
from PIL import Image
from test_experiments import edit, make_data, run_config, tables
from test_segments import evaluate, png
from trees import random_tree

from regiontree.engines.local import Alone
from regiontree.errors import DataError
from regiontree.experiments.config import load_experiment
from regiontree.experiments.plan import prepare
from regiontree.experiments.run import run
from regiontree.experiments.scoring import Scoring, View
from regiontree.metrics import (
    BsdsMetric,
    ContourMetric,
    CoveringMetric,
    ObjectsMetric,
    contingency,
)
from regiontree.tree import RegionTree

SHAPE = (24, 30)
VIEW = "pixel, covering"


def drawings(
    folder: Path, contrasts: list[float | None]
) -> tuple[Path, dict[str, tuple[RegionTree, list[np.ndarray]]]]:
    """A data set of people's drawings with a tree for each contrast, and both of each image."""
    made = {}
    for i, contrast in enumerate(contrasts):
        rng = np.random.default_rng(i)
        blocks = random_tree(rng, 9, (4, 5))
        labels = blocks.labels.repeat(6, 0).repeat(6, 1)
        meta = {} if contrast is None else {"contrast": contrast}
        tree = RegionTree(labels, blocks.parents, blocks.height, meta=meta)
        people = [np.roll(tree.cut(n_regions=n), n - 3, axis=1) for n in range(2, 4 + i)]
        (folder / "trees").mkdir(parents=True, exist_ok=True)
        tree.save(folder / f"trees/s{i}.npz")
        png(folder / f"images/s{i}.png", np.zeros((*SHAPE, 3)))
        for number, person in enumerate(people):
            png(folder / f"masks/s{i}_a{number}.png", person)
        made[f"s{i}"] = tree, people
    spec = {"images": "images", "masks": "masks", "format": "bsds"}
    (folder / "set.yaml").write_text(yaml.safe_dump(spec))
    return folder / "set.yaml", made


def bsds(folder: Path, spec: Path) -> dict[str, Any]:
    found, said, code = evaluate(folder / "trees", "--dataset", spec, "--metric", "bsds", "--json")
    assert code == 0, said
    metrics: dict[str, Any] = found["tables"][VIEW]["metrics"]
    assert set(metrics) == {"bsds"}
    return metrics["bsds"]


# -- figures --------------------------------------------------------------------------------------


def test_the_report_has_the_figures_of_the_metrics(tmp_path):
    spec, made = drawings(tmp_path, [0.5, 1.0, 1.7])
    found = bsds(tmp_path, spec)
    assert found["images"] == 3
    assert list(found["cuts"]) == ["height", "contrast", "regions"]
    for cut, scores in found["cuts"].items():
        scale = "regions" if cut == "regions" else "height"
        covering, borders = CoveringMetric(scale=scale), ContourMetric(scale=scale)
        objects = ObjectsMetric(scale=scale)
        for image, (tree, people) in made.items():
            tables = [contingency(tree.labels, person, tree.n_leaves) for person in people]
            height = tree.height * np.float32(tree.contrast if cut == "contrast" else 1)
            covering.update(image, tree.parents, height, tables)
            borders.update(image, tree.parents, height, tree.labels, people)
            objects.update(image, tree.parents, height, tables)
        expected = (covering, borders, objects)
        for name, metric in zip(("covering", "borders", "objects"), expected, strict=True):
            assert scores[name] == json.loads(json.dumps(asdict(metric.compute())))
            assert len(scores[name]["curve"]) == (21 if cut == "regions" else 41)
    # The measures and the ways to cut differ, so nothing above compares like with like.
    assert len({one[name]["ods"] for one in found["cuts"].values() for name in one}) > 6


def test_a_contrast_is_that_of_the_trees_own_cut(tmp_path):
    spec, made = drawings(tmp_path, [0.5, 1.7])
    curve = bsds(tmp_path, spec)["cuts"]["contrast"]["covering"]["curve"]
    for point in curve[::5]:
        each = []
        for tree, people in made.values():
            cut = tree.cut(contrast=point["scale"])
            each.append(brute_force.covering([cut == k for k in np.unique(cut)], people))
        assert point["covering"] == pytest.approx(np.mean(each), abs=1e-12)


def test_the_table_has_a_row_for_each_measure_and_cut(tmp_path):
    spec, _ = drawings(tmp_path, [0.5, 1.0])
    out = tmp_path / "out"
    evaluate(tmp_path / "trees", "--dataset", spec, "--metric", "bsds", "-o", out)
    cuts = json.loads((out / "summary.json").read_text())["tables"][VIEW]["metrics"]["bsds"]["cuts"]
    text = (out / "summary.md").read_text()
    lines = text[text.index("| | ODS | OIS | best | AP | ODS regions |") :].splitlines()
    said = {"height": "height", "contrast": "contrast", "regions": "number of regions"}
    expected = []
    for name in ("covering", "borders", "objects"):
        for cut, scores in cuts.items():
            one = scores[name]
            at = next(p["regions"] for p in one["curve"] if p["scale"] == one["ods_scale"])
            cells = [
                "-" if one.get(key) is None else f"{100 * one[key]:.1f}"
                for key in ("ods", "ois", "best", "ap")
            ]
            expected.append(f"| {name} by {said[cut]} | {' | '.join(cells)} | {at:.1f} |")
    assert lines[2:11] == expected
    assert "that people drew (pixel)**" in text


def test_without_a_contrast_in_every_tree_no_image_is_cut_by_one(tmp_path):
    spec, made = drawings(tmp_path, [0.5, None, 1.2])
    assert list(bsds(tmp_path, spec)["cuts"]) == ["height", "regions"]
    with_contrast, _ = made["s0"]
    tree, people = made["s1"]
    metric = BsdsMetric("contrast")
    tables = [contingency(tree.labels, person, tree.n_leaves) for person in people]
    with pytest.raises(ValueError, match="has no contrast"):
        metric.update("s1", tree, tree.labels, people, tables)
    assert metric.height(with_contrast).tolist() == (with_contrast.height / 2).tolist()


def test_one_map_for_each_image_is_one_persons_drawing(tmp_path):
    spec, made = drawings(tmp_path, [1.0, 1.0])
    for image, (_, people) in made.items():
        png(tmp_path / f"maps/{image}.png", people[-1])
    spec.write_text(yaml.safe_dump({"images": "images", "masks": "maps"}))
    curve = bsds(tmp_path, spec)["cuts"]["regions"]["covering"]["curve"]
    each = []
    for tree, people in made.values():
        cut = tree.cut(n_regions=3)
        each.append(brute_force.covering([cut == k for k in np.unique(cut)], people[-1:]))
    assert curve[2]["scale"] == 3
    assert curve[2]["covering"] == pytest.approx(np.mean(each), abs=1e-12)


# -- what cannot be scored ------------------------------------------------------------------------


def test_classes_and_patches_are_refused(tmp_path):
    spec, _ = drawings(tmp_path, [1.0])
    options = (tmp_path / "trees", "--dataset", spec, "--metric", "bsds")
    _, said, code = evaluate(*options, "--protocol", "grid")
    assert code == 2
    assert "metric 'bsds' has no score with protocol grid; it is for protocol pixel" in said
    (tmp_path / "labels.txt").write_text("0\tnone\t-\n1\tcat\tanimal\n2\tdog\tanimal\n")
    labels = {"table": "labels.txt", "columns": [2, 1]}
    spec.write_text(yaml.safe_dump({"images": "images", "masks": "masks", "labels": labels}))
    _, said, code = evaluate(*options)
    assert code == 2
    assert "metric 'bsds' has no score with protocol pixel and classes" in said
    assert "leave 'labels' out" in said


def test_an_image_without_a_drawing_is_told_and_the_rest_is_scored(tmp_path):
    spec, _ = drawings(tmp_path, [1.0, 1.0])
    for file in (tmp_path / "masks").glob("s1_*.png"):
        file.unlink()
    options = (tmp_path / "trees", "--dataset", spec, "--metric", "bsds", "--json")
    found, said, code = evaluate(*options)
    assert code == 1
    assert "s1" in said
    assert found["tables"][VIEW]["metrics"]["bsds"]["images"] == 1


# -- records --------------------------------------------------------------------------------------


def test_records_are_merged_in_any_order_and_checked(tmp_path):
    _, made = drawings(tmp_path, [0.5, 1.0, 2.0])
    scoring = Scoring(None, ("pixel",), metrics=("bsds",))
    records = [
        json.loads(json.dumps(scoring.record(image, tree, people)))
        for image, (tree, people) in made.items()
    ]
    (view,) = scoring.views()
    assert view == View("pixel", 0)
    assert scoring.merge(records)[view]["bsds"] == scoring.merge(records[::-1])[view]["bsds"]
    key = f"{VIEW}: bsds"
    for path in ((), ("contrast",), ("height", "objects")):
        damaged = copy.deepcopy(records[0])
        inside = damaged
        for step in (key, *path)[:-1]:
            inside = inside[step]
        inside[(key, *path)[-1]] = {"other": 1}
        with pytest.raises(DataError, match="not a state of this metric"):
            scoring.merge([damaged])
    with pytest.raises(DataError, match="score each image once"):
        scoring.merge([records[0], records[0]])


def people_of(folder: Path, count: int) -> Path:
    """The config of a run over :func:`make_data`, whose masks are drawings of two people."""
    config = make_data(folder, count)
    for file in (folder / "masks").glob("*.png"):
        mask = np.asarray(Image.open(file))
        png(folder / f"people/{file.stem}_a0.png", mask)
        png(folder / f"people/{file.stem}_a1.png", np.minimum(mask, 1))
    given = {"name": "pets", "images": "images", "masks": "people", "format": "bsds"}
    edit(config, dataset=given, protocols=["pixel"], metrics=["bsds"])
    return config


def test_a_run_that_was_stopped_goes_on_to_the_same_report(tmp_path):
    whole, stopped = people_of(tmp_path / "whole", 4), people_of(tmp_path / "stopped", 4)
    _, first = run_config(whole)
    assert (first.done, first.kept, first.failed) == (4, 0, ())

    def stop(ticket: int, outcome: object) -> None:
        if ticket == 1:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        run(prepare(load_experiment(stopped)), Alone(), on_outcome=stop)
    _, rest = run_config(stopped)
    assert rest.kept > 0
    assert rest.done + rest.kept == 4
    both = [json.loads(tables(tmp_path / name))["tables"] for name in ("stopped", "whole")]
    assert both[0] == both[1]
    scores = rest.report.results[View("pixel", 0)]["bsds"]
    assert scores.images == 4
    assert list(scores.cuts) == ["height", "contrast", "regions"]


def test_a_run_agrees_with_evaluate_of_its_trees(tmp_path):
    config = people_of(tmp_path, 2)
    plan, result = run_config(config)
    spec = tmp_path / "set.yaml"
    spec.write_text(yaml.safe_dump(yaml.safe_load(config.read_text())["dataset"]))
    trees = plan.experiment.trees_dir
    found, _, code = evaluate(trees, "--dataset", spec, "--metric", "bsds", "--json")
    assert code == 0
    (summary,) = tmp_path.rglob("summary.json")
    assert found["tables"] == json.loads(summary.read_text())["tables"]
    assert result.report is not None
