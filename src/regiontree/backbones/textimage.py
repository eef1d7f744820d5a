"""Networks that put photographs and texts into one space: CLIP and SigLIP, from a local folder.

Both give an embedding of unit length. The cosine of a photograph's and a text's says how well they
fit. The folder holds config.json, the weights and the files of the tokenizer, as a download leaves
them. Nothing is downloaded, and no code of the folder is run.

References: Radford et al. (CLIP), ICML 2021; Zhai et al. (SigLIP), ICCV 2023.
"""

from __future__ import annotations

from collections.abc import Sequence
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch.nn.functional import normalize

from regiontree.backbones.architectures import ARCHITECTURES
from regiontree.backbones.saved import EXTRA, load_network, pixel_statistics, read_json
from regiontree.errors import BackboneError, MissingExtraError

__all__ = ["TextImageModel"]

_NETWORKS = {"clip": "CLIPModel", "siglip": "SiglipModel"}
_PARTS = ("text_model", "vision_model", "visual_projection", "text_projection")
_AT_ONCE = 32  # pictures or texts of a pass
_VOCABULARIES = ("tokenizer.json", "vocab.json", "spiece.model")
# What the library raises for files of a tokenizer that are missing or damaged.
_NO_TOKENIZER = (OSError, ValueError, LookupError, TypeError, ImportError, AttributeError)


class TextImageModel:
    """A network for photographs and texts.

    Parameters
    ----------
    folder
        The folder of the network.
    device
        Where it runs.

    Attributes
    ----------
    scale : float
        What the network multiplies cosines by before a softmax.

    Raises
    ------
    BackboneError
        The folder holds no such network, or a damaged one.
    MissingExtraError
        transformers is not installed.
    """

    def __init__(self, folder: str | Path, device: torch.device) -> None:
        folder = Path(folder)
        if find_spec("transformers") is None:
            raise MissingExtraError(f"{folder}: this network needs transformers: {EXTRA}")
        config = read_json(folder / "config.json")
        kind = str(config.get("model_type"))
        if kind not in _NETWORKS:
            raise BackboneError(
                f"{folder}: holds {kind!r}, which has no texts that fit photographs; take a folder "
                f"of {' or '.join(_NETWORKS)}"
            )
        self._device = device
        # SigLIP was trained without a mask of what is padding.
        self._inputs = ["input_ids", "attention_mask"] if kind == "clip" else ["input_ids"]
        self._model = load_network(folder, _NETWORKS[kind], _PARTS, torch.float32, config, None)
        self._model.to(device).eval()
        self._tokenizer = _tokenizer(folder, int(self._model.config.text_config.vocab_size))
        mean, deviation = pixel_statistics(folder, *ARCHITECTURES[kind].pixels)
        self._mean = torch.tensor(mean, device=device)[:, None, None]
        self._deviation = torch.tensor(deviation, device=device)[:, None, None]
        self._side = int(self._model.config.vision_config.image_size)
        self._length = int(self._model.config.text_config.max_position_embeddings)
        self.scale = float(self._model.logit_scale.detach().exp())

    @torch.inference_mode()
    def of_pictures(self, pictures: Sequence[Image.Image]) -> torch.Tensor:
        """Embeddings of RGB pictures, (n, d) float32 of unit length. Each is made square."""
        found = []
        for start in range(0, len(pictures), _AT_ONCE):
            resized = [
                np.asarray(one.resize((self._side, self._side), Image.Resampling.BICUBIC))
                for one in pictures[start : start + _AT_ONCE]
            ]
            pixels = torch.from_numpy(np.stack(resized)).to(self._device).permute(0, 3, 1, 2) / 255
            pixels = (pixels - self._mean) / self._deviation
            found.append(_unit(self._model.get_image_features(pixel_values=pixels)))
        return torch.cat(found)

    @torch.inference_mode()
    def of_texts(self, texts: Sequence[str]) -> torch.Tensor:
        """Embeddings of texts, (n, d) float32 of unit length. A long text is cut."""
        found = []
        for start in range(0, len(texts), _AT_ONCE):
            tokens = self._tokenizer(
                list(texts[start : start + _AT_ONCE]),
                padding="max_length",  # as SigLIP was trained
                truncation=True,
                max_length=self._length,
                return_tensors="pt",
            )
            given = {name: tokens[name].to(self._device) for name in self._inputs}
            found.append(_unit(self._model.get_text_features(**given)))
        return torch.cat(found)


def _tokenizer(folder: Path, most: int) -> Any:
    """The tokenizer in a folder, which has at most `most` tokens."""
    # Without these files, the library makes a tokenizer that knows no word.
    if not any((folder / name).is_file() for name in _VOCABULARIES):
        raise BackboneError(
            f"{folder}: holds no tokenizer ({', '.join(_VOCABULARIES)}); copy all files of the "
            "network"
        )
    try:
        found = import_module("transformers").AutoTokenizer.from_pretrained(
            folder, local_files_only=True, trust_remote_code=False
        )
    except _NO_TOKENIZER as error:
        reason = " ".join(str(error).split())[:200]
        raise BackboneError(
            f"{folder}: its tokenizer cannot be read ({reason}); copy all files of the network"
        ) from error
    if len(found) > most:
        raise BackboneError(
            f"{folder}: its tokenizer has {len(found):,} tokens and the network {most:,}; copy the "
            "files of one network"
        )
    return found


def _unit(found: Any) -> torch.Tensor:
    """Rows of unit length on the CPU, of what the library gives: a tensor or a record of them."""
    rows = getattr(found, "pooler_output", found)
    return normalize(rows.float(), dim=1).cpu()
