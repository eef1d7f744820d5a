"""A backbone family of another package: one file and one line, up to the command line."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from conftest import EXAMPLE

from regiontree import RegionTree
from regiontree.backbones import load_backbone
from regiontree.backbones.command import backbones
from regiontree.backbones.registry import FAMILIES, is_of_a_family
from regiontree.backbones.weights import is_here
from regiontree.errors import BackboneError

CPU = torch.device("cpu")
FILE = """
import torch


class Colours:
    digest, dim = "1", 3
    device, dtype = torch.device("cpu"), torch.float32

    def __init__(self, argument, device, dtype, spec):
        self.name, self.patch = f"colours:{argument}", int(argument or 8)

    def features(self, pixels):
        pooled = torch.nn.functional.avg_pool2d(pixels + 0.1, self.patch)
        return pooled.permute(0, 2, 3, 1)
"""
LINE = "[regiontree.backbones]\nmine = colours:Colours\nbroken = nowhere:Nothing\n"


@pytest.fixture
def package(tmp_path) -> Path:
    """What ``pip install`` leaves of a package with that file and that line."""
    (tmp_path / "colours.py").write_text(FILE)
    about = tmp_path / "colours-1.0.dist-info"
    about.mkdir()
    (about / "METADATA").write_text("Metadata-Version: 2.1\nName: colours\nVersion: 1.0\n")
    (about / "entry_points.txt").write_text(LINE)
    return tmp_path


@pytest.fixture
def families(package, monkeypatch):
    """The families as a process finds them that starts with the package installed."""
    monkeypatch.syspath_prepend(str(package))
    monkeypatch.setattr(FAMILIES, "_looked", False)
    monkeypatch.setattr(FAMILIES, "_entries", dict(FAMILIES._entries))
    yield FAMILIES
    sys.modules.pop("colours", None)


def test_a_family_gets_what_stands_after_the_colon(families):
    assert {"embedded", "onnx", "mine"} <= set(families)
    for name, patch in (("mine:16", 16), ("mine", 8), ("mine:", 8)):
        backbone = load_backbone(name, CPU, torch.float32)
        assert backbone.patch == patch
        assert backbone.features(torch.rand(1, 3, 32, 48)).shape == (1, 32 // patch, 48 // patch, 3)
    assert is_here("mine:16")


def test_what_a_family_gives_is_checked(families):
    families.register("odd", lambda *_: object())
    with pytest.raises(BackboneError, match="has no attribute 'name'"):
        load_backbone("odd", CPU, torch.float32)


def test_mistakes_in_names_of_families(families):
    with pytest.raises(BackboneError, match=r"did you mean 'mine'\?.*onnx:FILE, mine:"):
        load_backbone("mime:16", CPU, torch.float32)
    with pytest.raises(BackboneError, match="'broken' of colours cannot be imported"):
        load_backbone("broken:1", CPU, torch.float32)
    with pytest.raises(BackboneError, match="use 'embedded'"):
        load_backbone("embedded:large", CPU, torch.float32)
    with pytest.raises(BackboneError, match="needs a file after the colon"):
        load_backbone("onnx:", CPU, torch.float32)


def test_a_family_never_takes_a_name_of_the_catalogue(families):
    families.register("dinov2_vitb14", lambda *_: object())
    assert not is_of_a_family("dinov2_vitb14")
    assert is_of_a_family("mine:dinov2_vitb14")


def test_from_the_command_line(package, tmp_path):
    path = os.pathsep.join([str(package), os.environ.get("PYTHONPATH", "")])
    command = ["segment", str(EXAMPLE), "-o", str(tmp_path / "out"), "--backbone", "mine:16"]
    done = subprocess.run(
        [sys.executable, "-m", "regiontree", *command, "--size", "160", "--device", "cpu"],
        env={**os.environ, "PYTHONPATH": path},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    (file,) = (tmp_path / "out").rglob("*.npz")
    assert RegionTree.load(file).meta["backbone"]["name"] == "colours:16"


def test_the_list_names_families_of_other_packages(families, capsys):
    assert backbones() == 0
    assert "mine:ARGUMENT" in capsys.readouterr().out
    assert backbones("mine:16") == 0
    assert "a family that another package adds" in capsys.readouterr().out
