"""A vision transformer encoder like DINOv2's, with only the parts that inference needs.

A library has such an encoder too, but importing it takes 3 s. Importing this file takes 10 ms
(docs/decisions.md). A model should not take longer to load than to use. A test checks that both
encoders give the same features, up to float32 rounding.

    tokens = [class token, patch embeddings] + positions
    for each block:  x += scale_1 * attention(norm_1(x));  x += scale_2 * mlp(norm_2(x))
    features = norm(x), class token dropped

A :class:`~regiontree.backbones.base.FeatureSpec` can choose other layers and facets than the last
block's output. The encoder then keeps their features on the way through the blocks. With
descriptors, the tokens of the last block are added as more channels. Without descriptors, the
encoder has no blocks after the last one that the ``FeatureSpec`` names.

References: Dosovitskiy et al., ICLR 2021; Touvron et al. (LayerScale), ICCV 2021; Oquab et al.,
DINOv2, TMLR 2024.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional

from regiontree.backbones.base import FeatureSpec
from regiontree.errors import SettingsError

__all__ = ["VisionTransformer", "VitShape", "check_size", "join_layers", "stretch_positions"]


@dataclass(frozen=True, slots=True)
class VitShape:
    """Sizes of a vision transformer.

    Attributes
    ----------
    width
        Length of a token.
    depth
        Number of blocks.
    heads
        Number of attention heads of a block.
    patch
        Side of a patch in pixels.
    positions
        Side of the grid of stored position embeddings, in patches.
    mlp_ratio
        Width of the MLP's hidden layer, as a multiple of `width`.
    """

    width: int
    depth: int
    heads: int
    patch: int
    positions: int
    mlp_ratio: int = 4


class _Block(nn.Module):
    def __init__(self, shape: VitShape) -> None:
        super().__init__()
        width = shape.width
        self.heads = shape.heads
        self.norm1 = nn.LayerNorm(width, eps=1e-6)
        self.qkv = nn.Linear(width, 3 * width)
        self.proj = nn.Linear(width, width)
        self.scale1 = nn.Parameter(torch.empty(width))
        self.norm2 = nn.LayerNorm(width, eps=1e-6)
        self.fc1 = nn.Linear(width, shape.mlp_ratio * width)
        self.fc2 = nn.Linear(shape.mlp_ratio * width, width)
        self.scale2 = nn.Parameter(torch.empty(width))

    def forward(self, x: Tensor) -> Tensor:
        batch, tokens, width = x.shape
        qkv = self.qkv(self.norm1(x)).view(batch, tokens, 3, self.heads, width // self.heads)
        query, key, value = qkv.permute(2, 0, 3, 1, 4).unbind(0)
        mixed = functional.scaled_dot_product_attention(query, key, value)
        x = x + self.scale1 * self.proj(mixed.transpose(1, 2).reshape(batch, tokens, width))
        out: Tensor = x + self.scale2 * self.fc2(functional.gelu(self.fc1(self.norm2(x))))
        return out

    def part(self, x: Tensor, facet: str) -> Tensor:
        """Queries, keys or values (B, tokens, width) of the block's input, heads concatenated."""
        width = x.shape[2]
        start = ("query", "key", "value").index(facet) * width
        rows = slice(start, start + width)
        return functional.linear(self.norm1(x), self.qkv.weight[rows], self.qkv.bias[rows])


class VisionTransformer(nn.Module):
    """An encoder that turns normalised pixels into patch features.

    ``dim`` is the width times the number of layers that `spec` names, and once more the width if
    descriptors have channels of their own. ``descriptor_dim`` is the width, or 0 without
    descriptors; see :mod:`regiontree.backbones.descriptors`.

    Parameters
    ----------
    shape
        Sizes of the encoder.
    spec
        Layers, facet and position embeddings of the features. None: the defaults.

    Raises
    ------
    SettingsError
        `spec` names a layer that the encoder does not have.
    """

    def __init__(self, shape: VitShape, spec: FeatureSpec | None = None) -> None:
        super().__init__()
        self.shape = shape
        self.spec = spec = spec or FeatureSpec()
        self.facet = spec.facet_of(attention=True)
        self.wanted = spec.blocks(shape.depth)
        self.adds_tokens = spec.needs_tokens(shape.depth)
        self.dim = shape.width * (len(self.wanted) + self.adds_tokens)
        self.descriptor_dim = 0 if spec.descriptor == "none" else shape.width
        self.patches = nn.Conv2d(3, shape.width, shape.patch, stride=shape.patch)
        self.class_token = nn.Parameter(torch.empty(1, 1, shape.width))
        self.positions = nn.Parameter(torch.empty(1, 1 + shape.positions**2, shape.width))
        depth = shape.depth if self.adds_tokens else max(self.wanted) + 1
        self.blocks = nn.ModuleList(_Block(shape) for _ in range(depth))
        self.norm = nn.LayerNorm(shape.width, eps=1e-6)

    def forward(self, pixels: Tensor) -> Tensor:
        """Features (B, h, w, dim) of normalised pixels (B, 3, h * patch, w * patch)."""
        grid = self.patches(pixels)
        batch, _, rows, columns = grid.shape
        tokens = grid.flatten(2).transpose(1, 2)
        tokens = torch.cat([self.class_token.expand(batch, -1, -1), tokens], dim=1)
        published = self.spec.positions == "published"
        tokens = tokens + stretch_positions(self.positions, 1, rows, columns, published)
        kept: dict[int, Tensor] = {}
        for i, block in enumerate(self.blocks):
            if self.facet != "token" and i in self.wanted:
                kept[i] = block.part(tokens, self.facet)  # type: ignore[operator]
                if i + 1 == len(self.blocks) and not self.adds_tokens:
                    break
            tokens = block(tokens)
            if self.facet == "token" and i in self.wanted:
                kept[i] = self.norm(tokens)
        features = join_layers([kept[i][:, 1:] for i in self.wanted])
        if self.adds_tokens:
            features = torch.cat([features, self.norm(tokens)[:, 1:]], dim=-1)
        return features.reshape(batch, rows, columns, self.dim)


def join_layers(layers: list[Tensor]) -> Tensor:
    """Features of several layers, each scaled to unit length and concatenated.

    Parameters
    ----------
    layers
        Features (..., d) of each layer. A single layer is returned unchanged.

    Returns
    -------
    (..., d * number of layers), float32 if there are several layers.
    """
    if len(layers) == 1:
        return layers[0]
    return torch.cat([functional.normalize(layer.float(), dim=-1) for layer in layers], dim=-1)


def stretch_positions(
    table: Tensor, prefix: int, rows: int, columns: int, published: bool = False
) -> Tensor:
    """Position embeddings resampled to a grid of patches, bicubic in float32.

    Parameters
    ----------
    table
        (1, prefix + side^2, d) stored position embeddings.
    prefix
        Number of embeddings at the start that belong to no patch. They stay unchanged.
    rows, columns
        Size of the new grid in patches. For side x side patches the table is returned unchanged.
    published
        Resample as the first DINO and DINOv2 repositories do: by the factor (rows + 0.1) / side,
        and not to a given size. Those repositories add 0.1 so that rounding never loses a row. The
        factor samples the table up to 0.1 / side of its spacing away from where the size would.

    Returns
    -------
    (1, prefix + rows * columns, d) in the dtype of `table`.
    """
    side = math.isqrt(table.shape[1] - prefix)
    if (rows, columns) == (side, side):
        return table
    grid = table[:, prefix:].float().reshape(1, side, side, -1).permute(0, 3, 1, 2)
    if published:
        factors = (rows + 0.1) / side, (columns + 0.1) / side
        grid = functional.interpolate(grid, scale_factor=factors, mode="bicubic")
    else:
        grid = functional.interpolate(
            grid, size=(rows, columns), mode="bicubic", align_corners=False
        )
    patches = grid.flatten(2).transpose(1, 2).to(table.dtype)
    return torch.cat([table[:, :prefix], patches], dim=1)


def check_size(pixels: Tensor, patch: int) -> None:
    """Check that images (B, 3, height, width) consist of whole patches, at least one.

    Raises
    ------
    SettingsError
        The height or the width is 0 or not a multiple of `patch`.
    """
    height, width = pixels.shape[2:]
    if height % patch or width % patch or not height * width:
        raise SettingsError(
            f"size {height}x{width} is not a multiple of the backbone's patch of {patch} pixels"
        )
