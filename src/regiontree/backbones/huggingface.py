"""Any self-supervised network of the library transformers, from a folder on disk, as a backbone.

:mod:`.saved` loads and checks the network, :mod:`.architectures` says where its parts are, and
:mod:`.encoder` runs them.
"""

from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path

import torch
from torch import Tensor, nn

from regiontree.backbones.architectures import ARCHITECTURES, IMAGENET
from regiontree.backbones.base import FeatureSpec
from regiontree.backbones.checkpoints import is_checkpoint, load_checkpoint
from regiontree.backbones.encoder import Encoder, Stages
from regiontree.backbones.saved import EXTRA, load_network, pixel_statistics, read_json
from regiontree.backbones.vit import check_size
from regiontree.errors import BackboneError, MissingExtraError

__all__ = ["HuggingFaceBackbone"]


class HuggingFaceBackbone:
    """See the module's text and :class:`regiontree.backbones.base.Backbone`.

    Parameters
    ----------
    folder
        Holds config.json and the weights, as ``save_pretrained`` or a download leaves them:
        safetensors, else .bin, in one file or in shards. Or a file that
        :mod:`regiontree.backbones.checkpoints` reads.
    device, dtype, spec
        Where the network runs, in which precision, and what a feature is.
    name, digest
        What trees record of the network.

    Attributes
    ----------
    model : torch.nn.Module
        The network, from normalised pixels to features.

    Raises
    ------
    MissingExtraError
        transformers is not installed, or is too old.
    BackboneError
        There is no such folder or network, the network has no patches, or its weights are damaged
        or do not fit.
    SettingsError
        The network does not have what `spec` asks for.
    """

    def __init__(
        self,
        folder: Path,
        device: torch.device,
        dtype: torch.dtype,
        spec: FeatureSpec,
        *,
        name: str,
        digest: str,
    ) -> None:
        self.name = name
        self.digest = digest
        self.device = device
        self.dtype = dtype
        if find_spec("transformers") is None:
            raise MissingExtraError(f"backbone {name!r} needs transformers: {EXTRA}")
        if folder.is_file() and is_checkpoint(folder):
            config, weights = load_checkpoint(folder)
        else:
            config, weights = read_json(folder / "config.json"), None
        kind = config.get("model_type")
        mean, deviation = IMAGENET
        model: Encoder | Stages
        if kind == "resnet":
            parts: tuple[str, ...] = ("embedder", "encoder")
            loaded = load_network(folder, "ResNetModel", parts, dtype, config, weights)
            model = Stages(loaded, spec)
        elif kept := ARCHITECTURES.get(str(kind)):
            mean, deviation = kept.pixels
            parts = ("embeddings", kept.blocks, kept.norm)
            loaded = load_network(
                folder,
                kept.model,
                parts,
                dtype,
                config,
                weights,
                **dict(kept.options),
            )
            try:
                model = Encoder(loaded, kept, spec)
            except AttributeError as error:
                raise MissingExtraError(
                    f"the installed transformers builds a {kept.model} otherwise than version "
                    f"5.23 ({error}): {EXTRA}"
                ) from None
        else:
            raise BackboneError(
                f"{folder}: config.json says model_type {kind!r}; take a network of one of the "
                f"kinds {', '.join(ARCHITECTURES)}, resnet"
            )
        if weights is None:
            mean, deviation = pixel_statistics(folder, mean, deviation)
        self.patch = model.patch
        self.dim = model.dim
        self.descriptor_dim = model.descriptor_dim
        self.model: nn.Module = model.to(device).eval().requires_grad_(False)
        self._mean, self._deviation = (
            torch.tensor(numbers, dtype=torch.float32, device=device)[:, None, None]
            for numbers in (mean, deviation)
        )

    @torch.no_grad()
    def features(self, pixels: Tensor) -> Tensor:
        """(B, 3, h * patch, w * patch) in [0, 1] -> (B, h, w, dim) float32 on `device`."""
        check_size(pixels, self.patch)
        pixels = (pixels.to(self.device) - self._mean) / self._deviation
        features: Tensor = self.model(pixels.to(self.dtype))
        return features.float()
