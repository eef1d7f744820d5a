"""Which feature file of a folder belongs to a photograph: the look-up of ``precomputed:FOLDER``.

The features of ``photos/train/0001.png`` are looked for in ``FOLDER/photos/train``, then in
``FOLDER/train``, then in ``FOLDER`` itself, so that a folder of features may be laid out like the
photographs or be flat. The first folder with a file for the photograph decides. In it,
``0001.png.npy`` comes before ``0001.npy``. Region trees of the same name are no features and are
passed over.

A file belongs to one photograph. Several files for one photograph, and several photographs for one
file, are errors.
"""

from __future__ import annotations

import os
import zipfile
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from regiontree.backbones.featurefile import read_features_meta
from regiontree.errors import FeatureError
from regiontree.system.files import sha256_of
from regiontree.system.inputs import FEATURE_SUFFIXES
from regiontree.system.npyfile import members
from regiontree.system.paths import path_problem

__all__ = [
    "Owners",
    "check_source",
    "find_features",
    "is_tree_file",
    "require_folder",
    "shared_features",
]


def require_folder(folder: str | Path) -> None:
    """Check that a folder of features can be listed.

    Raises
    ------
    FeatureError
        There is no such folder, or it cannot be listed.
    """
    problem = path_problem(folder, "folder of features; check the path")
    if problem is None and not os.path.isdir(folder):
        problem = "is a file; name the folder of the features"
    if problem:
        raise FeatureError(f"{folder}: {problem}")


def find_features(folder: str | Path, image: str | Path) -> Path:
    """The feature file of a photograph in a folder.

    Raises
    ------
    FeatureError
        There is no such folder, no such file, or several.
    """
    folder, trees = Path(folder), []
    *above, name = Path(os.path.abspath(image)).parts[1:]
    stem = Path(name).stem
    for start in range(len(above) + 1):
        place = folder.joinpath(*above[start:])
        if not os.path.isdir(place):  # unlike Path.is_dir, it raises no error for a long name
            continue
        for known in dict.fromkeys((name, stem)):
            paths = [place / f"{known}{suffix}" for suffix in sorted(FEATURE_SUFFIXES)]
            there = [path for path in paths if os.path.isfile(path)]
            found = [path for path in there if not is_tree_file(path)]
            trees += [path for path in there if path not in found]
            if len(found) > 1:
                names = " and ".join(path.name for path in found)
                raise FeatureError(
                    f"{place}: holds {names} for {image}; keep the one that is to be used"
                )
            if found:
                return found[0]
    if trees:
        raise FeatureError(f"{trees[0]}: is a region tree and holds no features for {image}")
    require_folder(folder)
    raise FeatureError(f"{folder}: holds no {stem}.npy, .npz or .safetensors for {image}")


def is_tree_file(path: Path) -> bool:
    """Whether a file is an archive with the arrays of a region tree and without features."""
    if path.suffix.lower() != ".npz":
        return False
    try:
        names = members(path)
    except (OSError, ValueError, zipfile.BadZipFile):  # reading it says what is wrong
        return False
    return {"labels.npy", "parents.npy"} <= names and "features.npy" not in names


def recorded_source(path: Path) -> dict[str, Any]:
    """What a feature file of this package says about its photograph; empty for any other file."""
    try:
        source: dict[str, Any] = read_features_meta(path)["source"]
    except FeatureError:
        return {}
    return source


def check_source(path: Path, image: Path, digest: str) -> bool:
    """Whether a feature file records that it was made from this photograph.

    Parameters
    ----------
    path
        The feature file.
    image, digest
        The photograph, and the sha256 of its bytes.

    Raises
    ------
    FeatureError
        The file records another photograph.
    """
    source = recorded_source(path)
    name, recorded = source.get("name"), source.get("sha256")
    if not isinstance(name, str):  # made from an array, whose digest is not that of a file
        return False
    if recorded is None and name != image.name:
        raise FeatureError(f"{path}: was made from the photograph {name}, not from {image}")
    if recorded is not None and recorded != digest:
        made_from = f"another photograph, {name}," if name != image.name else f"another {name}"
        raise FeatureError(
            f"{path}: was made from {made_from} and not from {image}: the sha256 recorded in it is "
            f"{str(recorded)[:12]}..., that of the photograph is {digest[:12]}...; extract its "
            "features again"
        )
    return recorded is not None


def shared_features(folder: Path, images: Iterable[Path]) -> dict[Path, str]:
    """The photographs of a run that share a feature file with another one, each with an error.

    A file that records its photograph is left out, because :func:`check_source` knows better.
    Photographs with equal bytes may share a file.
    """
    users: dict[Path, list[Path]] = {}
    for image in images:
        try:
            users.setdefault(find_features(folder, image), []).append(image)
        except FeatureError:
            continue  # the photograph's own error is told when its turn comes
    errors: dict[Path, str] = {}
    for file, sharing in users.items():
        if len(sharing) < 2 or recorded_source(file).get("sha256"):
            continue
        try:
            if len({sha256_of(image) for image in sharing}) == 1:
                continue
        except OSError:
            pass  # a photograph that cannot be read may differ
        for image in sharing:
            other = sharing[0] if image != sharing[0] else sharing[1]
            errors[image] = _shared(file, image, other)
    return errors


class Owners:
    """The photograph of each feature file that was used, so that no file serves two.

    One object serves one parser. Several threads may use it.
    """

    def __init__(self) -> None:
        self._owners: dict[tuple[Path, str], tuple[Path, str]] = {}

    def claim(self, file: Path, features: str, image: Path, digest: str) -> None:
        """Give a feature file to a photograph.

        Parameters
        ----------
        file, features
            The feature file and its sha256. A file with new content is free again.
        image, digest
            The photograph and its sha256. A copy of it counts as the same photograph, and so does
            a new version in its place.

        Raises
        ------
        FeatureError
            Another photograph has the file.
        """
        own = (Path(os.path.abspath(image)), digest)
        other = self._owners.setdefault((Path(os.path.abspath(file)), features), own)
        if other[0] != own[0] and other[1] != digest:
            raise FeatureError(_shared(file, image, other[0]))


def _shared(file: Path, image: Path, other: Path) -> str:
    return (
        f"{image}: its features would be those of {other}, from {file}; lay out the feature files "
        f"like the photographs ({image.parent.name}/{image.stem}{file.suffix}), or name them with "
        f"the photographs' endings ({image.name}{file.suffix})"
    )
