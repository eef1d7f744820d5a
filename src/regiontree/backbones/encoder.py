"""Networks of the library transformers, run part by part: embeddings, blocks, final norm.

So a network gives what a :class:`~regiontree.backbones.base.FeatureSpec` asks for on the way, runs
no block that is not needed, and drops the tokens that belong to no patch. Poolers, heads and text
towers are left out. A ResNet has stages instead of blocks, and its features are its descriptors.
"""

from __future__ import annotations

from functools import partial
from typing import Any

import torch
from torch import Tensor, nn

from regiontree.backbones.architectures import Architecture
from regiontree.backbones.base import FeatureSpec
from regiontree.backbones.vit import join_layers, stretch_positions
from regiontree.errors import SettingsError

__all__ = ["Encoder", "Stages"]


class Encoder(nn.Module):
    """Pixels (B, 3, h * patch, w * patch), normalised -> patch features (B, h, w, dim)."""

    def __init__(self, model: Any, parts: Architecture, spec: FeatureSpec) -> None:
        super().__init__()
        config = model.config
        blocks = model.get_submodule(parts.blocks)
        self.embed = parts.embed
        self.facet = spec.facet_of(attention=True)
        self.norm1, self.attention = parts.norm1, parts.attention
        self.wanted = spec.blocks(len(blocks))
        self.prefix = sum(getattr(config, n) if isinstance(n, str) else n for n in parts.prefix)
        self.patch: int = config.patch_size
        self.embeddings = model.embeddings
        self.before = model.get_submodule(parts.before) if parts.before else nn.Identity()
        self.rotary = model.get_submodule(parts.rotary) if parts.rotary else None
        self.adds_tokens = spec.needs_tokens(len(blocks))
        self.blocks = blocks if self.adds_tokens else blocks[: max(self.wanted) + 1]
        self.norm = model.get_submodule(parts.norm)
        tokens: int = config.hidden_size
        width = tokens
        if self.facet != "token":
            width = self._projection(self.blocks[0]).out_features
        self.dim: int = width * len(self.wanted) + tokens * self.adds_tokens
        self.descriptor_dim = 0 if spec.descriptor == "none" else tokens
        if spec.positions == "published":
            if not parts.table:
                raise SettingsError(
                    f"positions 'published' is a way to stretch a table of positions, and "
                    f"{parts.model} has none that it fits; use positions 'upstream'"
                )
            if not parts.as_published:
                self.embeddings.interpolate_pos_encoding = partial(self._published, parts.table)

    def forward(self, pixels: Tensor) -> Tensor:
        """Features of the patches: pixels (B, 3, H, W), scaled as the network wants them."""
        batch, _, height, width = pixels.shape
        tokens = self.before(self.embed(self.embeddings, pixels))
        rotary = {} if self.rotary is None else {"position_embeddings": self.rotary(pixels)}
        kept: dict[int, Tensor] = {}
        for i, block in enumerate(self.blocks):
            if self.facet != "token" and i in self.wanted:
                kept[i] = self._projection(block)(block.get_submodule(self.norm1)(tokens))
                if i + 1 == len(self.blocks) and not self.adds_tokens:
                    break
            tokens = block(tokens, None, **rotary)
            if self.facet == "token" and i in self.wanted:
                kept[i] = self.norm(tokens)
        features = join_layers([kept[i][:, self.prefix :] for i in self.wanted])
        if self.adds_tokens:
            features = torch.cat([features, self.norm(tokens)[:, self.prefix :]], dim=-1)
        return features.reshape(batch, height // self.patch, width // self.patch, self.dim)

    def _projection(self, block: nn.Module) -> Any:
        return block.get_submodule(f"{self.attention}.{self.facet[0]}_proj")

    def _published(self, table: str, _tokens: Tensor, height: int, width: int) -> Tensor:
        """In place of the embeddings' method: their table on the grid of an image."""
        owner, _, name = table.rpartition(".")
        positions = getattr(self.embeddings.get_submodule(owner), name)
        positions = positions.reshape(1, -1, positions.shape[-1])
        rows, columns = height // self.patch, width // self.patch
        return stretch_positions(positions, self.prefix, rows, columns, published=True)


class Stages(nn.Module):
    """Normalised pixels -> features (B, h, w, dim) of a ResNet's stage, its stride the patch."""

    def __init__(self, model: Any, spec: FeatureSpec) -> None:
        super().__init__()
        config = model.config
        if spec.facet_of(attention=False) != "token" or spec.positions != "upstream":
            raise SettingsError(
                f"a ResNet has neither queries, keys and values nor positions; got facet "
                f"{spec.facet!r} and positions {spec.positions!r}, use 'token' and 'upstream'"
            )
        stages = model.encoder.stages
        wanted = spec.blocks(len(stages))
        if len(wanted) > 1:
            raise SettingsError(
                f"each stage of a ResNet has a grid of its own, so layers must be one, got "
                f"{spec.layers}"
            )
        self.embedder = model.embedder
        self.stages = stages[: wanted[0] + 1]
        self.patch = 4 * 2 ** (wanted[0] + config.downsample_in_first_stage)
        self.dim: int = config.hidden_sizes[wanted[0]]
        self.descriptor_dim = 0 if spec.descriptor == "none" else self.dim

    def forward(self, pixels: Tensor) -> Tensor:
        """Features of the grid: pixels (B, 3, H, W), scaled as the network wants them."""
        grid: Tensor = self.embedder(pixels)
        for stage in self.stages:
            grid = stage(grid)
        return grid.permute(0, 2, 3, 1)
