"""ONNX files as backbones: the same features as the network they were exported from."""

from __future__ import annotations

import hashlib
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from conftest import refused
from torch import Tensor, nn

from regiontree.backbones.base import FeatureSpec
from regiontree.backbones.embedded import IMAGENET_DEVIATION, IMAGENET_MEAN
from regiontree.backbones.onnxfile import OnnxBackbone
from regiontree.backbones.unfold import Unfolded
from regiontree.backbones.vit import VisionTransformer, VitShape
from regiontree.errors import BackboneError, MissingExtraError, SettingsError

onnx = pytest.importorskip("onnx", reason="the extra 'onnx' is not installed")
pytest.importorskip("onnxruntime", reason="the extra 'onnx' is not installed")

# Of the older exporter, which tracing makes; the newer one needs a package more.
pytestmark = [
    pytest.mark.filterwarnings("ignore::DeprecationWarning"),
    pytest.mark.filterwarnings("ignore::torch.jit.TracerWarning"),
]
CPU = torch.device("cpu")
ANY_SIZE = {"pixels": {0: "batch", 2: "height", 3: "width"}}


class Tokens(nn.Module):
    """Patches of 16 pixels that attend to each other, `prefix` tokens in front."""

    def __init__(self, prefix: int = 1, patch: int = 16) -> None:
        super().__init__()
        self.patches = nn.Conv2d(3, 8, patch, stride=patch)
        self.front = nn.Parameter(torch.randn(1, prefix, 8))

    def forward(self, pixels: Tensor) -> Tensor:
        tokens = self.patches(pixels).flatten(2).transpose(1, 2)
        tokens = torch.cat([self.front.expand(tokens.shape[0], -1, -1), tokens], 1)
        return tokens + torch.softmax(tokens @ tokens.transpose(1, 2), -1) @ tokens


class Map(nn.Module):
    """The same patches as a map, channels first or last."""

    def __init__(self, last: bool = False, stride: int = 8) -> None:
        super().__init__()
        self.patches = nn.Conv2d(3, 6, stride, stride=stride)
        self.last = last

    def forward(self, pixels: Tensor) -> Tensor:
        found = torch.tanh(self.patches(pixels))
        return found.permute(0, 2, 3, 1) if self.last else found


def export(
    module: nn.Module,
    path: Path,
    *,
    size: tuple[int, int] = (64, 64),
    axes: dict | None = ANY_SIZE,
    batch: int = 1,
    outputs: tuple[str, ...] = ("features",),
    **said: str,
) -> Path:
    """A module as an ONNX file: of any size, or of `size` only if `axes` is None."""
    torch.onnx.export(
        module.eval(), (torch.randn(batch, 3, *size),), str(path), dynamo=False,
        opset_version=17, input_names=["pixels"], output_names=[*outputs], dynamic_axes=axes,
    )  # fmt: skip
    return note(path, **said)


def note(path: Path, **said: str) -> Path:
    model = onnx.load(str(path))
    onnx.helper.set_model_props(model, {f"regiontree.{key}": said[key] for key in said})
    onnx.save(model, str(path))
    return path


def load(path: Path) -> OnnxBackbone:
    return OnnxBackbone(path, CPU, torch.float32, FeatureSpec())


def normalised(pixels: Tensor) -> Tensor:
    mean, deviation = (
        torch.tensor(values)[:, None, None] for values in (IMAGENET_MEAN, IMAGENET_DEVIATION)
    )
    return (pixels - mean) / deviation


@pytest.fixture(autouse=True)
def _seed():
    torch.manual_seed(0)


@pytest.fixture
def path(tmp_path) -> Path:
    return tmp_path / "Netz größer.onnx"


def vit() -> VisionTransformer:
    shape = VitShape(width=24, depth=2, heads=4, patch=14, positions=5)
    network = VisionTransformer(shape, FeatureSpec(descriptor="none"))
    for parameter in network.parameters():
        parameter.data = torch.randn_like(parameter) * 0.2
    return network.eval()


@pytest.mark.parametrize("grid", [(16, 16), (3, 8), (1, 1)])
def test_our_encoder_gives_the_same_features_from_a_file(path, grid):
    network = vit()
    backbone = load(export(network, path, size=(42, 70)))
    assert (backbone.patch, backbone.dim, backbone.dtype) == (14, 24, torch.float32)
    assert backbone.descriptor_dim == 24
    none = OnnxBackbone(path, CPU, torch.float32, FeatureSpec(descriptor="none"))
    assert none.descriptor_dim == 0
    assert backbone.name == path.name
    assert backbone.digest == hashlib.sha256(path.read_bytes()).hexdigest()
    pixels = torch.rand(2, 3, 14 * grid[0], 14 * grid[1])
    torch.testing.assert_close(
        backbone.features(pixels), network(normalised(pixels)), atol=1e-5, rtol=1e-5
    )


@pytest.mark.parametrize("prefix", [0, 1, 5])
@pytest.mark.parametrize("fixed", [False, True])
def test_tokens_in_front_are_counted_and_left_out(path, prefix, fixed):
    network = Tokens(prefix)
    backbone = load(export(network, path, axes=None if fixed else ANY_SIZE, size=(64, 96)))
    assert (backbone.patch, backbone.dim) == (16, 8)
    pixels = torch.rand(1, 3, 64, 96)
    expected = network(normalised(pixels))[:, prefix:].reshape(1, 4, 6, 8)
    torch.testing.assert_close(backbone.features(pixels), expected, atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("last", [False, True])
@pytest.mark.parametrize("fixed", [False, True])
def test_maps_of_either_order(path, last, fixed):
    network = Map(last)
    backbone = load(export(network, path, axes=None if fixed else ANY_SIZE, size=(64, 48)))
    assert (backbone.patch, backbone.dim) == (8, 6)
    pixels = torch.rand(1, 3, 64, 48)
    expected = network.patches(normalised(pixels)).tanh().permute(0, 2, 3, 1)
    found = backbone.features(pixels)
    assert found.is_contiguous()
    torch.testing.assert_close(found, expected, atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("module", [vit, Map, lambda: Map(last=True)], ids=["vit", "nchw", "nhwc"])
def test_patches_come_back_where_they_were(path, module):
    """One odd patch changes its own feature the most: rows and columns are not mixed up."""
    backbone = load(export(module(), path, size=(56, 112)))
    patch = backbone.patch
    plain = torch.full((1, 3, 5 * patch, 3 * patch), 0.5)
    odd = plain.clone()
    odd[:, :, 3 * patch : 4 * patch, patch : 2 * patch] = 1.0
    change = (backbone.features(odd) - backbone.features(plain)).norm(dim=-1)[0]
    assert divmod(int(change.argmax()), 3) == (3, 1)


def test_a_fixed_file_names_the_size_to_pass_and_takes_batches_one_by_one(path):
    network = Tokens()
    backbone = load(export(network, path, axes=None, size=(64, 96)))
    with refused(BackboneError, "64x96", "got 96x64", "pass "):
        backbone.features(torch.rand(1, 3, 96, 64))
    pixels = torch.rand(3, 3, 64, 96)
    one_by_one = torch.cat([backbone.features(one[None]) for one in pixels])
    assert torch.equal(backbone.features(pixels), one_by_one)


def test_crops_bring_a_fixed_file_to_any_size(path):
    backbone = load(export(Map(), path, axes=None))
    pixels = torch.rand(1, 3, 96, 128)
    found = Unfolded(backbone, (64, 64), (32, 32)).features(pixels)
    any_size = load(export(Map(), path))  # seed apart, the layout is what counts here
    assert found.shape == any_size.features(pixels).shape == (1, 12, 16, 6)


def test_one_side_may_be_fixed(path):
    backbone = load(export(Tokens(), path, axes={"pixels": {3: "width"}}))
    assert backbone.patch == 16
    assert backbone.features(torch.rand(1, 3, 64, 32)).shape == (1, 4, 2, 8)
    with refused(BackboneError, "64x32", "got 32x32"):
        backbone.features(torch.rand(1, 3, 32, 32))


def test_what_the_file_says_of_itself_is_followed(path):
    network = Tokens(prefix=20, patch=12)
    with refused(BackboneError, "no patch features", "features (1, 344, 8)"):
        load(export(network, path))
    note(path, patch="12", prefix="20", mean="0.5,0.5,0.5", std="0.5, 0.25, 1")
    backbone = load(path)
    assert backbone.patch == 12
    pixels = torch.rand(1, 3, 24, 36)
    scaled = (pixels - 0.5) / torch.tensor([0.5, 0.25, 1.0])[:, None, None]
    expected = network(scaled)[:, 20:].reshape(1, 2, 3, 8)
    torch.testing.assert_close(backbone.features(pixels), expected, atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize(
    ("said", "message"),
    [
        ({"patch": "14px"}, r"regiontree\.patch.* whole number.*'14px'"),
        ({"patch": "7"}, "holds no patch features"),
        ({"prefix": "2"}, "holds no patch features"),
        ({"mean": "0.5"}, r"regiontree\.mean.* three numbers.*'0\.5'"),
        ({"std": "1,x,1"}, r"regiontree\.std.* three numbers"),
        ({"std": "1,0,1"}, r"regiontree\.std.* above 0"),
        ({"output": "tokens"}, r"'tokens'.* it has features"),
    ],
)
def test_what_it_says_wrongly_is_told(path, said, message):
    export(Tokens(), path, **said)
    with pytest.raises(BackboneError, match=message) as caught:
        load(path)
    assert str(caught.value).startswith(f"{path}: ")


class Several(nn.Module):
    """A class score, an early layer and the last one."""

    def __init__(self) -> None:
        super().__init__()
        self.tokens = Tokens()

    def forward(self, pixels: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        tokens = self.tokens(pixels)
        return tokens.mean(1), tokens, 2 * tokens


@pytest.mark.parametrize(
    ("names", "said", "scale"),
    [
        (("pooled", "early", "late"), {}, 1.0),
        (("pooled", "early", "last_hidden_state"), {}, 2.0),
        (("pooled", "early", "last_hidden_state"), {"output": "early"}, 1.0),
    ],
    ids=["first that fits", "by its usual name", "named by the file"],
)
def test_which_of_several_outputs_is_taken(path, names, said, scale):
    network = Several()
    backbone = load(export(network, path, outputs=names, **said))
    pixels = torch.rand(1, 3, 32, 48)
    expected = scale * network.tokens(normalised(pixels))[:, 1:].reshape(1, 2, 3, 8)
    torch.testing.assert_close(backbone.features(pixels), expected, atol=1e-5, rtol=1e-5)


def test_half_precision_files_run_in_it(path):
    network = Map()
    export(network, path)
    model = onnx.load(str(path))
    half = onnx.TensorProto.FLOAT16
    for tensor in model.graph.initializer:
        array = onnx.numpy_helper.to_array(tensor).astype(np.float16)
        tensor.CopyFrom(onnx.numpy_helper.from_array(array, tensor.name))
    for value in (*model.graph.input, *model.graph.output):
        value.type.tensor_type.elem_type = half
    onnx.save(model, str(path))
    backbone = load(path)
    assert backbone.dtype == torch.float16
    pixels = torch.rand(1, 3, 32, 48)
    expected = network(normalised(pixels)).permute(0, 2, 3, 1)
    found = backbone.features(pixels)
    assert found.dtype == torch.float32
    torch.testing.assert_close(found, expected, atol=1e-2, rtol=1e-2)


def test_weights_beside_the_file_are_read_and_part_of_the_digest(path, tmp_path):
    network = vit()
    model = onnx.load(str(export(network, path, size=(42, 70))))
    onnx.save(
        model, str(path), save_as_external_data=True, location="weights.bin", size_threshold=0
    )
    weights = tmp_path / "weights.bin"
    backbone = load(path)
    pixels = torch.rand(1, 3, 28, 42)
    torch.testing.assert_close(
        backbone.features(pixels), network(normalised(pixels)), atol=1e-5, rtol=1e-5
    )
    data = bytearray(weights.read_bytes())
    data[-1] ^= 1
    weights.write_bytes(data)
    assert load(path).digest != backbone.digest
    weights.unlink()
    with refused(BackboneError, str(path), "external data", "beside it"):
        load(path)


class Classifier(nn.Module):
    def forward(self, pixels: Tensor) -> Tensor:
        return pixels.mean((2, 3)) @ torch.ones(3, 1000)


class TwoInputs(nn.Module):
    def forward(self, pixels: Tensor, mask: Tensor) -> Tensor:
        return pixels * mask


def test_networks_without_patch_features(path):
    with refused(BackboneError, "no patch features", "features (1, 1000)"):
        load(export(Classifier(), path))
    torch.onnx.export(
        TwoInputs(), (torch.rand(1, 3, 8, 8), torch.rand(1, 1, 8, 8)), str(path), dynamo=False,
        input_names=["pixels", "mask"],
    )  # fmt: skip
    with refused(BackboneError, "one input", "pixels ", "mask "):
        load(path)
    with refused(BackboneError, "any or 1", "it has pixels"):
        load(export(Map(), path, axes=None, batch=4))


def test_a_file_that_says_any_size_and_means_one(path):
    class Fixed(Tokens):
        def forward(self, pixels: Tensor) -> Tensor:
            return super().forward(pixels) + torch.linspace(0, 1, 17)[:, None]

    export(Fixed(), path)
    with refused(BackboneError, "224x224", "export it"):
        load(path)


def test_files_that_are_no_network(path, tmp_path):
    for damaged in (b"", b"<html>not found</html>", b"version https://git-lfs.github.com"):
        path.write_bytes(damaged)
        with refused(BackboneError, str(path), "ONNX file", "damaged") as caught:
            load(path)
        assert str(caught.value).startswith(f"{path}: ")
    whole = export(Map(), path).read_bytes()
    path.write_bytes(whole[: len(whole) // 2])
    with refused(BackboneError, str(path), "ONNX file", "damaged"):
        load(path)
    with refused(BackboneError, "gone.onnx", "no such"):
        load(tmp_path / "gone.onnx")
    with refused(BackboneError, str(tmp_path), "folder", ".onnx file in it"):
        load(tmp_path)


def test_no_file_outside_its_folder_is_opened(path, tmp_path):
    model = onnx.load(str(export(Map(), path)))
    onnx.save(model, str(path), save_as_external_data=True, location="w.bin", size_threshold=0)
    inside = tmp_path / "inside"
    inside.mkdir()
    model = onnx.load(str(path), load_external_data=False)
    for tensor in model.graph.initializer:
        next(e for e in tensor.external_data if e.key == "location").value = "../w.bin"
    (inside / "x.onnx").write_bytes(model.SerializeToString())
    with refused(BackboneError, "x.onnx", "external data"):
        load(inside / "x.onnx")


def test_what_cannot_be_followed_is_refused(path, monkeypatch):
    export(Map(), path)
    with refused(SettingsError, "layers", "facet", "positions"):
        OnnxBackbone(path, CPU, torch.float32, FeatureSpec(layers=(1,)))
    with refused(BackboneError, "CUDA", "install onnxruntime-gpu"):
        OnnxBackbone(path, torch.device("cuda"), torch.float16, FeatureSpec())
    monkeypatch.setitem(sys.modules, "onnxruntime", None)
    with refused(MissingExtraError, "pip install 'regiontree[onnx]'"):
        load(path)
