"""Patch features on disk: computed once per photograph and network, used by every later tree.

A feature file is one ``.safetensors`` with a tensor ``features`` (h, w, d), float16. The header
names, as JSON text, the photograph (size, sha256), the network (name, sha256 of its weights,
precision) and the settings that shaped the features. All of that is compared when the file is
used. So features of another photograph, network or size are never used by mistake. The features of
840 x 840 pixels from a ViT-S/14 take 2.8 MB.

Half precision keeps the direction of a feature to a cosine of 0.999999 (:func:`save_features`
refuses values that do not fit). The rounding can change details of a tree, but not its quality; see
docs/decisions.md.
"""

from __future__ import annotations

import json
import operator
import struct
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load as load_tensors
from safetensors.torch import save as save_tensors
from torch import Tensor

from regiontree.backbones.views import grid_overlap
from regiontree.errors import FeatureError
from regiontree.system.files import atomic_write

__all__ = [
    "FORMAT",
    "Features",
    "load_features",
    "overlap_of",
    "read_features_meta",
    "save_features",
]

FORMAT = "regiontree-features"
"""The format name in the header of every feature file."""
FORMAT_VERSION = 1
_MAX_HEADER = 1 << 20


@dataclass(frozen=True, slots=True)
class Features:
    """Patch features of one photograph.

    Attributes
    ----------
    patches : (h, w, d) tensor
    image_size : (H, W) of the photograph in pixels
    source : name and sha256 of the photograph
    backbone : name, sha256 and dtype of the network
    overlap : number of grid patches along one side of a network patch
    """

    patches: Tensor
    image_size: tuple[int, int]
    source: dict[str, Any]
    backbone: dict[str, Any]
    overlap: float = 1.0


def save_features(path: Path, features: Features, settings: Mapping[str, Any]) -> None:
    """Write features as float16. `settings`, JSON values, are those that shaped the features.

    Raises
    ------
    FeatureError
        A value is not finite, or too large for float16.
    """
    half = features.patches.to("cpu", torch.float16).contiguous()
    if not torch.isfinite(half).all():
        raise FeatureError(
            f"{path.name}: features hold values that are not finite as float16 "
            f"(largest {float(features.patches.abs().max()):g}); this network cannot be cached"
        )
    meta = {
        "format": FORMAT,
        "format_version": FORMAT_VERSION,
        "image_size": list(features.image_size),
        "source": features.source,
        "backbone": features.backbone,
        "settings": dict(settings),
    }
    data = save_tensors({"features": half}, {"meta": json.dumps(meta, sort_keys=True)})
    with atomic_write(path) as file:
        file.write(data)


def read_features_meta(path: Path) -> dict[str, Any]:
    """The metadata in a feature file's header. The features themselves are not read.

    Raises
    ------
    FeatureError
        The file is missing or damaged, is no feature file, or has a version that this program does
        not read.
    """
    try:
        with path.open("rb") as file:
            start = file.read(8)
            length = struct.unpack("<Q", start)[0] if len(start) == 8 else 0
            if not 0 < length <= _MAX_HEADER:
                raise FeatureError(f"{path}: damaged or not a feature file; delete it")
            header = json.loads(file.read(length))
            meta = json.loads(header["__metadata__"]["meta"])
            tensor = header["features"]
            right = tensor["dtype"] == "F16" and len(tensor["shape"]) == 3
            whole = path.stat().st_size == 8 + length + tensor["data_offsets"][1]
    except OSError as error:
        raise FeatureError(f"{path}: cannot be read ({error.strerror})") from error
    except (ValueError, KeyError, TypeError, IndexError, RecursionError) as error:
        raise FeatureError(f"{path}: damaged or not a feature file; delete it") from error
    if not isinstance(meta, dict) or meta.get("format") != FORMAT or not right or not whole:
        raise FeatureError(f"{path}: damaged or not a feature file; delete it")
    if not all(isinstance(meta.get(key), dict) for key in ("source", "backbone", "settings")):
        raise FeatureError(f"{path}: does not say what it was made from; delete it")
    if meta.get("format_version") != FORMAT_VERSION:
        raise FeatureError(
            f"{path}: feature file of version {meta.get('format_version')!r}, this program reads "
            f"{FORMAT_VERSION}; delete it to compute it again"
        )
    return meta


def load_features(path: Path) -> Features:
    """The features of a file; `patches` is (h, w, d), float16.

    Raises
    ------
    FeatureError
        As :func:`read_features_meta`.
    """
    meta = read_features_meta(path)
    try:
        patches = load_tensors(path.read_bytes())["features"]
        height, width = (operator.index(side) for side in meta["image_size"])
        if height < 1 or width < 1 or 0 in patches.shape:
            raise ValueError("no pixels or no patches")
        source, backbone = dict(meta["source"]), dict(meta["backbone"])
    except (OSError, SafetensorError, KeyError, TypeError, ValueError) as error:
        raise FeatureError(f"{path}: damaged or not a feature file; delete it") from error
    if not torch.isfinite(patches).all():
        raise FeatureError(f"{path}: holds values that are not finite; delete it")
    overlap = overlap_of(meta)
    return Features(patches, (height, width), source, backbone, overlap)


def overlap_of(meta: Mapping[str, Any]) -> float:
    """:attr:`Features.overlap` of a file with this header."""
    return grid_overlap(meta["settings"].get("views"), meta["settings"].get("tiles"))
