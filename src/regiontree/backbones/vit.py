"""A plain vision transformer encoder, DINOv2 flavour: only what inference needs.

It exists beside the library that also has one because loading a model must not cost more than
using it: importing that library's encoder takes 3 s, this file 10 ms (docs/decisions.md). A test
holds the two together to float32 rounding.

    tokens = [class token, patch embeddings] + positions
    for each block:  x += scale_1 * attention(norm_1(x));  x += scale_2 * mlp(norm_2(x))
    features = norm(x), class token dropped

Reference: Dosovitskiy et al., ICLR 2021; Touvron et al. (LayerScale), ICCV 2021; Oquab et al.,
DINOv2, TMLR 2024.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional

__all__ = ["VisionTransformer", "VitShape"]


@dataclass(frozen=True, slots=True)
class VitShape:
    """Sizes: width of tokens, blocks, attention heads, patch in pixels, positions a side in the
    stored table, hidden width of the MLP as a multiple of `width`."""

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


class VisionTransformer(nn.Module):
    """Pixels (B, 3, h * patch, w * patch), normalised -> patch features (B, h, w, width)."""

    def __init__(self, shape: VitShape) -> None:
        super().__init__()
        self.shape = shape
        self.patches = nn.Conv2d(3, shape.width, shape.patch, stride=shape.patch)
        self.class_token = nn.Parameter(torch.empty(1, 1, shape.width))
        self.positions = nn.Parameter(torch.empty(1, 1 + shape.positions**2, shape.width))
        self.blocks = nn.ModuleList(_Block(shape) for _ in range(shape.depth))
        self.norm = nn.LayerNorm(shape.width, eps=1e-6)

    def forward(self, pixels: Tensor) -> Tensor:
        grid = self.patches(pixels)
        batch, width, rows, columns = grid.shape
        tokens = grid.flatten(2).transpose(1, 2)
        tokens = torch.cat([self.class_token.expand(batch, -1, -1), tokens], dim=1)
        tokens = tokens + self._positions_at(rows, columns)
        for block in self.blocks:
            tokens = block(tokens)
        features: Tensor = self.norm(tokens)[:, 1:]
        return features.reshape(batch, rows, columns, width)

    def _positions_at(self, rows: int, columns: int) -> Tensor:
        """The table of positions stretched (bicubic, float32) to a grid, class position first."""
        side = self.shape.positions
        if (rows, columns) == (side, side):
            return self.positions
        table = self.positions[:, 1:].float().reshape(1, side, side, -1).permute(0, 3, 1, 2)
        table = functional.interpolate(
            table, size=(rows, columns), mode="bicubic", align_corners=False
        )
        table = table.flatten(2).transpose(1, 2).to(self.positions.dtype)
        return torch.cat([self.positions[:, :1], table], dim=1)
