"""Configuration and tensors of official checkpoints, in the form the library transformers takes.

The checkpoints are those of DINO, DINOv2, MoCo v3, MAE and DeiT. The authors publish a file of
tensors without a configuration. The names of the tensors tell the architecture, and their shapes
tell its sizes. The tensors do not tell the number of attention heads, so a table gives it by width.

===========================  =================================================================
DINO, DINOv2                 tensors at the top; in a training checkpoint under ``teacher``,
                             ``backbone.``
MAE, DeiT                    under ``model``, with decoder and heads, which are left out
MoCo v3                      under ``state_dict``, ``module.base_encoder.``
DINO's, MoCo v3's ResNet-50  as above, under the names that torchvision gives them
===========================  =================================================================

Without masking, MAE's encoder is a plain vision transformer, so it is loaded as one.

References: Caron et al. (DINO), ICCV 2021; Oquab et al. (DINOv2), TMLR 2024; Chen et al. (MoCo v3),
ICCV 2021; He et al. (MAE), CVPR 2022; Touvron et al. (DeiT), ICML 2021.
"""

from __future__ import annotations

import io
import pickle
import re
import struct
import zipfile
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from regiontree.errors import BackboneError

__all__ = ["is_checkpoint", "load_checkpoint"]

# What torch's loader raises on damaged or hostile files.
_DAMAGE = (OSError, EOFError, RuntimeError, ValueError, TypeError, LookupError, ArithmeticError,
           AttributeError, AssertionError, MemoryError, struct.error, pickle.UnpicklingError,
           zipfile.BadZipFile)  # fmt: skip

HEADS = {192: 3, 384: 6, 768: 12, 1024: 16, 1280: 16, 1536: 24}  # by width
HEADS_OF_MOCO = HEADS | {384: 12}
_MOCO = "module.base_encoder."
_DROPPED = ("head", "fc.", "decoder", "mask_token")  # heads, and parts used in training only

# From published names to the names in transformers; * stands for a number. Where there are several
# new names, the published matrix holds these matrices stacked along the rows. _DINOV2 replaces the
# names that differ for DINOv2.
_VIT = {
    "cls_token": "embeddings.cls_token",
    "dist_token": "embeddings.distillation_token",
    "register_tokens": "embeddings.register_tokens",
    "pos_embed": "embeddings.position_embeddings",
    "patch_embed.proj": "embeddings.patch_embeddings.projection",
    "norm": "layernorm",
    "blocks.*.attn.qkv": "layers.*.attention.q_proj layers.*.attention.k_proj "
    "layers.*.attention.v_proj",
    "blocks.*.attn.proj": "layers.*.attention.o_proj",
    "blocks.*.norm1": "layers.*.layernorm_before",
    "blocks.*.norm2": "layers.*.layernorm_after",
    "blocks.*.mlp.fc1": "layers.*.mlp.fc1",
    "blocks.*.mlp.fc2": "layers.*.mlp.fc2",
}
_DINOV2 = {old: new.replace("layers.", "encoder.layer.") for old, new in _VIT.items()} | {
    "blocks.*.norm1": "encoder.layer.*.norm1",
    "blocks.*.norm2": "encoder.layer.*.norm2",
    "blocks.*.ls1.gamma": "encoder.layer.*.layer_scale1.lambda1",
    "blocks.*.ls2.gamma": "encoder.layer.*.layer_scale2.lambda1",
    "blocks.*.mlp.w12": "encoder.layer.*.mlp.gate_proj encoder.layer.*.mlp.up_proj",
    "blocks.*.mlp.w3": "encoder.layer.*.mlp.down_proj",
}
_VIT_SIZES = {"cls_token": 3, "pos_embed": 3, "patch_embed.proj.weight": 4}  # axes
_RESNET_SIZES = ["conv1.weight", *(f"layer{stage}.0.conv3.weight" for stage in range(1, 5))]
_RESNET = {
    "conv1": "embedder.embedder.convolution",
    "bn1": "embedder.embedder.normalization",
}
for _stage in range(4):
    _old, _new = f"layer{_stage + 1}.*", f"encoder.stages.{_stage}.layers.*"
    _RESNET |= {f"{_old}.conv{i + 1}": f"{_new}.layer.{i}.convolution" for i in range(3)}
    _RESNET |= {f"{_old}.bn{i + 1}": f"{_new}.layer.{i}.normalization" for i in range(3)}
    _RESNET[f"{_old}.downsample.0"] = f"{_new}.shortcut.convolution"
    _RESNET[f"{_old}.downsample.1"] = f"{_new}.shortcut.normalization"


def is_checkpoint(path: Path) -> bool:
    """Whether the file's name ends in .pth, .pth.tar or .pt, as checkpoints do."""
    return path.name.endswith((".pth", ".pth.tar", ".pt"))


def load_checkpoint(path: Path) -> tuple[dict[str, Any], dict[str, Tensor]]:
    """The model's configuration, as in config.json, and its tensors under transformers' names.

    Raises
    ------
    BackboneError
        The file is damaged, holds more than tensors and numbers, or is of another network.
    """
    tensors, moco = _encoder(path)
    if all(name in tensors for name in _RESNET_SIZES):
        return _resnet_config(tensors), _renamed(path, tensors, _RESNET)
    if any(name not in tensors or tensors[name].ndim != n for name, n in _VIT_SIZES.items()):
        raise BackboneError(
            f"{path}: is no checkpoint of DINO, DINOv2, MoCo v3, MAE or DeiT, whose tensors have "
            "names like blocks.0.attn.qkv.weight or layer1.0.conv1.weight, but has "
            f"{', '.join(map(_shown, sorted(tensors)[:3])) or 'none'}; give a folder with "
            "config.json instead"
        )
    names = _DINOV2 if "blocks.0.ls1.gamma" in tensors else _VIT
    return _vit_config(path, tensors, moco), _renamed(path, tensors, names)


def _encoder(path: Path) -> tuple[dict[str, Tensor], bool]:
    """The encoder's tensors under their published names, and whether the file is MoCo v3's."""
    try:
        if zipfile.is_zipfile(path):
            # Memory mapping: what is not needed (optimiser, momentum encoder, heads) is never read.
            stored = torch.load(path, "cpu", weights_only=True, mmap=True)
        else:
            with _Bounded(path) as file:
                stored = torch.load(file, "cpu", weights_only=True)
    except _DAMAGE:
        raise BackboneError(
            f"{path}: is damaged, or holds more than tensors and numbers, which could run code; "
            "download it again from its authors"
        ) from None
    for key in ("state_dict", "model", "teacher"):
        if isinstance(stored, dict) and isinstance(stored.get(key), dict):
            stored = stored[key]
            break
    if not isinstance(stored, dict):
        stored = {}
    prefixes = (_MOCO, "module.backbone.", "backbone.", "")
    prefix = next(p for p in prefixes if any(str(name).startswith(p) for name in stored) or not p)
    tensors = {
        name.removeprefix(prefix): tensor
        for name, tensor in stored.items()
        if isinstance(name, str) and name.startswith(prefix) and isinstance(tensor, Tensor)
    }
    kept = {name: t for name, t in tensors.items() if not name.startswith(_DROPPED)}
    return kept, prefix == _MOCO


def _shown(name: str) -> str:
    """The name of a tensor for a message: short, and without control characters."""
    return (name if name.isprintable() else ascii(name))[:80]


class _Bounded(io.BufferedReader):
    """A file that is never asked for more than it has: a pickle can claim gigabytes of text."""

    def __init__(self, path: Path) -> None:
        super().__init__(io.FileIO(path))
        self._length = path.stat().st_size

    def read(self, size: int | None = -1, /) -> bytes:
        """As of any file."""
        return super().read(size if size is None else min(size, self._length))


def _renamed(path: Path, tensors: dict[str, Tensor], names: dict[str, str]) -> dict[str, Tensor]:
    found: dict[str, Tensor] = {}
    for name, tensor in tensors.items():
        # conv1.weight -> conv1; cls_token and ls1.gamma stay as they are.
        layer, kind = name, ""
        if name.endswith((".weight", ".bias", ".running_mean", ".running_var", "_tracked")):
            layer, _, kind = name.rpartition(".")
        number = re.search(r"\.(\d+)\.", layer)
        key = layer.replace(number[0], ".*.", 1) if number else layer
        if key not in names:
            raise BackboneError(
                f"{path}: nothing is known of its tensor {_shown(name)}; download the file again"
            )
        parts = names[key].split()
        pieces = tensor.chunk(len(parts)) if len(parts) > 1 else [tensor]
        for part, piece in zip(parts, pieces, strict=True):
            new = part.replace("*", number[1]) if number else part
            found[f"{new}.{kind}" if kind else new] = piece
    return found


def _vit_config(path: Path, tensors: dict[str, Tensor], moco: bool) -> dict[str, Any]:
    width, _, patch, _ = tensors["patch_embed.proj.weight"].shape
    prefix = 2 if "dist_token" in tensors else 1
    side = round((tensors["pos_embed"].shape[1] - prefix) ** 0.5)
    blocks = {name.split(".")[1] for name in tensors if name.startswith("blocks.")}
    heads = (HEADS_OF_MOCO if moco else HEADS).get(width)
    if heads is None:
        raise BackboneError(
            f"{path}: has width {width}; the number of attention heads is known for "
            f"{', '.join(map(str, HEADS))}: give a folder with config.json instead"
        )
    config = {
        "hidden_size": width,
        "num_hidden_layers": len(blocks),
        "num_attention_heads": heads,
        "patch_size": patch,
        "image_size": side * patch,
        "layer_norm_eps": 1e-6,
    }
    if "blocks.0.ls1.gamma" not in tensors:
        kind = "deit" if prefix == 2 else "vit"
        return config | {"model_type": kind, "intermediate_size": 4 * width}
    config |= {"use_swiglu_ffn": "blocks.0.mlp.w12.weight" in tensors}
    if "register_tokens" not in tensors:
        return config | {"model_type": "dinov2"}
    registers = tensors["register_tokens"].shape[1]
    return config | {"model_type": "dinov2_with_registers", "num_register_tokens": registers}


def _resnet_config(tensors: dict[str, Tensor]) -> dict[str, Any]:
    depths = [
        len({name.split(".")[1] for name in tensors if name.startswith(f"layer{stage}.")})
        for stage in range(1, 5)
    ]
    first, *stages = (len(tensors[name]) for name in _RESNET_SIZES)
    return {
        "model_type": "resnet",
        "embedding_size": first,
        "hidden_sizes": stages,
        "depths": depths,
    }
