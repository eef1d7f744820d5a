"""Official checkpoints: read as their authors' own code would, written out here once more."""

from __future__ import annotations

import pickle
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional

from regiontree.backbones import checkpoints
from regiontree.backbones.base import FeatureSpec
from regiontree.backbones.checkpoints import is_checkpoint, load_checkpoint
from regiontree.backbones.huggingface import HuggingFaceBackbone
from regiontree.errors import BackboneError

pytest.importorskip("transformers", reason="the library that runs the networks")

CPU = torch.device("cpu")
PATCH, SIDE = 8, 3


class Scale(nn.Module):
    def __init__(self, width: int) -> None:
        super().__init__()
        self.gamma = nn.Parameter(torch.ones(width))

    def forward(self, x: Tensor) -> Tensor:
        return x * self.gamma


class Attention(nn.Module):
    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.qkv = nn.Linear(width, 3 * width)
        self.proj = nn.Linear(width, width)

    def forward(self, x: Tensor) -> Tensor:
        batch, tokens, width = x.shape
        query, key, value = (
            part.reshape(batch, tokens, self.heads, -1).transpose(1, 2)
            for part in self.qkv(x).chunk(3, dim=2)
        )
        weights = (query @ key.transpose(2, 3) / query.shape[3] ** 0.5).softmax(dim=3)
        return self.proj((weights @ value).transpose(1, 2).reshape(batch, tokens, width))


class Mlp(nn.Module):
    def __init__(self, width: int, gated: bool) -> None:
        super().__init__()
        self.gated = gated
        if gated:
            inner = (int(width * 4 * 2 / 3) + 7) // 8 * 8
            self.w12 = nn.Linear(width, 2 * inner)
            self.w3 = nn.Linear(inner, width)
        else:
            self.fc1 = nn.Linear(width, 4 * width)
            self.fc2 = nn.Linear(4 * width, width)

    def forward(self, x: Tensor) -> Tensor:
        if self.gated:
            gate, up = self.w12(x).chunk(2, dim=2)
            return self.w3(functional.silu(gate) * up)
        return self.fc2(functional.gelu(self.fc1(x)))


class Block(nn.Module):
    def __init__(self, width: int, heads: int, scaled: bool, gated: bool) -> None:
        super().__init__()
        self.norm1 = nn.LayerNorm(width, eps=1e-6)
        self.attn = Attention(width, heads)
        self.ls1 = Scale(width) if scaled else nn.Identity()
        self.norm2 = nn.LayerNorm(width, eps=1e-6)
        self.mlp = Mlp(width, gated)
        self.ls2 = Scale(width) if scaled else nn.Identity()

    def forward(self, x: Tensor) -> Tensor:
        x = x + self.ls1(self.attn(self.norm1(x)))
        return x + self.ls2(self.mlp(self.norm2(x)))


class PatchEmbed(nn.Module):
    def __init__(self, width: int) -> None:
        super().__init__()
        self.proj = nn.Conv2d(3, width, PATCH, stride=PATCH)


class Vit(nn.Module):
    """A vision transformer under the names of the official checkpoints."""

    def __init__(
        self, width: int, heads: int, *, distilled: bool = False, scaled: bool = False,
        gated: bool = False, registers: int = 0, depth: int = 2,
    ) -> None:  # fmt: skip
        super().__init__()
        self.cls_token = nn.Parameter(torch.empty(1, 1, width))
        if distilled:
            self.dist_token = nn.Parameter(torch.empty(1, 1, width))
        if registers:
            self.register_tokens = nn.Parameter(torch.empty(1, registers, width))
        if scaled:
            self.mask_token = nn.Parameter(torch.empty(1, width))
        self.pos_embed = nn.Parameter(torch.empty(1, 1 + distilled + SIDE**2, width))
        self.patch_embed = PatchEmbed(width)
        self.blocks = nn.ModuleList(Block(width, heads, scaled, gated) for _ in range(depth))
        self.norm = nn.LayerNorm(width, eps=1e-6)
        for parameter in self.parameters():
            parameter.data = torch.randn(parameter.shape) * 0.1

    def forward(self, pixels: Tensor) -> Tensor:
        patches = self.patch_embed.proj(pixels).flatten(2).transpose(1, 2)
        first = [self.cls_token]
        if hasattr(self, "dist_token"):
            first.append(self.dist_token)
        tokens = torch.cat([*first, patches], dim=1) + self.pos_embed
        if hasattr(self, "register_tokens"):
            tokens = torch.cat([tokens[:, :1], self.register_tokens, tokens[:, 1:]], dim=1)
        for block in self.blocks:
            tokens = block(tokens)
        return self.norm(tokens)[:, -(SIDE**2) :].reshape(1, SIDE, SIDE, -1)


class Bottleneck(nn.Module):
    def __init__(self, channels: int, inner: int, stride: int) -> None:
        super().__init__()
        out = 4 * inner
        self.conv1 = nn.Conv2d(channels, inner, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(inner)
        self.conv2 = nn.Conv2d(inner, inner, 3, stride=stride, padding=1, bias=False)
        self.bn2 = nn.BatchNorm2d(inner)
        self.conv3 = nn.Conv2d(inner, out, 1, bias=False)
        self.bn3 = nn.BatchNorm2d(out)
        self.downsample = None
        if stride > 1 or channels != out:
            shortcut = nn.Conv2d(channels, out, 1, stride=stride, bias=False)
            self.downsample = nn.Sequential(shortcut, nn.BatchNorm2d(out))

    def forward(self, x: Tensor) -> Tensor:
        y = self.bn1(self.conv1(x)).relu()
        y = self.bn3(self.conv3(self.bn2(self.conv2(y)).relu()))
        return (y + (x if self.downsample is None else self.downsample(x))).relu()


class ResNet(nn.Module):
    """A residual network under torchvision's names."""

    def __init__(self) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(3, 8, 7, stride=2, padding=3, bias=False)
        self.bn1 = nn.BatchNorm2d(8)
        channels = 8
        for stage, (inner, depth) in enumerate(((4, 2), (6, 1), (8, 3), (10, 2)), 1):
            blocks = []
            for i in range(depth):
                blocks.append(Bottleneck(channels, inner, 2 if stage > 1 and i == 0 else 1))
                channels = 4 * inner
            setattr(self, f"layer{stage}", nn.Sequential(*blocks))
        for name, tensor in [*self.named_parameters(), *self.named_buffers()]:
            if tensor.is_floating_point():
                drawn = torch.randn(tensor.shape) * 0.3
                tensor.data = drawn.exp() if "running_var" in name else drawn

    def forward(self, pixels: Tensor) -> Tensor:
        x = functional.max_pool2d(self.bn1(self.conv1(pixels)).relu(), 3, stride=2, padding=1)
        x = self.layer4(self.layer3(self.layer2(self.layer1(x))))
        return x.permute(0, 2, 3, 1)


def load(path: Path, **spec: object) -> HuggingFaceBackbone:
    return HuggingFaceBackbone(
        path,
        CPU,
        torch.float32,
        FeatureSpec(**{"facet": "token", **spec}),
        name="official",
        digest="",
    )


def normalised(pixels: Tensor) -> Tensor:
    mean, deviation = torch.tensor([[0.485, 0.456, 0.406], [0.229, 0.224, 0.225]])
    return (pixels - mean[:, None, None]) / deviation[:, None, None]


def under(prefix: str, tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    return {prefix + name: tensor for name, tensor in tensors.items()}


def as_dino(tensors: dict[str, Tensor]) -> object:
    return tensors


def as_dino_training(tensors: dict[str, Tensor]) -> object:
    head = {"head.mlp.0.weight": torch.zeros(4, 4)}
    student = under("module.backbone.", {name: t + 1 for name, t in tensors.items()})
    return {"student": student, "teacher": under("backbone.", tensors) | head, "epoch": 3}


def as_moco(tensors: dict[str, Tensor]) -> object:
    other = {name: t + 1 for name, t in tensors.items()}
    state = under("module.base_encoder.", tensors | {"head.0.weight": torch.zeros(4, 4)})
    state |= under("module.momentum_encoder.", other)
    state |= {"module.predictor.0.weight": torch.zeros(4, 4)}
    return {"epoch": 300, "arch": "vit_small", "state_dict": state, "optimizer": {"state": {}}}


def as_mae(tensors: dict[str, Tensor]) -> object:
    decoder = {"mask_token": torch.zeros(1, 1, 4), "decoder_pos_embed": torch.zeros(1, 10, 4)}
    return {"model": tensors | decoder | {"decoder_blocks.0.norm1.bias": torch.zeros(4)}}


def as_deit(tensors: dict[str, Tensor]) -> object:
    return {"model": tensors | {"head.weight": torch.zeros(5, 4), "head_dist.bias": torch.zeros(5)}}


VITS = {
    "dino": (as_dino, {"width": 192, "heads": 3}),
    "dino training": (as_dino_training, {"width": 192, "heads": 3}),
    "moco small": (as_moco, {"width": 384, "heads": 12}),  # twice as many as others of its width
    "mae": (as_mae, {"width": 192, "heads": 3}),
    "mae huge": (as_mae, {"width": 1280, "heads": 16, "depth": 1}),  # of 80, others of 64
    "deit": (as_deit, {"width": 192, "heads": 3}),
    "deit distilled": (as_deit, {"width": 192, "heads": 3, "distilled": True}),
    "dinov2": (as_dino, {"width": 384, "heads": 6, "scaled": True}),
    "dinov2 registers": (as_dino, {"width": 192, "heads": 3, "scaled": True, "registers": 4}),
    "dinov2 giant": (as_dino, {"width": 192, "heads": 3, "scaled": True, "gated": True}),
}


@pytest.mark.parametrize("what", VITS)
def test_transformers_are_the_published_ones(what, tmp_path):
    torch.manual_seed(0)
    packed, shape = VITS[what]
    network = Vit(**shape).eval()
    path = tmp_path / "official.pth"
    torch.save(packed(network.state_dict()), path)
    pixels = torch.rand(1, 3, SIDE * PATCH, SIDE * PATCH)
    backbone = load(path)
    assert (backbone.patch, backbone.dim) == (PATCH, shape["width"])
    expected = network(normalised(pixels))
    torch.testing.assert_close(backbone.features(pixels), expected, atol=2e-5, rtol=1e-4)
    assert backbone.features(torch.rand(1, 3, 16, 40)).shape == (1, 2, 5, shape["width"])


@pytest.mark.parametrize("packed", [as_dino, as_moco])
def test_residual_networks_are_the_published_ones(packed, tmp_path):
    torch.manual_seed(0)
    network = ResNet().eval()
    path = tmp_path / "official.pth.tar"
    torch.save(packed(network.state_dict() | {"fc.weight": torch.zeros(4, 4)}), path)
    pixels = torch.rand(2, 3, 64, 96)
    backbone = load(path)
    assert (backbone.patch, backbone.dim) == (32, 40)
    torch.testing.assert_close(backbone.features(pixels), network(normalised(pixels)))


def test_a_file_of_the_old_format(tmp_path):
    """Before version 1.6, torch wrote no zip archives, which cannot be mapped to memory."""
    network = Vit(192, 3)
    torch.save(network.state_dict(), tmp_path / "new.pth")
    torch.save(network.state_dict(), tmp_path / "old.pth", _use_new_zipfile_serialization=False)
    pixels = torch.rand(1, 3, 24, 24)
    new, old = (load(tmp_path / name).features(pixels) for name in ("new.pth", "old.pth"))
    assert torch.equal(new, old)


def test_names_of_files():
    assert is_checkpoint(Path("dino_deitsmall16_pretrain.pth"))
    assert is_checkpoint(Path("vit-s-300ep.pth.tar"))
    assert not is_checkpoint(Path("model.safetensors"))


class TestErrors:
    @pytest.mark.parametrize("data", [b"", b"not a checkpoint", b"PK\x03\x04 cut short"])
    def test_damaged(self, data, tmp_path):
        path = tmp_path / "damaged.pth"
        path.write_bytes(data)
        with pytest.raises(BackboneError, match=r"damaged.pth: is damaged, or holds more than"):
            load_checkpoint(path)

    def test_cut_short(self, tmp_path):
        path = tmp_path / "short.pth"
        torch.save(Vit(192, 3).state_dict(), path)
        path.write_bytes(path.read_bytes()[:-5000])
        with pytest.raises(BackboneError, match=r"short.pth: is damaged"):
            load_checkpoint(path)

    def test_code_is_not_run(self, tmp_path):
        path = tmp_path / "code.pth"
        path.write_bytes(pickle.dumps({"model": checkpoints.Path("x")}, 2))
        with pytest.raises(BackboneError, match="which could run code"):
            load_checkpoint(path)

    @pytest.mark.parametrize(
        "stored",
        [
            {"a": torch.zeros(2)},
            [1, 2],
            {"model": {}},
            torch.zeros(3),
            {3: 4},
            dict.fromkeys(["cls_token", "pos_embed", "patch_embed.proj.weight"], torch.zeros(3)),
        ],
    )
    def test_another_network(self, stored, tmp_path):
        path = tmp_path / "other.pth"
        torch.save(stored, path)
        with pytest.raises(BackboneError, match=r"is no checkpoint of DINO, DINOv2, MoCo v3, MAE"):
            load_checkpoint(path)

    def test_a_width_whose_heads_nobody_knows(self, tmp_path):
        path = tmp_path / "narrow.pth"
        torch.save(Vit(64, 2).state_dict(), path)
        with pytest.raises(BackboneError, match=r"has width 64; the number of attention heads is"):
            load_checkpoint(path)

    def test_a_tensor_too_many_and_one_too_few(self, tmp_path):
        path = tmp_path / "altered.pth"
        tensors = Vit(192, 3).state_dict()
        torch.save(tensors | {"blocks.0.attn.bias_table": torch.zeros(3)}, path)
        with pytest.raises(BackboneError, match=r"nothing is known of its tensor blocks.0.attn.b"):
            load(path)
        del tensors["blocks.1.norm2.bias"]
        torch.save(tensors, path)
        with pytest.raises(BackboneError, match=r"the weights lack layers.1.layernorm_after.bias"):
            load(path)
