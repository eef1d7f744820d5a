"""Where the library transformers keeps the parts of each vision network that it knows.

One line for each architecture, by ``model_type`` in config.json. :mod:`.encoder` runs the parts.
The library's own outputs do not suffice: they hold the tokens after each block, but not the values
of the attention, which are the default features (docs/dependencies.md).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial

import torch
from torch import Tensor, nn

__all__ = ["ARCHITECTURES", "IMAGENET", "Architecture"]

IMAGENET: tuple[tuple[float, ...], tuple[float, ...]]
IMAGENET = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
"""Mean and standard deviation of red, green and blue, in [0, 1], over ImageNet."""
OPENAI = (0.48145466, 0.4578275, 0.40821073), (0.26862954, 0.26130258, 0.27577711)
HALF = (0.5, 0.5, 0.5), (0.5, 0.5, 0.5)


def _any_size(embeddings: nn.Module, pixels: Tensor) -> Tensor:
    tokens: Tensor = embeddings(pixels)
    return tokens


def _if_told(embeddings: nn.Module, pixels: Tensor) -> Tensor:
    tokens: Tensor = embeddings(pixels, interpolate_pos_encoding=True)
    return tokens


def _unshuffled(embeddings: nn.Module, pixels: Tensor) -> Tensor:
    """MAE sorts the patches by noise, even if it masks none: rising noise leaves them in order."""
    patch: int = embeddings.patch_size  # type: ignore[assignment]
    count = pixels.shape[2] // patch * (pixels.shape[3] // patch)
    noise = torch.arange(count, device=pixels.device).expand(len(pixels), -1)
    tokens: Tensor = embeddings(pixels, noise=noise, interpolate_pos_encoding=True)[0]
    return tokens


def _packed(embeddings: nn.Module, pixels: Tensor) -> Tensor:
    """SigLIP 2 of any resolution takes its patches cut out, each (row, column, channel)."""
    patch: int = embeddings.patch_size  # type: ignore[assignment]
    batch, channels, height, width = pixels.shape
    rows, columns = height // patch, width // patch
    cut = pixels.reshape(batch, channels, rows, patch, columns, patch).permute(0, 2, 4, 3, 5, 1)
    grids = torch.tensor([[rows, columns]], device="cpu").expand(batch, -1)
    tokens: Tensor = embeddings(cut.reshape(batch, rows * columns, -1), grids)
    return tokens


@dataclass(frozen=True, slots=True)
class Architecture:
    """Where the library's class of one architecture keeps its parts.

    Attributes
    ----------
    model : str
        The library's class. Its part ``embeddings`` makes tokens of pixels; `embed` calls it.
    prefix : tuple of int or str
        How many tokens come before those of the patches: numbers, or names of numbers in the
        configuration.
    blocks, norm1, attention, norm : str
        The list of blocks; in each block, the norm before the attention and the attention itself,
        whose projections are ``q_proj``, ``k_proj`` and ``v_proj``; the final norm.
    table : str
        The table of learnt positions in ``embeddings``, which the library stretches to the image's
        grid (bicubic). Empty: positions are rotary or follow another rule, and the setting
        "published" means nothing.
    as_published : bool
        The original repository stretches the table as the library does.
    before, rotary : str
        A norm before the blocks, and the part that makes rotary positions for them.
    options : tuple
        Values that replace those of the configuration.
    pixels : tuple
        Mean and deviation of pixels in [0, 1] where no preprocessor_config.json gives them.
    """

    model: str
    prefix: tuple[int | str, ...] = (1,)
    embed: Callable[[nn.Module, Tensor], Tensor] = _if_told
    blocks: str = "layers"
    norm1: str = "layernorm_before"
    attention: str = "attention"
    norm: str = "layernorm"
    table: str = "position_embeddings"
    as_published: bool = False
    before: str = ""
    rotary: str = ""
    options: tuple[tuple[str, object], ...] = ()
    pixels: tuple[tuple[float, ...], tuple[float, ...]] = IMAGENET


_DINO = partial(Architecture, embed=_any_size, blocks="encoder.layer", norm1="norm1")
# CLIP applies its last norm to the class token alone. Methods that use CLIP's patches apply it to
# them too, because it tames the few directions that otherwise outweigh all others.
_TOWER = partial(
    Architecture, blocks="encoder.layers", norm1="layer_norm1", attention="self_attn",
    norm="post_layernorm", table="position_embedding.weight",
)  # fmt: skip
_CLIP = partial(_TOWER, before="pre_layrnorm", pixels=OPENAI)
_SIGLIP = partial(_TOWER, prefix=(), pixels=HALF)

# By model_type in config.json. DINO and MoCo v3 are plain "vit" there, as is DeiT without
# distillation; the SigLIP 2 of one resolution is "siglip".
ARCHITECTURES: Mapping[str, Architecture] = {
    "vit": Architecture("ViTModel"),
    "vit_msn": Architecture("ViTMSNModel"),
    "vit_mae": Architecture("ViTMAEModel", embed=_unshuffled, options=(("mask_ratio", 0.0),)),
    "deit": Architecture("DeiTModel", prefix=(2,)),
    "ijepa": Architecture("IJepaModel", prefix=()),
    "pixio": Architecture("PixioModel", prefix=("n_cls_tokens",), embed=_any_size),
    "dinov2": _DINO("Dinov2Model"),
    "dinov2_with_registers": _DINO(
        "Dinov2WithRegistersModel", prefix=(1, "num_register_tokens"), as_published=True
    ),
    "dinov3_vit": _DINO(
        "DINOv3ViTModel", prefix=(1, "num_register_tokens"), blocks="model.layer", norm="norm",
        table="", rotary="rope_embeddings",
    ),
    "clip": _CLIP("CLIPVisionModel"),
    "clip_vision_model": _CLIP("CLIPVisionModel"),
    "metaclip_2": _CLIP("MetaClip2VisionModel"),
    "metaclip_2_vision_model": _CLIP("MetaClip2VisionModel"),
    "siglip": _SIGLIP("SiglipVisionModel"),
    "siglip_vision_model": _SIGLIP("SiglipVisionModel"),
    "siglip2": _SIGLIP("Siglip2VisionModel", embed=_packed, table=""),
    "siglip2_vision_model": _SIGLIP("Siglip2VisionModel", embed=_packed, table=""),
}  # fmt: skip
"""How the networks of each ``model_type`` of transformers give patch features."""
