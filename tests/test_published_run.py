"""A user of the published code brings configs, label files and data as they are, and runs them."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
from test_experiments import call

IDS = ("2007_000175", "2007_000332", "2007_000464")
VARIANT = "simultaneous/symmetrical/cosine/maxgap/topdown"


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


def test_the_published_command_gives_the_published_files(
    published: Path, embedded_installed: None
) -> None:
    said = call(
        "run", "--conf", "configs/voc12.json", "--model", "embedded", processes=2, cwd=published
    )
    assert said.returncode == 0, said.stderr
    assert "3 images done, 0 kept, 0 problems" in said.stderr
    # what this run does otherwise than the config says is named
    assert "'dinov2_vitb14_reg' of the config is replaced by 'embedded'" in said.stderr
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
    assert "the weights of dinov2_vitb14_reg are not on this machine" in said.stdout
    assert ("3 images" in said.stdout) == (name == "voc12")
    assert ("is in none of the folders searched" in said.stdout) == (name != "voc12")
    refused = call("run", "--conf", f"configs/{name}.json", cwd=published)
    assert refused.returncode == 2
    if name == "voc12":
        assert "facebook/dinov2-with-registers-base" in refused.stderr
        assert "Without network there are embedded, precomputed:FOLDER" in refused.stderr
    assert not (published / "data").exists()


def test_the_working_folder_of_that_code_is_found_from_elsewhere(
    published: Path, tmp_path_factory: pytest.TempPathFactory
) -> None:
    elsewhere = tmp_path_factory.mktemp("elsewhere")
    said = call("run", published / "configs" / "voc12.json", "--dry-run", cwd=elsewhere)
    assert said.returncode == 0, said.stderr
    assert "3 images" in said.stdout
