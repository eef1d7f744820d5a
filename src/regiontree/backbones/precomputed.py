"""Features from a file instead of a network: no model, no download, any source.

A feature file is a ``.npy`` array, an ``.npz`` with an array ``features``, or a ``.safetensors``
with a tensor ``features`` or with a single tensor. The array is (h, w, d), floating point: one
feature of length d for each patch of the grid. ``regiontree run`` keeps features in files of the
last kind. The content of a file decides its kind, not its name. Files are read without pickle and
checked before use.
"""

from __future__ import annotations

import hashlib
import os
import zipfile
from collections.abc import Sequence
from pathlib import Path
from typing import IO, Any

import numpy as np
import torch
from numpy.typing import NDArray
from safetensors import SafetensorError, safe_open

from regiontree.backbones.layout import shape_hint
from regiontree.errors import FeatureError
from regiontree.system.damage import plain_reason
from regiontree.system.npyfile import DAMAGE, read_npy, read_npz
from regiontree.system.paths import path_problem

__all__ = ["check_features", "read_features"]

_DAMAGE = (*DAMAGE, SafetensorError)
_NUMPY = (b"\x93NUMPY", b"PK")


def read_features(path: str | os.PathLike[str]) -> tuple[NDArray[np.floating[Any]], str]:
    """The features (h, w, d), floating point, of a file, and the file's sha256.

    Raises
    ------
    FeatureError
        The file is missing, damaged, pickled or not a feature file, or its shape or values are
        wrong. The message names the file.
    """
    path = Path(path)
    if os.path.isdir(path):
        raise FeatureError(f"{path}: is a folder; name a feature file in it")
    if problem := path_problem(path, "feature file; check the path"):
        raise FeatureError(f"{path}: {problem}")
    try:
        with path.open("rb") as file:
            digest = hashlib.file_digest(file, "sha256").hexdigest()
            file.seek(0)
            start = file.read(9)
            file.seek(0)
            # A safetensors file begins with the length of its header, which is JSON.
            safetensors = start[8:] == b"{" and not start.startswith(_NUMPY)
            features = _read_tensor(path) if safetensors else _read_array(file, str(path))
    except FeatureError:
        raise
    except _DAMAGE as error:
        raise FeatureError(f"{path}: cannot be read as features ({plain_reason(error)})") from error
    return check_features(features, str(path)), digest


def _read_tensor(path: Path) -> NDArray[Any]:
    with safe_open(path, "pt") as file:
        names = file.keys()
        if "features" not in names and len(names) != 1:
            raise FeatureError(
                f"{path}: has no tensor 'features' (it has {_listed(names)}); write it "
                "with safetensors.torch.save_file({'features': ...}, path)"
            )
        tensor = file.get_tensor("features" if "features" in names else names[0])
    # NumPy has no bfloat16.
    array: NDArray[Any] = (tensor.float() if tensor.dtype == torch.bfloat16 else tensor).numpy()
    return array


def _read_array(file: IO[bytes], name: str) -> Any:
    start = file.read(6)
    file.seek(0)
    if not start:
        raise FeatureError(f"{name}: is empty (0 bytes); write it again")
    if not start.startswith(_NUMPY):
        # NumPy would take the file for a pickle and suggest loading it as one.
        raise FeatureError(
            f"{name}: is not a NumPy file (it starts with {start!r}); write it with numpy.save"
        )
    if start == _NUMPY[0]:
        return read_npy(file, os.fstat(file.fileno()).st_size)
    arrays = read_npz(file, {"features"})
    if "features" not in arrays:
        with zipfile.ZipFile(file) as archive:
            there = [member.removesuffix(".npy") for member in archive.namelist()]
        if {"labels", "parents"} <= set(there):
            raise FeatureError(f"{name}: is a region tree and holds no features")
        raise FeatureError(
            f"{name}: has no array 'features' (it has {_listed(there)}); "
            "write it with numpy.savez(path, features=...)"
        )
    return arrays["features"]


def _listed(names: Sequence[str]) -> str:
    """The first names in a file, without control characters, for a message."""
    shown = [name if name.isprintable() else ascii(name) for name in names[:8]]
    more = f" and {len(names) - 8} more" if len(names) > 8 else ""
    return ", ".join(one[:60] for one in shown) + more or "none"


def check_features(features: Any, name: str) -> NDArray[np.floating[Any]]:
    """The features (h, w, d) as an array that torch accepts.

    The array is copied only if torch refuses it: foreign byte order, more than 64 bits, negative
    strides or read-only memory.

    Raises
    ------
    FeatureError
        The shape, type or values are wrong. The message begins with `name`.
    """
    if not isinstance(features, np.ndarray):
        raise FeatureError(f"{name}: is not an array but {type(features).__name__}")
    if features.ndim != 3 or 0 in features.shape or features.dtype.kind != "f":
        raise FeatureError(
            f"{name}: must be a non-empty array (h, w, d) of floats, got shape "
            f"{features.shape} of {features.dtype}{shape_hint(features.shape)}"
        )
    bad = int((~np.isfinite(features)).any(axis=2).sum())
    if bad:
        raise FeatureError(
            f"{name}: {bad} of {features.shape[0] * features.shape[1]} patches hold NaN or "
            "infinity; fill them, or check what computed them"
        )
    native = np.dtype(f"f{min(features.dtype.itemsize, 8)}")
    return np.require(features, native, ["C", "W"])
