"""The data sheet lists every file of the repository that is not text, and no other."""

from __future__ import annotations

import re
import subprocess
from fnmatch import fnmatch

import pytest
from conftest import ROOT

from regiontree.backbones import embedded

PICTURES = (".svg", ".ico", ".png", ".jpg")


def listed() -> list[str]:
    """Patterns in the first column of the tables of pictures and inputs."""
    text = (ROOT / "docs" / "data-sheet.md").read_text(encoding="utf-8")
    binary = text.partition("## Text with facts")[0]
    firsts = re.findall(r"^\| (`[^|]+) \|", binary, flags=re.M)
    return [pattern for first in firsts for pattern in re.findall(r"`([^`]+)`", first)]


def test_every_asset_is_in_the_data_sheet_and_nothing_else():
    done = subprocess.run(
        ["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, text=True, check=False
    )
    if done.returncode:
        pytest.skip("no checkout of git")
    files = [name for name in done.stdout.split("\0") if name and (ROOT / name).is_file()]
    assets = [
        name
        for name in files
        if name.endswith(PICTURES) or b"\0" in (ROOT / name).read_bytes()[:8192]
    ]
    patterns = listed()
    assert len(patterns) >= 8
    assert "examples/astronaut.jpg" in assets
    assert not [name for name in assets if name.startswith("src/")]
    unlisted = [name for name in assets if not any(fnmatch(name, p) for p in patterns)]
    assert not unlisted
    empty = [p for p in patterns if not any(fnmatch(name, p) for name in files)]
    assert not empty


def test_the_wheel_holds_no_picture_and_no_font():
    paths = (ROOT / "src" / "regiontree").rglob("*.*")
    kinds = {path.suffix for path in paths if path.parent.name != "__pycache__"}
    assert kinds <= {".py", ".pyc", ".pyi", ".typed", ".html", ".css", ".js", ".yaml"}


def test_the_model_card_has_the_digests_that_the_code_checks():
    text = (ROOT / "docs" / "model-card.md").read_text(encoding="utf-8")
    assert embedded.WEIGHTS_SHA256 in text
    assert embedded.ONNX_SHA256 in text
    assert f"{embedded.PACKAGE} {embedded.VERSION}" in text
