"""Backbones by name: which class runs what the user wrote.

``embedded`` comes with an extra, ``onnx:FILE`` is run as it is; every other name is of weights that
transformers knows (:mod:`.catalog`, a hub's ``owner/model``, a folder), found by :mod:`.weights`.
``precomputed`` runs no network and never comes here.
"""

from __future__ import annotations

from pathlib import Path

import torch

from regiontree.backbones.base import Backbone, FeatureSpec

__all__ = ["load_backbone"]


def load_backbone(
    name: str, device: torch.device, dtype: torch.dtype, spec: FeatureSpec | None = None
) -> Backbone:
    """The backbone of that name, ready to run.

    Raises
    ------
    BackboneError
        No such name, and the message suggests the nearest; or its weights cannot be had.
    """
    spec = spec or FeatureSpec()
    if name == "embedded":
        from regiontree.backbones.embedded import EmbeddedBackbone

        return EmbeddedBackbone(device, dtype, spec)
    kind, _, file = name.partition(":")
    if kind == "onnx" and file:
        from regiontree.backbones.onnxfile import OnnxBackbone

        return OnnxBackbone(Path(file), device, dtype, spec)
    from regiontree.backbones.huggingface import HuggingFaceBackbone
    from regiontree.backbones.weights import find_model

    found = find_model(name)
    return HuggingFaceBackbone(
        found.path, device, dtype, spec, name=found.name, digest=found.digest
    )
