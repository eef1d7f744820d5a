"""Backbones by name."""

from __future__ import annotations

import difflib
from collections.abc import Callable

import torch

from regiontree.backbones.base import Backbone, FeatureSpec
from regiontree.backbones.embedded import EmbeddedBackbone
from regiontree.errors import BackboneError

__all__ = ["BACKBONES", "load_backbone"]

BACKBONES: dict[str, Callable[[torch.device, torch.dtype, FeatureSpec], Backbone]] = {
    "embedded": EmbeddedBackbone,
}


def load_backbone(
    name: str, device: torch.device, dtype: torch.dtype, spec: FeatureSpec | None = None
) -> Backbone:
    """The backbone of that name, ready to run.

    Raises
    ------
    BackboneError
        No such name; the message lists the names and suggests the nearest.
    """
    if name not in BACKBONES:
        near = difflib.get_close_matches(name, [*BACKBONES, "precomputed"], n=1)
        hint = f"; did you mean {near[0]!r}?" if near else "."
        raise BackboneError(
            f"unknown backbone {name!r}{hint} Known names: {', '.join(BACKBONES)}, precomputed, "
            "precomputed:FOLDER"
        )
    return BACKBONES[name](device, dtype, spec or FeatureSpec())
