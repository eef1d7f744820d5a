"""Every family of transformers: the library's own features, in place, at any size; clear errors.

The networks are small and random, but whole: what is compared is the arithmetic.
"""

from __future__ import annotations

import json
import pickle
import socket
from pathlib import Path

import numpy as np
import pytest
import torch
from conftest import refused
from elsewhere import Device, Elsewhere, here, moved
from torch import nn
from torch.nn.functional import normalize

from regiontree.backbones import huggingface
from regiontree.backbones.architectures import ARCHITECTURES, Architecture
from regiontree.backbones.base import Backbone, FeatureSpec
from regiontree.backbones.huggingface import HuggingFaceBackbone
from regiontree.errors import BackboneError, MissingExtraError, SettingsError

transformers = pytest.importorskip("transformers", reason="the library whose networks these are")

CPU = torch.device("cpu")
PATCH, SIDE, DEPTH, WIDTH = 8, 4, 3, 32
VIT = {
    "hidden_size": WIDTH,
    "num_hidden_layers": DEPTH,
    "num_attention_heads": 4,
    "intermediate_size": 48,
    "image_size": SIDE * PATCH,
    "patch_size": PATCH,
}
DINO = {name: value for name, value in VIT.items() if name != "intermediate_size"}
SIGLIP2 = {name: value for name, value in VIT.items() if name != "image_size"}
TEXT = {
    "hidden_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 16,
    "vocab_size": 20, "max_position_embeddings": 8,
}  # fmt: skip

# model_type: class and settings, tokens before the patches', an attention's name, the final norm's.
NETWORKS = {
    "vit": ("ViT", VIT, 1, "layers.{}.attention", "layernorm"),
    "vit_msn": ("ViTMSN", VIT, 1, "layers.{}.attention", "layernorm"),
    "vit_mae": ("ViTMAE", VIT, 1, "layers.{}.attention", "layernorm"),
    "deit": ("DeiT", VIT, 2, "layers.{}.attention", "layernorm"),
    "ijepa": ("IJepa", VIT, 0, "layers.{}.attention", "layernorm"),
    "pixio": ("Pixio", DINO | {"n_cls_tokens": 3}, 3, "layers.{}.attention", "layernorm"),
    "dinov2": ("Dinov2", DINO, 1, "encoder.layer.{}.attention", "layernorm"),
    "dinov2_with_registers": (
        "Dinov2WithRegisters", DINO | {"num_register_tokens": 3}, 4,
        "encoder.layer.{}.attention", "layernorm",
    ),
    "dinov3_vit": (
        "DINOv3ViT", VIT | {"num_register_tokens": 2}, 3, "model.layer.{}.attention", "norm",
    ),
    "clip_vision_model": (
        "CLIPVision", VIT, 1, "encoder.layers.{}.self_attn", "post_layernorm",
    ),
    "metaclip_2_vision_model": (
        "MetaClip2Vision", VIT, 1, "encoder.layers.{}.self_attn", "post_layernorm",
    ),
    "siglip_vision_model": (
        "SiglipVision", VIT, 0, "encoder.layers.{}.self_attn", "post_layernorm",
    ),
    "siglip2_vision_model": (
        "Siglip2Vision", SIGLIP2 | {"num_patches": SIDE**2}, 0,
        "encoder.layers.{}.self_attn", "post_layernorm",
    ),
}  # fmt: skip
WITH_TABLE = [kind for kind in NETWORKS if kind not in ("dinov3_vit", "siglip2_vision_model")]
ALWAYS_ANY_SIZE = ("pixio", "dinov2", "dinov2_with_registers", "dinov3_vit")


def randomised(model: nn.Module, seed: int = 0) -> nn.Module:
    """All weights far from their initial values, so that a forgotten one shows."""
    noise = torch.Generator().manual_seed(seed)
    for name, tensor in [*model.named_parameters(), *model.named_buffers()]:
        if tensor.is_floating_point() and "inv_freq" not in name:
            drawn = torch.randn(tensor.shape, generator=noise) * 0.3
            tensor.data = drawn.exp() if "norm" in name and tensor.ndim == 1 else drawn
    return model.eval()


def library_model(kind: str) -> nn.Module:
    name, settings, *_ = NETWORKS[kind]
    config = getattr(transformers, f"{name}Config")(**settings)
    return randomised(getattr(transformers, f"{name}Model")(config))


def library_run(kind: str, model: nn.Module, pixels: torch.Tensor, **options: object):
    """The library's own forward pass on normalised pixels of any size."""
    if kind == "siglip2_vision_model":
        rows, columns = (side // PATCH for side in pixels.shape[2:])
        patches = [
            [
                image[:, r * PATCH : (r + 1) * PATCH, c * PATCH : (c + 1) * PATCH]
                for r in range(rows)
                for c in range(columns)
            ]
            for image in pixels
        ]
        packed = [torch.stack([p.permute(1, 2, 0).flatten() for p in image]) for image in patches]
        shapes = torch.tensor([[rows, columns]] * len(pixels))
        mask = torch.ones(len(pixels), rows * columns, dtype=torch.long)
        return model(torch.stack(packed), mask, shapes, **options)
    if kind not in ALWAYS_ANY_SIZE:
        options["interpolate_pos_encoding"] = True
    return model(pixels, **options)


def library_tokens(kind: str, model: nn.Module, pixels: torch.Tensor) -> torch.Tensor:
    """Patch tokens (B, n, d) after the final norm, in order."""
    prefix, norm = NETWORKS[kind][2], NETWORKS[kind][4]
    if kind == "vit_mae":  # shuffled at random as it does, and put back as it says
        model.config.mask_ratio = 0.0
        out = library_run(kind, model, pixels)
        order = out.ids_restore[:, :, None].expand(-1, -1, WIDTH)
        return out.last_hidden_state[:, prefix:].gather(1, order)
    tokens = library_run(kind, model, pixels).last_hidden_state[:, prefix:]
    return getattr(model, norm)(tokens) if "clip" in kind and "sig" not in kind else tokens


@pytest.fixture(scope="module")
def folders(tmp_path_factory) -> dict[str, Path]:
    """A folder of weights of each family, as the library saves it."""
    root = tmp_path_factory.mktemp("networks")
    for kind in (*NETWORKS, "resnet"):
        model = resnet() if kind == "resnet" else library_model(kind)
        model.save_pretrained(root / kind)
        (root / kind / "preprocessor_config.json").write_text('{"do_normalize": false}')
    return {folder.name: folder for folder in root.iterdir()}


def load(folder: Path, dtype: torch.dtype = torch.float32, **spec: object) -> HuggingFaceBackbone:
    return HuggingFaceBackbone(
        folder,
        CPU,
        dtype,
        FeatureSpec(**{"facet": "token", "descriptor": "none", **spec}),
        name="a name",
        digest="a digest",
    )


def image(rows: int, columns: int, batch: int = 1, patch: int = PATCH) -> torch.Tensor:
    noise = torch.Generator().manual_seed(rows * 100 + columns)
    return torch.rand(batch, 3, rows * patch, columns * patch, generator=noise)


def test_every_family_is_tried():
    tried = {ARCHITECTURES[kind].model for kind in NETWORKS}
    assert {family.model for family in ARCHITECTURES.values()} == tried


@pytest.mark.parametrize("kind", NETWORKS)
class TestFamily:
    def test_features_are_the_librarys_at_any_size(self, kind, folders):
        backbone, model = load(folders[kind]), library_model(kind)
        assert isinstance(backbone, Backbone)
        assert (backbone.name, backbone.digest) == ("a name", "a digest")
        assert (backbone.patch, backbone.dim) == (PATCH, WIDTH)
        for rows, columns in ((SIDE, SIDE), (3, 8), (2, 8), (6, 6), (1, 1)):
            pixels = image(rows, columns, batch=2)
            expected = library_tokens(kind, model, pixels).reshape(2, rows, columns, WIDTH)
            found = backbone.features(pixels)
            assert found.dtype == torch.float32
            torch.testing.assert_close(found, expected, atol=1e-5, rtol=1e-5)
            torch.testing.assert_close(backbone.features(pixels[1:]), found[1:])

    def test_an_odd_patch_shows_where_it_is(self, kind, folders):
        backbone = load(folders[kind], layers=(1,))
        plain = image(4, 5)
        for row, column in ((0, 0), (2, 1), (3, 4)):
            odd = plain.clone()
            place = np.s_[:, :, row * 8 : row * 8 + 8, column * 8 : column * 8 + 8]
            odd[place] = 1 - odd[place]
            change = (backbone.features(odd) - backbone.features(plain)).norm(dim=3)[0]
            largest, second = change.flatten().topk(2).values
            assert divmod(int(change.argmax()), 5) == (row, column)
            assert largest > 2 * second

    def test_layers_and_facets(self, kind, folders):
        """Against what the library says it computed on the way, and what hooks see."""
        _, _, prefix, attention, norm = NETWORKS[kind]
        model, pixels = library_model(kind), image(SIDE, SIDE)
        seen = {}
        for i in range(DEPTH):
            for part in "qkv":
                module = model.get_submodule(f"{attention.format(i)}.{part}_proj")
                module.register_forward_hook(
                    lambda *call, at=(i, part): seen.__setitem__(at, call[2][0, prefix:])
                )
        options = {"output_hidden_states": True}
        if kind == "vit_mae":
            model.config.mask_ratio = 0.0
            options["noise"] = torch.arange(SIDE**2)[None]
        states = library_run(kind, model, pixels, **options).hidden_states
        tokens = [getattr(model, norm)(state)[0, prefix:] for state in states[1 : DEPTH + 1]]

        close = {"atol": 1e-5, "rtol": 1e-5}

        def found(**spec: object) -> torch.Tensor:
            backbone = load(folders[kind], **spec)
            features = backbone.features(pixels)[0].reshape(SIDE**2, -1)
            assert features.shape[1] == backbone.dim
            described = load(folders[kind], descriptor="token", **spec)
            both = described.features(pixels)[0].reshape(SIDE**2, -1)
            assert described.descriptor_dim == WIDTH
            assert torch.equal(both[:, : backbone.dim], features)
            torch.testing.assert_close(both[:, backbone.dim :], tokens[-1], **close)
            return features

        torch.testing.assert_close(found(layers=(2,)), tokens[1], **close)
        torch.testing.assert_close(found(layers=(-3,)), tokens[0], **close)
        both = torch.cat([normalize(tokens[2], dim=1), normalize(tokens[0], dim=1)], dim=1)
        torch.testing.assert_close(found(layers=(3, 1)), both, **close)
        for facet in ("key", "query", "value"):
            torch.testing.assert_close(found(facet=facet), seen[DEPTH - 1, facet[0]], **close)
        both = torch.cat([normalize(seen[i, "v"], dim=1) for i in (0, 2)], dim=1)
        torch.testing.assert_close(found(facet="value", layers=(1, 3)), both, **close)

    def test_nothing_runs_in_vain(self, kind, folders):
        backbone = load(folders[kind], layers=(2,), facet="key")
        assert len(backbone.model.blocks) == 2
        used = {name.split(".")[0] for name, _ in backbone.model.named_parameters()}
        assert used <= {"embeddings", "before", "rotary", "blocks", "norm"}
        assert not any(p.requires_grad for p in backbone.model.parameters())
        assert not any(m._forward_hooks for m in backbone.model.modules())

        def never(*_: object) -> None:
            raise AssertionError("ran")

        backbone.model.blocks[1].mlp.forward = never
        assert backbone.features(image(2, 2)).shape == (1, 2, 2, WIDTH)

    def test_half_precision_is_close(self, kind, folders):
        backbone = load(folders[kind], dtype=torch.bfloat16)
        weights = [p for p in backbone.model.parameters() if p.ndim > 1]
        assert {p.dtype for p in weights} == {torch.bfloat16}
        pixels = image(3, 5)
        found, full = backbone.features(pixels), load(folders[kind]).features(pixels)
        assert found.dtype == torch.float32
        assert float(torch.cosine_similarity(found, full, dim=3).min()) > 0.99

    def test_on_a_device_everything_stays_there(self, kind, folders):
        pixels = image(3, 5, batch=2)
        expected = load(folders[kind]).features(pixels)
        backbone = moved(load(folders[kind]))
        with Device() as device:
            found = backbone.features(pixels)
        assert isinstance(found, Elsewhere)
        torch.testing.assert_close(here(found), expected)
        assert device.fetched == []

    def test_a_size_that_is_no_multiple_is_an_error(self, kind, folders):
        with refused(SettingsError, "12x16", "multiple", f"patch of {PATCH}"):
            load(folders[kind]).features(torch.rand(1, 3, 12, 16))


@pytest.mark.parametrize(
    "kind", [k for k in NETWORKS if k not in ("vit_mae", "siglip2_vision_model")]
)
def test_native_size_against_the_plainest_call_there_is(kind, folders):
    """The pixels, and nothing else. MAE shuffles then, and SigLIP 2 takes no images."""
    model, prefix = library_model(kind), NETWORKS[kind][2]
    tokens = model(image(SIDE, SIDE)).last_hidden_state
    assert tokens.shape[1] == prefix + SIDE**2
    if kind in ("clip_vision_model", "metaclip_2_vision_model"):
        tokens = model.post_layernorm(tokens)
    expected = tokens[:, prefix:].reshape(1, SIDE, SIDE, WIDTH)
    found = load(folders[kind]).features(image(SIDE, SIDE))
    torch.testing.assert_close(found, expected, atol=1e-5, rtol=1e-5)


def cubic_samples(count: int, side: int) -> np.ndarray:
    """(count, side) weights of cubic convolution (a = -0.75) on `count` places along a side, at the
    scale (count + 0.1) / side, the outermost positions repeated."""
    weights = np.zeros((count, side))
    for i in range(count):
        place = (i + 0.5) * side / (count + 0.1) - 0.5
        for j in range(int(np.floor(place)) - 1, int(np.floor(place)) + 3):
            d, a = abs(place - j), -0.75
            near = (a + 2) * d**3 - (a + 3) * d**2 + 1
            far = a * d**3 - 5 * a * d**2 + 8 * a * d - 4 * a
            weights[i, min(max(j, 0), side - 1)] += near if d <= 1 else far
    return weights


@pytest.mark.parametrize("kind", WITH_TABLE)
@pytest.mark.parametrize("grid", [(6, 6), (3, 7)])
def test_published_positions(kind, grid, folders):
    model, pixels = library_model(kind), image(*grid)
    prefix = 1 if kind == "dinov2_with_registers" else NETWORKS[kind][2]
    upstream = library_tokens(kind, model, pixels)
    table = dict(model.embeddings.named_parameters())
    table = table.get("position_embeddings", table.get("position_embedding.weight"))
    table = table.reshape(-1, WIDTH).double().numpy()
    tall, wide = (cubic_samples(side, SIDE) for side in grid)
    patches = table[prefix:].reshape(SIDE, SIDE, WIDTH)
    patches = np.einsum("ri,cj,ijd->rcd", tall, wide, patches).reshape(-1, WIDTH)
    stretched = torch.tensor(np.concatenate([table[:prefix], patches]), dtype=torch.float32)
    model.embeddings.interpolate_pos_encoding = lambda *_: stretched[None]
    expected = library_tokens(kind, model, pixels)
    found = load(folders[kind], positions="published").features(pixels).reshape(1, -1, WIDTH)
    if kind == "dinov2_with_registers":  # its first repository stretches as the library does
        torch.testing.assert_close(found, upstream, atol=1e-5, rtol=1e-5)
    else:
        torch.testing.assert_close(found, expected, atol=2e-5, rtol=1e-5)
        assert (expected - upstream).abs().max() > 1e-3
    native = image(SIDE, SIDE)
    one, other = (load(folders[kind], positions=p) for p in ("upstream", "published"))
    assert torch.equal(one.features(native), other.features(native))


@pytest.mark.parametrize("kind", ["dinov3_vit", "siglip2_vision_model"])
def test_published_positions_need_a_table(kind, folders):
    with refused(SettingsError, "positions 'published'", "positions 'upstream'"):
        load(folders[kind], positions="published")


def resnet() -> nn.Module:
    config = transformers.ResNetConfig(
        embedding_size=8, hidden_sizes=[16, 24, 32, 40], depths=[2, 1, 1, 2]
    )
    return randomised(transformers.ResNetModel(config))


class TestResNet:
    def test_stages_are_the_librarys(self, folders):
        model = resnet()
        for layer, stride, dim in ((None, 32, 40), (4, 32, 40), (-2, 16, 32), (1, 4, 16)):
            backbone = load(folders["resnet"], layers=layer and (layer,))
            assert (backbone.patch, backbone.dim) == (stride, dim)
            for rows, columns in ((7, 7), (2, 5), (1, 1)):
                pixels = image(rows, columns, batch=2, patch=stride)
                states = model(pixels, output_hidden_states=True).hidden_states
                expected = states[layer or -1].permute(0, 2, 3, 1)
                assert expected.shape == (2, rows, columns, dim)
                torch.testing.assert_close(backbone.features(pixels), expected)

    def test_an_odd_patch_shows_where_it_is(self, folders):
        """In the first stage: what the last one sees of a small image is all of it."""
        plain = image(3, 5, patch=32)
        odd = plain.clone()
        odd[:, :, 64:, 32:64] = 1 - odd[:, :, 64:, 32:64]
        backbone = load(folders["resnet"], layers=(1,), descriptor="token")
        assert backbone.descriptor_dim == backbone.dim
        change = (backbone.features(odd) - backbone.features(plain)).norm(dim=3)[0]
        blocks = change.reshape(3, 8, 5, 8).sum(dim=(1, 3))
        assert divmod(int(blocks.argmax()), 5) == (2, 1)
        assert blocks[2, 1] > 0.5 * blocks.sum()

    @pytest.mark.parametrize(
        ("spec", "message"),
        [
            ({"facet": "key"}, "ResNet.*queries, keys and values"),
            ({"positions": "published"}, "ResNet.* positions"),
            ({"layers": (3, 4)}, r"layers must be one, got \(3, 4\)"),
            ({"layers": (5,)}, "block 5.* 4"),
        ],
    )
    def test_what_it_has_not_is_an_error(self, spec, message, folders):
        with pytest.raises(SettingsError, match=message):
            load(folders["resnet"], **spec)


class TestFolders:
    """The same weights in other containers, and other networks around them."""

    pixels = image(3, 5)

    @pytest.mark.parametrize("container", ["bin", "shards", "shards.bin"])
    def test_containers(self, container, folders, tmp_path):
        model = library_model("dinov2")
        (tmp_path / "config.json").write_text((folders["dinov2"] / "config.json").read_text())
        (tmp_path / "preprocessor_config.json").write_text('{"do_normalize": false}')
        tensors = model.state_dict()
        if container == "bin":
            torch.save(tensors, tmp_path / "pytorch_model.bin")
        elif container == "shards":
            model.save_pretrained(tmp_path, max_shard_size="20KB")
            assert len(list(tmp_path.glob("*.safetensors"))) > 2
        else:
            names = sorted(tensors)
            where = {name: f"pytorch_model-{i % 2}.bin" for i, name in enumerate(names)}
            for file in set(where.values()):
                torch.save({n: tensors[n] for n in names if where[n] == file}, tmp_path / file)
            index = json.dumps({"metadata": {}, "weight_map": where})
            (tmp_path / "pytorch_model.bin.index.json").write_text(index)
        expected = load(folders["dinov2"]).features(self.pixels)
        assert torch.equal(load(tmp_path).features(self.pixels), expected)

    def test_names_of_older_versions(self, folders, tmp_path):
        """As on the hub, whose files were written years ago."""
        from safetensors.torch import save_file

        old = {}
        for name, tensor in library_model("vit").state_dict().items():
            for new, before in (
                ("layers.", "encoder.layer."),
                ("attention.q_proj", "attention.attention.query"),
                ("attention.k_proj", "attention.attention.key"),
                ("attention.v_proj", "attention.attention.value"),
                ("attention.o_proj", "attention.output.dense"),
                ("mlp.fc1", "intermediate.dense"),
                ("mlp.fc2", "output.dense"),
            ):
                name = name.replace(new, before)
            old[name] = tensor
        save_file(old, tmp_path / "model.safetensors", {"format": "pt"})
        for name in ("config.json", "preprocessor_config.json"):
            (tmp_path / name).write_text((folders["vit"] / name).read_text())
        expected = load(folders["vit"]).features(self.pixels)
        assert torch.equal(load(tmp_path).features(self.pixels), expected)

    @pytest.mark.parametrize("kind", [kind for kind in NETWORKS if "vision" in kind])
    def test_a_two_tower_network_is_its_image_tower(self, kind, tmp_path):
        name, settings, *_ = NETWORKS[kind]
        family = name.removesuffix("Vision")
        config = getattr(transformers, f"{family}Config")(vision_config=settings, text_config=TEXT)
        both = randomised(getattr(transformers, f"{family}Model")(config))
        both.save_pretrained(tmp_path / "both")
        both.vision_model.save_pretrained(tmp_path / "tower")
        assert json.loads((tmp_path / "both/config.json").read_text())["text_config"]
        one, other = load(tmp_path / "both"), load(tmp_path / "tower")
        assert torch.equal(one.features(self.pixels), other.features(self.pixels))
        size, tower = (sum(p.numel() for p in m.parameters()) for m in (one.model, other.model))
        assert size == tower

    @pytest.mark.parametrize(
        ("network", "kind", "part"),
        [
            ("ViTForImageClassification", "vit", "vit"),
            ("ViTMAEForPreTraining", "vit_mae", "vit"),
            ("Dinov2ForImageClassification", "dinov2", "dinov2"),
        ],
    )
    def test_heads_and_decoders_are_left_out(self, network, kind, part, folders, tmp_path):
        config = library_model(kind).config
        config.decoder_num_hidden_layers = 1
        model = getattr(transformers, network)(config)
        getattr(model, part).load_state_dict(library_model(kind).state_dict(), strict=False)
        model.save_pretrained(tmp_path)
        (tmp_path / "preprocessor_config.json").write_text('{"do_normalize": false}')
        expected = load(folders[kind]).features(self.pixels)
        assert torch.equal(load(tmp_path).features(self.pixels), expected)

    def test_no_attempt_to_connect(self, folders, monkeypatch):
        def refuse(*_: object, **__: object) -> None:
            raise AssertionError("network used")

        for name in ("socket.connect", "create_connection", "getaddrinfo"):
            monkeypatch.setattr(f"socket.{name}", refuse)
        assert socket.getaddrinfo is refuse
        assert load(folders["dinov2"]).features(self.pixels).isfinite().all()

    def test_it_says_nothing_and_leaves_the_librarys_log_alone(self, folders, capfd):
        log = transformers.utils.logging
        before = log.get_verbosity(), log.is_progress_bar_enabled()
        load(folders["vit"])
        assert (log.get_verbosity(), log.is_progress_bar_enabled()) == before
        assert capfd.readouterr() == ("", "")


class TestPixels:
    """Mean and deviation: those of preprocessor_config.json, else the family's."""

    @pytest.mark.parametrize(
        ("kind", "mean", "deviation"),
        [
            ("dinov2", (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)),
            ("vit_mae", (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)),
            (
                "clip_vision_model",
                (0.48145466, 0.4578275, 0.40821073),
                (0.26862954, 0.26130258, 0.27577711),
            ),
            ("siglip_vision_model", (0.5, 0.5, 0.5), (0.5, 0.5, 0.5)),
        ],
    )
    def test_defaults(self, kind, mean, deviation, folders, tmp_path):
        for name in ("config.json", "model.safetensors"):
            (tmp_path / name).symlink_to(folders[kind] / name)
        normalised = torch.stack(
            [(image(4, 4)[:, i] - mean[i]) / deviation[i] for i in range(3)], dim=1
        )
        expected = load(folders[kind]).features(normalised)
        torch.testing.assert_close(load(tmp_path).features(image(4, 4)), expected)

    def test_the_file_has_the_last_word(self, folders, tmp_path):
        for name in ("config.json", "model.safetensors"):
            (tmp_path / name).symlink_to(folders["vit"] / name)
        said = {"do_normalize": True, "image_mean": [0.1, 0.2, 0.3], "image_std": [0.5, 2.0, 4.0]}
        (tmp_path / "preprocessor_config.json").write_text(json.dumps(said))
        mean, deviation = (
            torch.tensor(said[n])[:, None, None] for n in ("image_mean", "image_std")
        )
        expected = load(folders["vit"]).features((image(4, 4) - mean) / deviation)
        torch.testing.assert_close(load(tmp_path).features(image(4, 4)), expected)

    @pytest.mark.parametrize(
        "said",
        [
            {"image_mean": [0.5]},
            {"image_std": [1, 1, 0]},
            {"image_mean": "abc"},
            {"image_std": None},
        ],
    )
    def test_nonsense_is_an_error(self, said, folders, tmp_path):
        for name in ("config.json", "model.safetensors"):
            (tmp_path / name).symlink_to(folders["vit"] / name)
        (tmp_path / "preprocessor_config.json").write_text(json.dumps(said))
        with refused(BackboneError, "preprocessor_config.json", "image_mean", "image_std"):
            load(tmp_path)


class _Dangerous:
    def __reduce__(self):
        return print, ("code that came with the weights ran",)


class TestErrors:
    @pytest.fixture
    def copy(self, folders, tmp_path) -> Path:
        """A folder of a ViT, free to be damaged."""
        for name in ("config.json", "model.safetensors"):
            (tmp_path / name).write_bytes((folders["vit"] / name).read_bytes())
        return tmp_path

    @staticmethod
    def configure(folder: Path, **changes: object) -> None:
        config = json.loads((folder / "config.json").read_text()) | changes
        (folder / "config.json").write_text(json.dumps(config))

    @staticmethod
    def rewrite(folder: Path, **changes: torch.Tensor | None) -> None:
        from safetensors.torch import load_file, save_file

        path = folder / "model.safetensors"
        tensors = load_file(path)
        for end, value in changes.items():
            (name,) = (n for n in tensors if n.endswith(end.replace("__", ".")))
            del tensors[name]
            if value is not None:
                tensors[name] = value
        save_file(tensors, path, {"format": "pt"})

    def test_no_folder(self, tmp_path):
        with refused(BackboneError, "nowhere/config.json", "No such"):
            load(tmp_path / "nowhere")

    @pytest.mark.parametrize("text", ["{", "[1]", "\ufffe"])
    def test_damaged_config(self, text, copy):
        (copy / "config.json").write_bytes(text.encode("utf-16" if text == "\ufffe" else "utf-8"))
        with refused(BackboneError, str(copy / "config.json"), "JSON"):
            load(copy)

    @pytest.mark.parametrize("kind", ["swin", "convnext", "bert", None, ["vit"]])
    def test_another_kind_of_network(self, kind, copy):
        self.configure(copy, model_type=kind)
        with refused(BackboneError, "model_type", repr(kind), "one of"):
            load(copy)

    @pytest.mark.parametrize(
        "changes",
        [
            {"hidden_size": "wide"},
            {"patch_size": None},
            {"num_hidden_layers": -1},
            {"hidden_act": "x"},
        ],
    )
    def test_config_that_makes_no_sense(self, changes, copy):
        self.configure(copy, **changes)
        with pytest.raises(BackboneError, match=f"^{copy}: "):
            load(copy)

    @pytest.mark.parametrize(
        ("changes", "message"),
        [
            ({"patch_size": [8, 8]}, r"patches of .8, 8. .*take an"),
            ({"image_size": [16, 64]}, r"images of .16, 64..* take another"),
            ({"num_channels": 1}, "1 channels, not RGB; take another"),
        ],
    )
    def test_shapes_that_it_cannot_do(self, changes, message, copy):
        self.configure(copy, **changes)
        if "num_channels" in changes:
            self.rewrite(copy, projection__weight=torch.zeros(WIDTH, 1, PATCH, PATCH))
        with pytest.raises(BackboneError, match=message):
            load(copy)

    def test_no_weights(self, copy):
        (copy / "model.safetensors").unlink()
        with refused(BackboneError, str(copy), "model.safetensors"):
            load(copy)

    def test_cut_short(self, copy):
        path = copy / "model.safetensors"
        path.write_bytes(path.read_bytes()[:-100])
        with refused(BackboneError, str(copy), "damaged", "download"):
            load(copy)

    def test_missing_weights_are_named(self, copy):
        self.rewrite(copy, position_embeddings=None)
        with refused(BackboneError, "lack embeddings.position_embeddings"):
            load(copy)

    def test_a_missing_pooler_is_fine(self, copy):
        expected = load(copy).features(image(2, 2))
        self.rewrite(copy, pooler__dense__weight=None, pooler__dense__bias=None)
        assert torch.equal(load(copy).features(image(2, 2)), expected)

    def test_weights_of_more_blocks_than_the_config_says(self, copy):
        self.configure(copy, num_hidden_layers=2)
        with refused(BackboneError, "no place", "layers.2", "13 more"):
            load(copy)

    def test_registers_that_the_config_does_not_know(self, folders, tmp_path):
        for name in ("config.json", "model.safetensors"):
            (tmp_path / name).write_bytes((folders["dinov2_with_registers"] / name).read_bytes())
        self.configure(tmp_path, model_type="dinov2")
        with refused(BackboneError, "no place", "embeddings.register_"):
            load(tmp_path)

    def test_weights_of_another_shape(self, copy):
        self.rewrite(copy, position_embeddings=torch.zeros(1, 50, WIDTH))
        with refused(BackboneError, "position_embeddings", "(1, 50, 32)", "(1, 17, 32)"):
            load(copy)

    def test_a_pickle_that_would_run_code(self, copy, capsys):
        (copy / "model.safetensors").unlink()
        torch.save({"cls_token": _Dangerous()}, copy / "pytorch_model.bin")
        with refused(BackboneError, "more than tensors", "code"):
            load(copy)
        (copy / "pytorch_model.bin").write_bytes(pickle.dumps({"cls_token": _Dangerous()}, 2))
        with refused(BackboneError, "more than tensors", "code"):
            load(copy)
        assert "ran" not in capsys.readouterr().out

    def test_without_transformers_one_line_says_what_to_install(self, copy, monkeypatch):
        monkeypatch.setattr(huggingface, "find_spec", lambda _: None)
        with refused(MissingExtraError, "pip install -U 'regiontree[hub]'") as error:
            load(copy)
        assert "\n" not in str(error.value)

    def test_a_library_that_builds_it_otherwise(self, copy, monkeypatch):
        moved = {"vit": Architecture("ViTModel", blocks="encoder.layer")}
        monkeypatch.setattr(huggingface, "ARCHITECTURES", moved)
        with refused(MissingExtraError, "ViTModel", "regiontree[hub]"):
            load(copy)
        monkeypatch.setattr(huggingface, "ARCHITECTURES", {"vit": Architecture("ViTNewModel")})
        with refused(MissingExtraError, "no ViTNewModel", "regiontree[hub]"):
            load(copy)
