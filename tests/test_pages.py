"""Facts on the pages that stand in other files, too: packages, versions, limits, exit codes."""

from __future__ import annotations

import ast
import re
import sys
import tomllib

import numpy as np
import pytest
from conftest import ROOT
from PIL import Image
from trees import random_tree
from typer.testing import CliRunner

from regiontree.cli import app
from regiontree.errors import RegionTreeError
from regiontree.export import labelmap
from regiontree.images import MAX_PIXELS, tiff
from regiontree.refine import coarse, guided
from regiontree.system.inputs import find_files
from regiontree.system.reading import read_mapping
from regiontree.viewer import answers, application, index

PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
EXTRAS = PROJECT["optional-dependencies"]
FOR_DEVELOPERS = {"bench", "docs", "fuzz", "release", "dev"}


def page(name: str) -> str:
    return (ROOT / name).read_text(encoding="utf-8")


def package(requirement: str) -> str:
    return re.split(r"[^\w.-]", requirement)[0].lower()


def test_installing_is_as_the_pages_say():
    install = page("docs/guide/install.md")
    told = set(re.findall(r"^\| `(\w+)` \|", install, flags=re.M))
    assert told == set(EXTRAS) - FOR_DEVELOPERS
    assert f"Python {PROJECT['requires-python'].removeprefix('>=')} or later" in install
    for name in ("README.md", "docs/guide/install.md", "docs/how-to/notebook.md"):
        lines = re.findall(r"""pip install ['"](?:regiontree|\.)\[([\w,]+)\]['"]""", page(name))
        assert lines, name
        for extras in lines:
            assert set(extras.split(",")) <= set(EXTRAS), name
    makefile = page("Makefile")
    assert "VENV ?= .venv\n" in makefile
    assert "OUT ?= demo\n" in makefile
    assert "segment" in makefile
    assert "--pictures" in makefile
    assert "MIT" in str(PROJECT["license"])
    assert len(list((ROOT / "docs/notebooks").glob("*.ipynb"))) == 7  # "seven" in the README


def test_each_dependency_has_its_purpose():
    text = page("docs/dependencies.md")
    first = text[: text.index("`embedded`")]
    told = set(re.findall(r"^\| ([\w-]+) \|", first, flags=re.M)) - {"package", "extra"}
    assert told == {package(one) for one in PROJECT["dependencies"]}
    for extra, needs in EXTRAS.items():
        for one in needs:
            assert package(one) == "regiontree" or package(one) in text.lower(), (extra, one)


def test_make_installs_the_exact_versions_of_constraints():
    lines = [line.split("#")[0].strip() for line in page("constraints.txt").splitlines()]
    assert all("==" in line for line in lines if line)
    makefile = page("Makefile")
    installs = [line for line in makefile.splitlines() if "pip install" in line]
    assert all("constraints.txt" in line for line in installs)


def test_a_file_says_a_key_once_and_no_is_false(tmp_path):
    file = tmp_path / "a.yaml"
    file.write_text("pictures: no\nseed: 010\n")
    assert read_mapping(file, "a file") == {"pictures": False, "seed": 8}
    file.write_text("seed: 1\nseed: 2\n")
    with pytest.raises(RegionTreeError, match="seed"):
        read_mapping(file, "a file")


def test_data_sets_are_never_downloaded():
    for path in (ROOT / "src/regiontree/datasets").rglob("*.py"):
        text = path.read_text(encoding="utf-8")
        network = r"import .*\b(urllib\.request|http|socket|requests|huggingface_hub|address)\b"
        assert not re.search(network, text), path.name


def test_reading_images_needs_no_extra():
    needed = {package(one).replace("-", "_") for one in PROJECT["dependencies"]}
    needed = needed - {"pillow"} | {"PIL", "regiontree"}
    for path in (ROOT / "src/regiontree/images").glob("*.py"):
        if path.stem == "superpixels":  # divides a photograph that is read
            continue
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Import):
                names = [alias.name for alias in node.names]
            elif isinstance(node, ast.ImportFrom):
                names = [str(node.module)]
            else:
                continue
            rooms = {name.split(".")[0] for name in names}
            assert rooms <= needed | set(sys.stdlib_module_names), path.name


def test_limits_are_those_of_the_pages():
    images, viewer = page("docs/images.md"), page("docs/viewer.md")
    assert f"more than {MAX_PIXELS // 10**6} megapixels" in images
    assert f"more than {tiff._MANY_PIXELS // 10**6} megapixels" in images
    assert f"{answers._MAX_KEPT >> 20} MB of finished answers" in viewer
    assert f"{application._MAX_OPEN >> 20} MB of open trees" in viewer
    assert f"with at most {index._REGIONS} regions" in viewer
    tiles = page("docs/tiles.md")
    patches = f"windows of {coarse._WINDOW} patches with a margin of {coarse._MARGIN} "
    assert patches in tiles
    assert f"above {coarse._WHOLE**0.5:.0f} x {coarse._WHOLE**0.5:.0f} patches" in tiles
    assert f"windows of {guided._WINDOW:,} pixels" in tiles
    assert f"above {guided._WHOLE // 10**6} million pixels" in tiles
    (longest,) = (one for one in typer_command("gallery").params if "--longest" in one.opts)
    assert f"at `--longest` pixels ({longest.default})" in viewer
    granularities = next(
        one for one in typer_command("export").params if "--granularities" in one.opts
    )
    said = ",".join(map(str, labelmap.GRANULARITIES))
    assert f"[default: {said}]" in granularities.help


def typer_command(name: str):
    import typer.main

    return typer.main.get_command(app).commands[name]


@pytest.mark.parametrize(
    "wrong",
    ["show gone.npz", "settings nosuch", "backbones nosuch", "datasets nosuch",
     "datasets nosuch --check", "run gone.yaml", "segment gone.jpg -o out",
     "evaluate gone --dataset gone.yaml", "export gone.npz --to newick",
     "gallery gone.npz -o site", "view gone.npz --html page.html"],
)  # fmt: skip
def test_a_wrong_argument_ends_with_2(wrong, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    done = CliRunner().invoke(app, wrong.split())
    assert done.exit_code == 2
    assert done.stderr.strip()


def test_commands_of_trees_take_patterns(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for i in range(2):
        random_tree(np.random.default_rng(i), 5, (6, 6)).save(tmp_path / f"t{i}.npz")
    made = CliRunner().invoke(app, ["gallery", "t*.npz", "-o", "site"])
    assert made.exit_code == 0, made.stderr
    assert len(list((tmp_path / "site/pages").glob("*.html"))) == 2


def test_hidden_files_are_no_input(tmp_path):
    for name in (".hidden.png", "seen.png"):
        Image.new("RGB", (4, 4)).save(tmp_path / name)
    assert [file.name for file, _ in find_files([tmp_path], {".png"})] == ["seen.png"]
