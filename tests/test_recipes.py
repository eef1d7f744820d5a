"""The recipes of CONTRIBUTING.md, each as it stands there, up to the command line.

Their files become a package with entry points, as ``pip install`` would leave it. Their commands
run in a folder with a photograph, and with a data set that the recipes name.
"""

from __future__ import annotations

import json
import os
import re
import shlex
import subprocess
import sys
import tomllib
from pathlib import Path

import numpy as np
import pytest
from conftest import ROOT
from PIL import Image

from regiontree import RegionTree

SECTION = (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8").partition("## Adding a part")[2]
FILES = dict(re.findall(r'^```\w+ title="([\w./]+)"\n(.*?)^```', SECTION, flags=re.M | re.S))
LINES = re.findall(r"^```toml\n(.*?)^```", SECTION, flags=re.M | re.S)
COMMANDS = [
    line
    for block in re.findall(r"^```sh\n(.*?)^```", SECTION, flags=re.M | re.S)
    for line in block.splitlines()
]
SIZE = 64


def scene() -> np.ndarray:
    """A photograph of four squares, (64, 64, 3) uint8."""
    corners = np.array([[[210, 40, 30], [40, 190, 60]], [[40, 60, 200], [220, 210, 190]]], np.uint8)
    return corners.repeat(SIZE // 2, 0).repeat(SIZE // 2, 1)


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The package installed in ``site``, and the working folder of the commands around it."""
    place = tmp_path_factory.mktemp("recipes")
    for name, text in FILES.items():
        file = place / "site" / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text)
    (place / "site" / "mine" / "__init__.py").touch()
    about = place / "site" / "mine-1.0.dist-info"
    about.mkdir()
    (about / "METADATA").write_text("Metadata-Version: 2.1\nName: mine\nVersion: 1.0\n")
    points = []
    for block in LINES:
        for group, entries in tomllib.loads(block)["project"]["entry-points"].items():
            points += [f"[{group}]", *(f"{name} = {value}" for name, value in entries.items())]
    (about / "entry_points.txt").write_text("\n".join(points) + "\n")

    rgb = scene()
    Image.fromarray(rgb).save(place / "photo.png")
    header = b"RAW8" + np.array([SIZE, SIZE], "<u4").tobytes()
    (place / "photo.raw8").write_bytes(header + rgb.tobytes())
    data = place / "datasets" / "squares"
    for name in ("photos", "masks"):
        (data / name).mkdir(parents=True)
    Image.fromarray(rgb).save(data / "photos" / "photo.png")
    mask = np.array([[1, 2], [3, 4]], np.uint8).repeat(SIZE // 2, 0).repeat(SIZE // 2, 1)
    Image.fromarray(mask).save(data / "masks" / "photo.png")
    names = ("red", "green", "blue", "grey")
    (data / "labels.txt").write_text("".join(f"{n}\t{i}\t0\n" for i, n in enumerate(names, 1)))
    return place


def call(place: Path, *words: str) -> subprocess.CompletedProcess[str]:
    """The command line in that folder, with the package installed."""
    path = os.pathsep.join([str(place / "site"), os.environ.get("PYTHONPATH", "")])
    return subprocess.run(
        [sys.executable, "-m", "regiontree", *words],
        cwd=place,
        env={**os.environ, "PYTHONPATH": path, "OMP_NUM_THREADS": "1", "COLUMNS": "160"},
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )


def follow(place: Path, start: str) -> str:
    """Run the one command of the recipes that starts so; what it prints to standard output."""
    (command,) = (command for command in COMMANDS if command.startswith(f"regiontree {start}"))
    done = call(place, *shlex.split(command)[1:])
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.fixture(scope="module")
def trees(place: Path, embedded_installed: None) -> Path:
    """The folder of the tree that the first recipe makes."""
    follow(place, "segment photo.png -o trees")
    return place / "trees"


@pytest.mark.parametrize("name", FILES)
def test_a_recipe_is_at_most_ten_lines_beside_its_imports(name: str) -> None:
    lines = [line for line in FILES[name].splitlines() if line.strip()]
    code = [line for line in lines if not line.startswith(("import ", "from "))]
    assert 0 < len(code) <= 10


def test_every_recipe_has_a_file_a_line_and_a_command() -> None:
    assert len(FILES) == len(LINES) == len(COMMANDS) == 6


def test_a_tree_builder(place: Path, trees: Path) -> None:
    tree = RegionTree.load(trees / "photo.npz")
    assert (tree.n_leaves, tree.depth) == (5, 1)
    assert tree.meta["settings"]["tree"] == "star"
    listed = call(place, "settings", "tree.leaves")
    assert "Number of leaves below the root" in listed.stdout
    refused = call(place, "segment", "photo.png", "-o", "x", "--set", "tree.builder=star",
                   "--set", "tree.leaves=1")  # fmt: skip
    assert refused.returncode == 2
    assert "leaves must be a whole number in [2, 100], got 1" in refused.stderr


def test_a_family_of_networks(place: Path) -> None:
    follow(place, "segment photo.png -o coloured")
    meta = RegionTree.load(place / "coloured" / "photo.npz").meta
    assert meta["backbone"]["name"].startswith("colours:16")


def test_an_export_format_with_options(place: Path, trees: Path) -> None:
    follow(place, "export")
    tree = RegionTree.load(trees / "photo.npz")
    rows = (place / "areas" / "photo.csv").read_text().splitlines()
    assert rows == [f"{node},{area}" for node, area in enumerate(tree.area) if area >= 9]
    for option, said in (
        ("least=0", "least must be a whole number in [1, 1000000000], got 0"),
        ("leat=9", "did you mean 'least'?"),
        ("least", "--option must be name=value"),
    ):
        refused = call(place, "export", "trees", "--to", "areas", "-o", "no", "--option", option)
        assert refused.returncode == 2
        assert said in refused.stderr
    assert "areas" in call(place, "export", "trees", "--to", "arias").stderr
    python = (
        "from regiontree import RegionTree; tree = RegionTree.load('trees/photo.npz'); "
        "print(tree.export('areas', 'python.csv', least=9))"
    )
    path = os.pathsep.join([str(place / "site"), os.environ.get("PYTHONPATH", "")])
    subprocess.run([sys.executable, "-c", python], cwd=place, check=True,
                   env={**os.environ, "PYTHONPATH": path})  # fmt: skip
    assert (place / "python.csv").read_text().splitlines() == rows


def test_a_metric_with_its_column_in_every_report(place: Path, trees: Path) -> None:
    shown = follow(place, "evaluate")
    assert "leaves per region" in shown
    (table,) = (
        block
        for block in (place / "report" / "summary.md").read_text().split("\n\n")
        if "| leaves per region |" in block
    )
    assert table.splitlines()[-1].endswith("| 1.2 |")  # 5 leaves for 4 regions, to one digit
    summary = json.loads((place / "report" / "summary.json").read_text())
    assert summary["tables"]["pixel, depth 1"]["metrics"]["leaves"] == {"images": 1, "mean": 1.25}
    with_borders = call(place, "evaluate", "trees", "--dataset", "squares", "--metric", "boundary",
                        "--json")  # fmt: skip
    metrics = json.loads(with_borders.stdout)["tables"]["pixel, depth 1"]["metrics"]
    assert set(metrics) == {"boundary"}
    unknown = call(place, "evaluate", "trees", "--dataset", "squares", "--metric", "leafs")
    assert unknown.returncode == 2
    assert "did you mean 'leaves'?" in unknown.stderr


def test_a_metric_of_a_run(place: Path, trees: Path) -> None:
    """A config names metrics; their records are kept and merged as those of the coverings are."""
    config = {
        "dataset": "squares", "output": "run", "metrics": ["leaves", "boundary"],
        "settings": {"backbone": "colours:16", "size": 160, "parts": 12},
    }  # fmt: skip
    (place / "run.json").write_text(json.dumps(config))
    for _ in range(2):
        done = call(place, "run", "run.json", "--json")
        assert done.returncode == 0, done.stderr
        metrics = json.loads(done.stdout)["tables"]["pixel, depth 1"]["metrics"]
        assert set(metrics) == {"leaves", "boundary"}
    assert "0 images done, 1 kept" in done.stderr
    (place / "run.json").write_text(json.dumps({**config, "metrics": ["leafs"]}))
    refused = call(place, "run", "run.json")
    assert refused.returncode == 2
    assert "did you mean 'leaves'?" in refused.stderr


def test_a_data_set(place: Path) -> None:
    assert "complete" in follow(place, "datasets")
    assert "Squares, a made-up example (val)" in call(place, "datasets").stdout


def test_an_image_reader(place: Path, trees: Path) -> None:
    follow(place, "segment photo.raw8")
    tree = RegionTree.load(place / "raw" / "photo.npz")
    assert tree.shape == (SIZE, SIZE)
    folder = place / "folder"
    folder.mkdir()
    whole = (place / "photo.raw8").read_bytes()
    (folder / "whole.raw8").write_bytes(whole)
    (folder / "cut.raw8").write_bytes(whole[:100])
    (folder / "huge.raw8").write_bytes(b"RAW8" + np.array([10**6, 10**6], "<u4").tobytes())
    done = call(place, "segment", "folder", "-o", "many")
    assert done.returncode == 1
    assert "cut.raw8: is damaged or cut short" in done.stderr
    assert "huge.raw8: 1000000 x 1000000" in done.stderr
    assert (place / "many" / "whole.npz").exists()


@pytest.mark.parametrize(
    ("group", "value", "command", "said"),
    [
        ("exports", "gone:FORMAT", "export t.npz --to odd", "odd' of odd cannot be imported"),
        ("exports", "json:loads", "export t.npz --to odd", "must be a regiontree.export.Format"),
        ("metrics", "json:loads", "evaluate t.npz --dataset voc12", "must be a subclass of"),
        ("datasets", "json:none.yaml", "datasets", "none.yaml: no such file"),
        ("readers", "gone:Reader", "segment photo.png -o x", "odd' of odd cannot be imported"),
    ],
)
def test_a_package_whose_part_is_broken_is_named(
    tmp_path: Path, group: str, value: str, command: str, said: str
) -> None:
    about = tmp_path / "site" / "odd-1.0.dist-info"
    about.mkdir(parents=True)
    (about / "METADATA").write_text("Metadata-Version: 2.1\nName: odd\nVersion: 1.0\n")
    (about / "entry_points.txt").write_text(f"[regiontree.{group}]\nodd = {value}\n")
    Image.fromarray(scene()).save(tmp_path / "photo.png")
    done = call(tmp_path, *command.split())
    assert done.returncode != 0
    assert said in done.stderr
    assert "Traceback" not in done.stderr
