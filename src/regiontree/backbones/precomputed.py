"""Features from a file instead of a network: no model, no download, any source.

A feature file is a ``.npy`` array or an ``.npz`` with an array ``features``: (h, w, d), floating,
one unit of the patch grid an entry. It is read without pickle and checked before use.
"""

from __future__ import annotations

import hashlib
import zipfile
import zlib
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from regiontree.errors import FeatureError

__all__ = ["FEATURE_SUFFIXES", "check_features", "find_features", "read_features"]

FEATURE_SUFFIXES = frozenset({".npy", ".npz"})


def read_features(path: str | Path) -> tuple[NDArray[np.floating[Any]], str]:
    """Features (h, w, d) of a file and the file's sha256.

    Raises
    ------
    FeatureError
        Naming the file: missing, not a feature file, damaged, pickled, wrong shape or values.
    """
    path = Path(path)
    if not path.is_file():
        raise FeatureError(f"{path}: no such feature file")
    try:
        if path.suffix.lower() == ".npz":
            with np.load(path, allow_pickle=False) as archive:
                if "features" not in archive:
                    raise FeatureError(
                        f"{path}: has no array 'features' (it has {', '.join(archive) or 'none'})"
                    )
                features = archive["features"]
        else:
            features = np.load(path, allow_pickle=False)
            if not isinstance(features, np.ndarray):
                raise FeatureError(f"{path}: is an archive; name it .npz")
    except (ValueError, OSError, EOFError, zipfile.BadZipFile, zlib.error, KeyError) as error:
        if isinstance(error, FeatureError):
            raise
        raise FeatureError(f"{path}: cannot be read as features ({error})") from error
    with path.open("rb") as file:
        digest = hashlib.file_digest(file, "sha256").hexdigest()
    return check_features(features, str(path)), digest


def check_features(features: NDArray[Any], name: str) -> NDArray[np.floating[Any]]:
    """The array itself if it can be features, else a :class:`FeatureError` naming it."""
    if features.ndim != 3 or 0 in features.shape or features.dtype.kind != "f":
        raise FeatureError(
            f"{name}: features must be a non-empty floating array (h, w, d), got shape "
            f"{features.shape} of {features.dtype}"
        )
    bad = int((~np.isfinite(features)).any(axis=2).sum())
    if bad:
        raise FeatureError(
            f"{name}: {bad} of {features.shape[0] * features.shape[1]} patches hold NaN or infinity"
        )
    return features


def find_features(folder: Path, image: Path) -> Path:
    """The feature file in `folder` named like an image: ``photo.jpg`` -> ``photo.npy`` or ``.npz``."""
    for suffix in sorted(FEATURE_SUFFIXES):
        path = folder / f"{image.stem}{suffix}"
        if path.is_file():
            return path
    raise FeatureError(f"{folder}: holds no {image.stem}.npy or {image.stem}.npz for {image}")
