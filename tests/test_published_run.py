"""A user of the published code brings configs, label files and data as they are, and runs them.

The first tests need nothing but the project: a working folder in the format of the published code,
written here, with features of known scenes. The others take the published files themselves.
"""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import brute_force
import numpy as np
import pytest
from dense_published import Published, coverings, planted_scene, publish
from PIL import Image
from test_experiments import call

from regiontree.datasets.labels import load_label_tree
from regiontree.tree import RegionTree

IDS = ("2007_000175", "2007_000332", "2007_000464")
VARIANT = "simultaneous/symmetrical/cosine/maxgap/topdown"


SCENES = {"s0": 0, "s1": 1, "s2": 2}  # the image and the seed of its scene
PIXELS = 4  # along each side of a patch

# A name, the value in masks, and 1 for background: what a tab stands before is inside.
LABELS = """\
background\t0\t1
first
\tone
\t\tleft\t1\t0
\t\tright\t2\t0
\ttwo
\t\tabove\t3\t0
\t\tbelow\t4\t0
second
\ta\t5\t0
\tb\t6\t0
\tc\t7\t0
\td\t8\t0
third
\te\t9\t0
\tf\t10\t0
\tg\t11\t0
\th\t12\t0
void\t255\t2
"""
# The same for the formulas: kinds of patches are classes 0 to 12, and then come what is around.
CLASS_PARENTS = [-1, 16, 16, 17, 17, *[14] * 4, *[15] * 4, -1, -1, -1, 13, 13]
OBJECT_OF_KIND = np.array([0, *[1] * 4, *[2] * 4, *[3] * 4])


def scenes_config(**changes: Any) -> dict[str, Any]:
    """A config with every key of the published ones, for the folder of :func:`scenes`."""
    log = {"logging": "INFO", "log_filename": "log"}
    window = {"stride": None, "kernel": None, "unfold": False}
    return {
        "output_root": "out",
        "model": "dinov2_vits14",
        "dataset": "scenes",
        "split": "val",
        "datasets_config": "./configs/datasets.json",
        "conf_export": True,
        "seed": 3,
        "dist_url": "env://",
        "schedule": ["extract_features", "semantic_ncuts", "create_stats"],
        "tasks": {
            "extract_features": {
                "output_folder": "features", **log, "batch_size_per_gpu": 2, "num_workers": 2,
                "resume": False, "resize": [168, 168], **window,
            },
            "semantic_ncuts": {
                "output_folder": "ncuts", **log, "save_strips": False, "num_workers": 2,
                "overclustering": "simultaneous", "merging": "topdown",
                "normalization": "symmetrical", "distance": "cosine", "adjacency": "minmax",
                "heuristic": "maxgap", "scaling": "unit", "kover": 13, "thresh": 0.0, "sigma": 1,
                "max_kways": 10, "eig_stab_th": None, "mncut_th": 0.8, "max_perturb": 80,
                "min_points": 1, "resume": False, "levels": 9, **window, **changes,
            },
            "postprocess_crf": {"output_folder": "crf", **log, "num_workers": 2},
            "create_stats": {"output_folder": "stats", **log, "num_workers": 2,
                             "save_strips": False},
        },
    }  # fmt: skip


@pytest.fixture
def scenes(tmp_path: Path) -> Path:
    """A working folder as the published code has it: three known scenes and their features."""
    data = tmp_path / "datasets" / "scenes"
    for folder in (data / "images", data / "masks", tmp_path / "features", tmp_path / "configs",
                   tmp_path / "labels"):  # fmt: skip
        folder.mkdir(parents=True)
    for name, seed in SCENES.items():
        features, kind = planted_scene(seed)
        np.save(tmp_path / "features" / f"{name}.npy", features)
        mask = kind.astype(np.uint8).repeat(PIXELS, 0).repeat(PIXELS, 1)
        Image.fromarray(mask).save(data / "masks" / f"{name}.png")
        Image.fromarray(20 * mask).convert("RGB").save(data / "images" / f"{name}.png")
    (data / "val.txt").write_text("\n".join(SCENES))
    files = {"list_txt": "./datasets/scenes/val.txt", "ext": "png"}
    described = {
        "img": {"dir": "./datasets/scenes/images", **files},
        "annot": {
            "dir": "./datasets/scenes/masks", **files, "labels_txt": "./labels/scenes.txt"
        },
    }  # fmt: skip
    (tmp_path / "configs" / "datasets.json").write_text(json.dumps({"scenes": {"val": described}}))
    (tmp_path / "configs" / "scenes.json").write_text(json.dumps(scenes_config()))
    (tmp_path / "labels" / "scenes.txt").write_text(LABELS)
    return tmp_path


def test_a_published_config_gives_the_trees_and_scores_of_the_published_method(
    scenes: Path,
) -> None:
    """From config, label file, masks and features to tables, against two second implementations.

    Trees and coverings: ``dense_published.py``, which is the published method written out. The
    semantic scores: ``brute_force.py``, which is the metrics written out, on the trees saved.
    """
    said = call("run", "--conf", "configs/scenes.json", "--model", "precomputed:features",
                cwd=scenes)  # fmt: skip
    assert said.returncode == 0, said.stderr
    (stats,) = (scenes / "out" / "scenes").glob("*/stats/val/simultaneous/symmetrical/cosine/*/*")
    (trees,) = (scenes / "out" / "scenes").glob("*/ncuts/val/simultaneous/*/cosine/*/*/trees")
    assert stats.relative_to(stats.parents[1]) == Path("maxgap/topdown")

    labels = load_label_tree(scenes / "labels" / "scenes.txt").classes()
    nested, flat, formulas = [], [], []
    for name, seed in SCENES.items():
        features, kind = planted_scene(seed)
        dense = publish(features, Published(kover=13))
        nested.append(coverings(dense, kind, CLASS_PARENTS))
        flat.append(coverings(dense, OBJECT_OF_KIND[kind], [-1] * 4))
        tree = RegionTree.load(trees / f"{name}.npz")
        on_grid = RegionTree(
            labels=tree.labels[::PIXELS, ::PIXELS], parents=tree.parents, height=tree.height
        )
        found = brute_force.score(on_grid, kind, labels)
        assert found is not None
        formulas.append(found)

    config = json.loads((scenes / "configs" / "scenes.json").read_text())
    assert (stats / "config.json").is_file() == config["conf_export"]

    hierarchical = json.loads((stats / "results_hier_scenes_val_max_0.0.json").read_text())
    assert hierarchical["nmcovering"] == pytest.approx(np.mean([nm for nm, _ in nested]))
    assert hierarchical["nhcovering"] == pytest.approx(np.mean([nh for _, nh in nested]))
    assert 0.5 < hierarchical["nhcovering"] < hierarchical["nmcovering"] < 1
    depth_1 = json.loads((stats / "results_scenes_val_1.json").read_text())
    assert depth_1["hnecovering"] == pytest.approx(np.mean([nm for nm, _ in flat]))
    expected = brute_force.data_set(formulas, labels)
    for name in ("miou", "pacc", "macc"):
        assert hierarchical[name] == pytest.approx(expected[name])
    assert hierarchical["fwiou"] == pytest.approx(expected["fiou"])


def test_a_published_config_is_checked_before_anything_runs(
    scenes: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A dry run names the folders and the missing weights, and writes nothing."""
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    monkeypatch.setenv("HF_HOME", str(scenes / "hub"))
    said = call("run", "--conf", "configs/scenes.json", "--dry-run", cwd=scenes)
    assert said.returncode == 0, said.stderr
    assert "3 images" in said.stdout
    assert "create_stats -> out/" in said.stdout
    assert any("dinov2_vits14" in line and "weights" in line for line in said.stdout.splitlines())
    assert not (scenes / "out").exists()


@pytest.fixture
def published(data: Path, tmp_path: Path) -> Path:
    """A working folder of that code: configs, labels, and three images of VOC 2012."""
    reference = data.parent / "reference"
    if not (reference / "configs").is_dir():
        pytest.skip("no published configs beside the data folder")
    for name in ("configs", "labels"):
        shutil.copytree(reference / name, tmp_path / name)
    voc = tmp_path / "datasets" / "voc12" / "VOCdevkit" / "VOC2012"
    for name in ("JPEGImages", "SegmentationClass", "ImageSets/Segmentation"):
        (voc / name).mkdir(parents=True)
    for i in IDS:
        shutil.copy(data / "voc2012" / "images" / f"{i}.jpg", voc / "JPEGImages")
        shutil.copy(data / "voc2012" / "annotations" / f"{i}.png", voc / "SegmentationClass")
    (voc / "ImageSets" / "Segmentation" / "val.txt").write_text("\n".join(IDS))
    return tmp_path


@pytest.mark.slow
@pytest.mark.distributed
def test_the_published_command_gives_the_published_files(
    published: Path, embedded_installed: None
) -> None:
    said = call(
        "run", "--conf", "configs/voc12.json", "--model", "embedded", processes=2, cwd=published
    )
    assert said.returncode == 0, said.stderr
    assert "3 images done, 0 kept, 0 problems" in said.stderr
    # what this run does otherwise than the config says is named
    assert any(
        "dinov2_vitb14_reg" in line and "embedded" in line for line in said.stderr.splitlines()
    )
    assert "the paper" in said.stdout

    root = published / "data" / "voc12" / "embedded"
    trees = root / "ncuts" / "val" / VARIANT
    assert sorted(p.stem for p in (trees / "trees").glob("*.npz")) == list(IDS)
    assert sorted(p.stem for p in (trees / "imgs").glob("*.png")) == list(IDS)
    assert sorted(p.stem for p in (root / "features").glob("*.safetensors")) == list(IDS)
    stats = root / "stats" / "val" / VARIANT

    flat = json.loads((stats / "results_voc12_val_1.json").read_text())
    assert {"mapping", "freq", "miou", "pacc", "macc", "fwiou", "dataset", "hnecovering",
            "nfcovering", "background", "cat", "couch"} <= flat.keys()  # fmt: skip
    assert 0.5 < flat["miou"] <= 1
    assert len(flat["freq"]) == 21
    hier = json.loads((stats / "results_hier_voc12_val_max_0.0.json").read_text())
    assert {"thresh", "freq", "miou", "nhcovering", "nmcovering", "person"} <= hier.keys()
    # one level only: the hierarchy has nothing to add
    assert hier["nmcovering"] == hier["nhcovering"] == flat["hnecovering"]
    summary = json.loads((stats / "summary.json").read_text())
    assert summary["tables"]["grid, depth 1"]["miou"] == flat["miou"]
    assert summary["paper"]["level"]["nm"] == 75.4


@pytest.mark.slow
@pytest.mark.parametrize(
    "name", ["voc12", "coco_stuff", "coco_things", "cityscapes", "partimagenet", "pascalpart"]
)
def test_a_dry_run_accepts_every_published_config_and_says_what_is_missing(
    published: Path, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    monkeypatch.setenv("HF_HOME", str(published / "hub"))
    said = call("run", "--conf", f"configs/{name}.json", "--dry-run", cwd=published)
    assert said.returncode == 0, said.stderr
    assert "create_stats -> data/" in said.stdout
    assert any(
        "dinov2_vitb14_reg" in line and "weights" in line for line in said.stdout.splitlines()
    )
    assert ("3 images" in said.stdout) == (name == "voc12")
    assert ("datasets/" in said.stdout) == (name != "voc12")  # the folders not found are named
    refused = call("run", "--conf", f"configs/{name}.json", cwd=published)
    assert refused.returncode == 2
    if name == "voc12":
        for way_out in ("facebook/dinov2-with-registers-base", "embedded", "precomputed:FOLDER"):
            assert way_out in refused.stderr
    assert not (published / "data").exists()


def test_the_working_folder_of_that_code_is_found_from_elsewhere(
    published: Path, tmp_path_factory: pytest.TempPathFactory
) -> None:
    elsewhere = tmp_path_factory.mktemp("elsewhere")
    said = call("run", published / "configs" / "voc12.json", "--dry-run", cwd=elsewhere)
    assert said.returncode == 0, said.stderr
    assert "3 images" in said.stdout
