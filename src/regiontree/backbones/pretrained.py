"""Backbones of no family: weights that the library transformers knows, found by their name."""

from __future__ import annotations

import torch

from regiontree.backbones.base import FeatureSpec
from regiontree.backbones.huggingface import HuggingFaceBackbone
from regiontree.backbones.weights import find_model

__all__ = ["load_pretrained"]


def load_pretrained(
    name: str, device: torch.device, dtype: torch.dtype, spec: FeatureSpec
) -> HuggingFaceBackbone:
    """The backbone of a name of the catalogue, a repository of the hub, a folder or a file."""
    found = find_model(name)
    return HuggingFaceBackbone(
        found.path, device, dtype, spec, name=found.name, digest=found.digest
    )
