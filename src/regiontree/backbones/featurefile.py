"""Patch features on disk: computed once per photograph and network, used by every later tree.

A feature file is one ``.safetensors`` with a tensor ``features`` (h, w, d), float16. If the network
gives descriptors, a tensor ``descriptors`` (h, w, e), float16, has them; if its features serve as
descriptors, the header says so instead. If pixels of the photograph are not there, a tensor
``valid`` says which, one bit a pixel, row by row. The header names, as JSON text, the photograph
(size, sha256), the network (name, sha256 of its weights, precision) and the settings that shaped
the features. All of that is compared when the file is used. So features of another photograph,
network or size are never used by mistake. The features of 840 x 840 pixels from a ViT-S/14 take 2.8
MB, and so do their descriptors.

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

import numpy as np
import torch
from numpy.typing import NDArray
from safetensors import SafetensorError, safe_open
from safetensors.torch import load as load_tensors
from safetensors.torch import save as save_tensors
from torch import Tensor

from regiontree.backbones.views import grid_overlap
from regiontree.errors import FeatureError, plain_value
from regiontree.system.files import atomic_write

__all__ = [
    "FORMAT",
    "Features",
    "load_descriptors",
    "load_features",
    "load_valid",
    "overlap_of",
    "read_features_meta",
    "save_features",
]

FORMAT = "regiontree-features"
"""The format name in the header of every feature file."""
FORMAT_VERSION = 1
_MAX_HEADER = 1 << 20
_SHARED = "features"  # what meta says of descriptors if the features serve as them


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
    valid : (H, W) bool, which pixels of the photograph have data; None: all of them
    descriptors : (h, w, e) tensor, the descriptors of the patches; None if there are none.
        :mod:`regiontree.backbones.descriptors` says what they are. `patches` itself if the features
        serve as the descriptors.
    """

    patches: Tensor
    image_size: tuple[int, int]
    source: dict[str, Any]
    backbone: dict[str, Any]
    overlap: float = 1.0
    valid: NDArray[np.bool_] | None = None
    descriptors: Tensor | None = None


def save_features(path: str | Path, features: Features, settings: Mapping[str, Any]) -> None:
    """Write features as float16. `settings`, JSON values, are those that shaped the features.

    Descriptors are written as float16, too.

    Raises
    ------
    FeatureError
        A value is not finite, or too large for float16.
    """
    path = Path(path)
    tensors = {"features": _as_half(features.patches, f"{path.name}: features")}
    is_shared = features.descriptors is features.patches
    if features.descriptors is not None and not is_shared:
        tensors["descriptors"] = _as_half(features.descriptors, f"{path.name}: descriptors")
    meta: dict[str, Any] = {
        "format": FORMAT,
        "format_version": FORMAT_VERSION,
        "image_size": list(features.image_size),
        "source": features.source,
        "backbone": features.backbone,
        "settings": {name: plain_value(value) for name, value in settings.items()},
    }
    if is_shared:
        meta["descriptors"] = _SHARED
    if features.valid is not None:
        tensors["valid"] = torch.from_numpy(np.packbits(features.valid, axis=1))
    data = save_tensors(tensors, {"meta": json.dumps(meta, sort_keys=True)})
    with atomic_write(path) as file:
        file.write(data)


def _as_half(values: Tensor, what: str) -> Tensor:
    half = values.to("cpu", torch.float16).contiguous()
    if not torch.isfinite(half).all():
        raise FeatureError(
            f"{what} hold values that are not finite as float16 (largest "
            f"{float(values.abs().max()):g}); this network cannot be cached"
        )
    return half


def read_features_meta(path: str | Path) -> dict[str, Any]:
    """The metadata in a feature file's header. The features themselves are not read.

    Raises
    ------
    FeatureError
        The file is missing or damaged, is no feature file, or has a version that this program does
        not read.
    """
    path = Path(path)
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
            if (more := header.get("descriptors")) is not None:
                same_grid = more["shape"][:2] == tensor["shape"][:2] and len(more["shape"]) == 3
                right = right and more["dtype"] == "F16" and same_grid
            ends = [entry["data_offsets"][1] for key, entry in header.items() if key[:2] != "__"]
            whole = path.stat().st_size == 8 + length + max(ends)
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


def load_features(path: str | Path) -> Features:
    """The features of a file; `patches` is (h, w, d) and `descriptors` (h, w, e), float16.

    Raises
    ------
    FeatureError
        As :func:`read_features_meta`.
    """
    path = Path(path)
    meta = read_features_meta(path)
    try:
        tensors = load_tensors(path.read_bytes())
        patches = tensors["features"]
        height, width = (operator.index(side) for side in meta["image_size"])
        descriptors = patches if meta.get("descriptors") == _SHARED else tensors.get("descriptors")
        of_file = [patches] if descriptors is None else [patches, descriptors]
        if height < 1 or width < 1 or any(0 in one.shape for one in of_file):
            raise ValueError("no pixels or no patches")
        valid = _unpacked(tensors.get("valid"), (height, width))
        source, backbone = dict(meta["source"]), dict(meta["backbone"])
    except (OSError, SafetensorError, KeyError, TypeError, ValueError) as error:
        raise FeatureError(f"{path}: damaged or not a feature file; delete it") from error
    if not all(bool(torch.isfinite(one).all()) for one in of_file):
        raise FeatureError(f"{path}: holds values that are not finite; delete it")
    overlap = overlap_of(meta)
    return Features(patches, (height, width), source, backbone, overlap, valid, descriptors)


def load_valid(path: Path) -> NDArray[np.bool_] | None:
    """Which pixels of its photograph have data, (H, W) bool, without the features of the file.

    The result is None if all have.

    Raises
    ------
    FeatureError
        As :func:`read_features_meta`.
    """
    meta = read_features_meta(path)
    try:
        with safe_open(path, "pt") as file:
            bits = file.get_tensor("valid") if "valid" in file.keys() else None  # noqa: SIM118
        height, width = map(int, meta["image_size"])
        return _unpacked(bits, (height, width))
    except (OSError, SafetensorError, KeyError, TypeError, ValueError) as error:
        raise FeatureError(f"{path}: damaged or not a feature file; delete it") from error


def load_descriptors(path: Path) -> Tensor | None:
    """The descriptors of a file, (h, w, e) float16; None if it has none.

    Raises
    ------
    FeatureError
        As :func:`read_features_meta`; or the descriptors are not finite.
    """
    name = "features" if read_features_meta(path).get("descriptors") == _SHARED else "descriptors"
    try:
        with safe_open(path, "pt") as file:
            found: Tensor | None = None
            if name in file.keys():  # noqa: SIM118 - the file is no mapping
                found = file.get_tensor(name)
    except (OSError, SafetensorError) as error:
        raise FeatureError(f"{path}: damaged or not a feature file; delete it") from error
    if found is not None and (0 in found.shape or not bool(torch.isfinite(found).all())):
        raise FeatureError(f"{path}: holds descriptors that are not finite; delete it")
    return found


def _unpacked(bits: Tensor | None, size: tuple[int, int]) -> NDArray[np.bool_] | None:
    """The mask (H, W) bool of its packed rows; a ValueError if they have another shape."""
    if bits is None:
        return None
    if bits.dtype != torch.uint8 or tuple(bits.shape) != (size[0], -(-size[1] // 8)):
        raise ValueError(f"valid is {tuple(bits.shape)} {bits.dtype}")
    return np.unpackbits(bits.numpy(), axis=1, count=size[1]).astype(bool)


def overlap_of(meta: Mapping[str, Any]) -> float:
    """:attr:`Features.overlap` of a file with this header."""
    return grid_overlap(meta["settings"].get("views"), meta["settings"].get("tiles"))
