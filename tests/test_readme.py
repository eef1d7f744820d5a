"""The README is true: its code runs, its commands exist, its links lead somewhere."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys

import numpy as np
import pytest
from conftest import EXAMPLE, ROOT, blocks

README = (ROOT / "README.md").read_text(encoding="utf-8")


def code(language: str) -> list[str]:
    return re.findall(rf"```{language}\n(.*?)```", README, flags=re.S)


@pytest.mark.usefixtures("embedded_installed")
def test_the_python_runs_as_written(tmp_path, monkeypatch):
    shutil.copy(EXAMPLE, tmp_path / "photo.jpg")
    monkeypatch.chdir(tmp_path)
    names: dict[str, object] = {}
    for block in code("python"):
        exec(compile(block, "README.md", "exec"), names)  # our own file
    assert (tmp_path / "photo.npz").is_file()
    assert names["features"].shape == (74, 74, 384)
    assert names["tree"].shape == (512, 512)


def commands() -> list[list[str]]:
    lines = "\n".join(code("sh")).splitlines() + re.findall(r"`(regiontree [^`]+)`", README)
    return [line.split("#")[0].split() for line in lines if line.startswith("regiontree ")]


def test_the_commands_are_there():
    assert len(commands()) >= 4


@pytest.mark.usefixtures("embedded_installed")
@pytest.mark.parametrize("command", commands(), ids=" ".join)
def test_each_command_runs(command, tmp_path):
    """As written, with small pictures in place of the reader's folders."""
    from PIL import Image

    (tmp_path / "photos").mkdir()
    Image.open(EXAMPLE).resize((90, 90)).save(tmp_path / "photos/photo.jpg")
    (tmp_path / "masks").mkdir()
    Image.new("L", (90, 90), 1).save(tmp_path / "masks/photo.png")
    (tmp_path / "labels.txt").write_text("astronaut\t1\t0\n")
    (tmp_path / "mine.yaml").write_text(code("yaml")[0])
    shutil.copytree(ROOT / "configs", tmp_path / "configs")
    (tmp_path / "features").mkdir()
    np.save(tmp_path / "features/a.npy", blocks(8, 8, 6))
    regiontree = [sys.executable, "-m", "regiontree"]
    if command[1] == "run":
        command = [*command, "--size", "140x140"]
    elif command[1] in ("view", "gallery"):
        shutil.copy(tmp_path / "photos/photo.jpg", tmp_path)
        page = ["--html", "page.html"] if command[1] == "view" else []  # a server would not end
        command = [*command, "--preset", "fast", *page]
    elif command[1] != "segment":
        prepare = [*regiontree, "segment", "photos", "-o", "trees", "--size", "140"]
        subprocess.run(prepare, cwd=tmp_path, check=True)
    elif "precomputed" not in command:
        command = [*command, "--size", "140"]
    done = subprocess.run([*regiontree, *command[1:]], cwd=tmp_path, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


def test_make_has_the_two_commands():
    makefile = (ROOT / "Makefile").read_text()
    for target in re.findall(r"^make (\w+)", "\n".join(code("sh")), flags=re.M):
        assert re.search(rf"^{target}:", makefile, flags=re.M)
    assert "make test" in (ROOT / ".ci/run").read_text()


def test_links_lead_somewhere():
    pages = [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md")), ROOT / "CONTRIBUTING.md"]
    for page in pages:
        for link in re.findall(r"\]\(([^)#]+)\)", page.read_text(encoding="utf-8")):
            if not link.startswith("http"):
                assert (page.parent / link).exists(), f"{page.name} links to {link}"
