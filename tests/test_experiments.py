"""Whole experiments on a small data set whose trees and scores are known, from config to tables."""

from __future__ import annotations

import dataclasses
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import brute_force
import numpy as np
import pytest
import yaml
from PIL import Image

from regiontree.backbones.featurefile import read_features_meta
from regiontree.datasets.labels import load_label_tree
from regiontree.engines.local import Alone
from regiontree.errors import ConfigError
from regiontree.experiments.config import load_experiment
from regiontree.experiments.plan import Plan, prepare
from regiontree.experiments.run import Result, run
from regiontree.metrics import Scores
from regiontree.tree import RegionTree
from regiontree.tree.file import read_meta

GRID, PATCH = 8, 4
LABELS = """\
animal
\tcat\t1\t0
\tdog\t2\t0
background\t0\t1
void\t255\t2
"""


def make_data(folder: Path, count: int, *, seed: int = 0) -> Path:
    """Photographs of a cat beside a dog over a background, features that tell them apart."""
    rng = np.random.default_rng(seed)
    for name in ("images", "masks", "features"):
        (folder / name).mkdir(parents=True)
    directions = np.linalg.qr(rng.normal(size=(16, 4)))[0].T
    # Cat and dog share a direction, so a tree parts both from the background first.
    kinds = np.stack([directions[0], directions[1] + directions[2], directions[1] + directions[3]])
    for i in range(count):
        truth = np.zeros((GRID, GRID), np.uint8)
        top, split = rng.integers(1, 4), rng.integers(3, 6)
        truth[top:7, 1:split], truth[top:7, split:7] = 1, 2
        features = kinds[truth] + 0.05 * rng.normal(size=(GRID, GRID, 16))
        np.save(folder / "features" / f"p{i:03}.npy", features.astype(np.float32))
        mask = truth.repeat(PATCH, 0).repeat(PATCH, 1)
        rgb = np.stack([mask * 80, 255 - mask * 60, rng.integers(0, 255, mask.shape)], -1)
        Image.fromarray(rgb.astype(np.uint8)).save(folder / "images" / f"p{i:03}.png")
        mask[:2] = 255
        Image.fromarray(mask).save(folder / "masks" / f"p{i:03}.png")
    (folder / "labels.txt").write_text(LABELS)
    config = {
        "dataset": {"name": "pets", "images": "images", "masks": "masks", "labels": "labels.txt"},
        "root": str(folder),
        "output": str(folder / "out"),
        "settings": {"backbone": f"precomputed:{folder / 'features'}", "parts": 12},
        "protocols": ["pixel", "grid"],
        "budgets": [2, 4],
    }
    (folder / "pets.yaml").write_text(yaml.safe_dump(config))
    return folder / "pets.yaml"


def run_config(path: Path, **changes: Any) -> tuple[Plan, Result]:
    overwrite = changes.pop("overwrite", False)
    plan = prepare(load_experiment(path, **changes))
    return plan, run(plan, Alone(), overwrite=overwrite)


def edit(path: Path, **changes: Any) -> None:
    path.write_text(yaml.safe_dump({**yaml.safe_load(path.read_text()), **changes}))


def tables(folder: Path) -> str:
    """Everything in the summary but how long it took."""
    (found,) = folder.rglob("summary.json")
    summary = json.loads(found.read_text())
    summary.pop("seconds")
    return json.dumps(summary, sort_keys=True)


def stamps(folder: Path, pattern: str) -> dict[str, int]:
    return {p.name: p.stat().st_mtime_ns for p in folder.rglob(pattern) if p.is_file()}


@pytest.fixture
def pets(tmp_path: Path) -> Path:
    return make_data(tmp_path, 6)


# -- what comes out -------------------------------------------------------------------------------


def test_tables_are_what_the_formulas_give_on_the_trees_that_were_saved(pets: Path) -> None:
    plan, result = run_config(pets, refine="none")  # every leaf holds the centre of a patch
    assert (result.done, result.kept, result.failed) == (6, 0, ())
    assert result.report is not None
    labels = load_label_tree(pets.parent / "labels.txt")
    for view, scores in result.report.scores.items():
        assert isinstance(scores, Scores)
        expected = []
        for sample in plan.dataset.samples:
            tree = RegionTree.load(plan.experiment.trees_dir / f"{sample.id}.npz")
            truth = np.asarray(Image.open(sample.masks[0])).astype(int)
            if view.protocol == "grid":  # patches are 4 pixels: the centre is pixel 2 of each
                truth, cells = truth[2::4, 2::4], tree.labels[2::4, 2::4]
                tree = dataclasses.replace(tree, labels=cells)
            found = brute_force.score(tree, truth, labels.classes(view.depth))
            assert found is not None
            expected.append(found)
        assert scores.images == 6
        assert scores.nm_covering == pytest.approx(np.mean([s["nm"] for s in expected]))
        assert scores.nh_covering == pytest.approx(np.mean([s["nh"] for s in expected]))
        assert scores.nm_covering > 0.75  # the scenes are clear


def test_the_summary_holds_every_table(pets: Path) -> None:
    plan, _ = run_config(pets)
    summary = json.loads((plan.experiment.stats_dir / "summary.json").read_text())
    assert list(summary["tables"]) == [
        "pixel, tree", "pixel, depth 2", "pixel, depth 1",
        "grid, tree", "grid, depth 2", "grid, depth 1",
    ]  # fmt: skip
    assert set(summary["tables"]["pixel, tree"]["iou"]) == {
        "background", "animal", "animal--cat", "animal--dog"
    }  # fmt: skip
    text = (plan.experiment.stats_dir / "summary.md").read_text()
    assert "NHCovering" in text
    assert "nodes" in text


def test_two_nodes_cannot_hold_a_cat_and_a_dog(pets: Path) -> None:
    _, result = run_config(pets)
    assert result.report is not None
    whole = result.report.scores[next(v for v in result.report.scores if v.depth is None)]
    few = whole.curve[0]  # type: ignore[union-attr]
    assert few.budget == 2
    assert few.nodes <= 2
    assert few.nm < whole.nm_covering  # type: ignore[union-attr]


def test_pictures_are_drawn_when_asked(pets: Path) -> None:
    edit(pets, pictures=True)
    plan, _ = run_config(pets)
    pictures = sorted(plan.experiment.pictures_dir.glob("*.png"))
    assert len(pictures) == 6
    assert Image.open(pictures[0]).width > 1000


# -- finished work --------------------------------------------------------------------------------


def test_a_second_run_redoes_nothing(pets: Path) -> None:
    run_config(pets)
    before, text = stamps(pets.parent / "out", "p*"), tables(pets.parent)
    _, result = run_config(pets)
    assert (result.done, result.kept) == (0, 6)
    assert stamps(pets.parent / "out", "p*") == before
    assert tables(pets.parent) == text


def test_other_settings_meet_no_stale_work(pets: Path) -> None:
    plan, _ = run_config(pets)
    features = stamps(plan.experiment.features_dir, "*")
    edit(pets, settings={**yaml.safe_load(pets.read_text())["settings"], "parts": 6})
    plan, result = run_config(pets)
    assert result.done == 6
    assert stamps(plan.experiment.features_dir, "*") == features  # parts do not shape features
    meta = read_meta(next(iter(plan.experiment.trees_dir.glob("*.npz"))))
    assert meta["settings"]["parts"] == 6


def test_another_photograph_or_mask_under_a_name_is_done_again(pets: Path) -> None:
    plan, _ = run_config(pets)
    folder = pets.parent
    Image.fromarray(np.full((32, 32, 3), 7, np.uint8)).save(folder / "images" / "p001.png")
    mask = np.asarray(Image.open(folder / "masks" / "p002.png")).copy()
    mask[:8] = 0
    Image.fromarray(mask).save(folder / "masks" / "p002.png")
    before = stamps(plan.experiment.trees_dir, "*.npz")
    _, result = run_config(pets)
    assert (result.done, result.kept) == (2, 4)
    after = stamps(plan.experiment.trees_dir, "*.npz")
    assert [name for name in before if before[name] != after[name]] == ["p001.npz"]


@pytest.mark.parametrize("pattern", ["*.safetensors", "p*.npz", "p*.json"])
def test_damaged_files_are_made_again(pets: Path, pattern: str) -> None:
    run_config(pets)
    text = tables(pets.parent)
    victim = sorted((pets.parent / "out").rglob(pattern))[0]
    victim.write_bytes(victim.read_bytes()[:40])
    _, result = run_config(pets)
    assert result.failed == ()
    assert (result.done, result.kept) == (1, 5)
    assert tables(pets.parent) == text


def test_stages_may_run_one_by_one(pets: Path) -> None:
    run_config(pets, stages=["features"])
    assert not list((pets.parent / "out").rglob("*.npz"))
    run_config(pets, stages=["trees"])
    _, result = run_config(pets, stages=["evaluate"])
    assert result.report is not None
    assert result.failed == ()
    text = tables(pets.parent)
    _, again = run_config(pets, overwrite=True)
    assert again.done == 6
    assert tables(pets.parent) == text


def test_a_stage_alone_says_which_stage_it_lacks(pets: Path) -> None:
    _, result = run_config(pets, stages=["trees"])
    assert len(result.failed) == 6
    assert "schedule extract_features before" in result.failed[0]
    _, result = run_config(pets, stages=["evaluate"])
    assert "schedule semantic_ncuts before" in result.failed[0]
    assert result.report is None


def test_a_stage_alone_does_not_use_the_work_of_other_settings(pets: Path) -> None:
    run_config(pets)
    edit(pets, settings={**yaml.safe_load(pets.read_text())["settings"], "parts": 6})
    _, result = run_config(pets, stages=["evaluate"])
    assert len(result.failed) == 6
    assert "was made with other settings; schedule semantic_ncuts too" in result.failed[0]
    edit(pets, settings={**yaml.safe_load(pets.read_text())["settings"], "dtype": "float32"})
    _, result = run_config(pets, stages=["trees"])
    assert "dtype auto instead of float32; schedule extract_features too" in result.failed[0]


def test_overwrite_makes_everything_again(pets: Path) -> None:
    run_config(pets)
    before = stamps(pets.parent / "out", "p*")
    _, result = run_config(pets, overwrite=True)
    assert result.done == 6
    after = stamps(pets.parent / "out", "p*")
    assert all(after[name] != before[name] for name in before)


# -- bad input ------------------------------------------------------------------------------------


def test_bad_images_are_told_at_the_end_and_the_rest_is_scored(pets: Path) -> None:
    folder = pets.parent
    (folder / "images" / "p000.png").write_bytes(b"not a picture")
    Image.fromarray(np.zeros((9, 9), np.uint8)).save(folder / "masks" / "p001.png")
    Image.fromarray(np.full((32, 32), 77, np.uint8)).save(folder / "masks" / "p002.png")
    (folder / "masks" / "p003.png").unlink()
    (folder / "features" / "p004.npy").unlink()
    plan, result = run_config(pets)
    assert result.report is not None
    assert next(iter(result.report.scores.values())).images == 1
    for name, said in {
        "p000": "p000.png",
        "p001": "the mask is 9 x 9 pixels, the tree is of an image of 32 x 32",
        "p002": "77, which the label tree does not know",
        "p003": "images have no mask",
        "p004": "holds no p004.npy",
    }.items():
        assert any(name in failure and said in failure for failure in result.failed), name
    assert "77" in (plan.experiment.stats_dir / "summary.md").read_text()


def test_an_image_that_fails_now_is_not_scored_by_its_old_record(pets: Path) -> None:
    run_config(pets)
    (pets.parent / "images" / "p000.png").write_bytes(b"broken since")
    _, result = run_config(pets)
    assert result.report is not None
    assert next(iter(result.report.scores.values())).images == 5


def test_missing_data_is_said_before_anything_runs(pets: Path) -> None:
    edit(pets, root=str(pets.parent / "nowhere"))
    plan = prepare(load_experiment(pets))
    assert any("nowhere/images cannot be listed" in said for said in plan.missing)
    with pytest.raises(ConfigError, match="nowhere"):
        run(plan, Alone())


def test_a_model_that_is_not_here_is_said_before_anything_runs(pets: Path) -> None:
    plan = prepare(load_experiment(pets, model="dinov9_vith1"))
    assert "dinov9_vith1" in plan.missing[0]
    assert "did you mean 'dinov3_vits16'?" in plan.missing[0]


def test_what_tiles_of_the_largest_photograph_take_is_said_before_they_are_seen(
    pets: Path,
) -> None:
    Image.new("RGB", (300, 200), "teal").save(pets.parent / "images" / "p004.png")
    edit(pets, settings={"backbone": "embedded", "size": 28, "views": 1, "tiles": 56, "parts": 9})
    plan = prepare(load_experiment(pets, stages=["features"]))
    told: list[Plan] = []
    run(plan, Alone(), on_start=lambda plan, _: told.append(plan))
    (said,) = (remark for remark in told[0].remarks if "tiles" in remark)
    assert "p004.png, 300 x 200: 1 tile, 4 x 3 patches, up to 1.0 GB of memory" in said


# -- the command, its processes and its end -------------------------------------------------------


def command(*arguments: object, processes: int = 0, cwd: Path | None = None) -> list[str]:
    python = [sys.executable]
    if processes:
        python += ["-m", "torch.distributed.run", "--nnodes", "1", "--nproc_per_node"]
        python += [str(processes), "--master_port", "0", "--rdzv-backend", "c10d"]
        python += ["--rdzv-endpoint", "localhost:0", "-m", "regiontree"]
    else:
        python += ["-m", "regiontree"]
    return [*python, *map(str, arguments)]


def call(*arguments: object, processes: int = 0, cwd: Path | None = None) -> Any:
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    return subprocess.run(
        command(*arguments, processes=processes), cwd=cwd, env=environment, text=True,
        capture_output=True, timeout=300, check=False,
    )  # fmt: skip


@pytest.mark.slow
@pytest.mark.distributed
def test_one_two_and_four_processes_give_identical_tables(tmp_path: Path) -> None:
    found = {}
    for processes in (0, 2, 4):
        config = make_data(tmp_path / str(processes), 13)
        (config.parent / "images" / "p003.png").write_bytes(b"bad")
        said = call("run", config, processes=processes)
        assert "12 images done, 0 kept, 1 problems" in said.stderr, said.stderr
        text = tables(config.parent).replace(str(config.parent), "FOLDER")
        found[processes] = text
    assert found[0] == found[2] == found[4]
    assert '"images": 12' in found[0]


@pytest.mark.slow
@pytest.mark.parametrize("how", [signal.SIGKILL, signal.SIGTERM])
def test_a_run_cut_off_at_any_moment_goes_on_where_it_was(tmp_path: Path, how: int) -> None:
    whole = make_data(tmp_path / "whole", 40)
    run_config(whole)
    config = make_data(tmp_path / "cut", 40)
    process = subprocess.Popen(
        command("run", config), stderr=subprocess.PIPE, env={**os.environ, "OMP_NUM_THREADS": "1"}
    )
    out = tmp_path / "cut" / "out"
    deadline = time.monotonic() + 120
    while len(list(out.rglob("p*.npz"))) < 5 and time.monotonic() < deadline:
        time.sleep(0.005)
    process.send_signal(how)
    process.wait(60)
    done = stamps(out, "p*.npz")
    assert 5 <= len(done) < 40, "the run was not cut off in the middle"
    for name in done:  # whatever stands under its own name is whole
        RegionTree.load(next(out.rglob(name)))
    _, result = run_config(config)
    after = stamps(out, "p*.npz")
    assert all(after[name] == stamp for name, stamp in done.items())
    assert result.done + result.kept == 40
    assert tables(config.parent).replace("/cut", "") == tables(whole.parent).replace("/whole", "")
    assert not list(out.rglob(".*.tmp")) or how == signal.SIGKILL


def test_dry_run_checks_and_touches_nothing(pets: Path) -> None:
    said = call("run", pets, "--dry-run")
    assert said.returncode == 0
    assert "data      pets all: 6 images" in said.stdout
    assert not (pets.parent / "out").exists()
    edit(pets, budget=[3])
    said = call("run", "--conf", pets, "--dry-run")
    assert said.returncode == 2
    assert "budget" in said.stderr
    assert "budgets" in said.stderr  # the nearest key


def test_features_say_what_they_are_of(pets: Path) -> None:
    plan, _ = run_config(pets, stages=["features"])
    meta = read_features_meta(plan.experiment.features_dir / "p000.safetensors")
    assert meta["backbone"] == {"name": "precomputed"}
    assert meta["settings"]["size"] == 518
    assert len(meta["source"]["sha256"]) == 64
