"""Data sets known by name: where to get them, where their files go, and how to open any data set.

Each is a file of ``catalog/``: its title, home page, licence, downloads, layout, and a spec
(:class:`~regiontree.datasets.spec.DatasetSpec`) for each split, with what all splits share under
``common``. Its files are looked for in ``datasets/`` and the folder it names, unless a root is
given. Nothing is ever downloaded.
"""

from __future__ import annotations

from collections.abc import Mapping
from fnmatch import fnmatch
from functools import cache
from pathlib import Path
from typing import Any

from pydantic import Field

from regiontree.datasets.dataset import Dataset, list_dataset, open_spec
from regiontree.datasets.spec import DatasetSpec
from regiontree.errors import ConfigError
from regiontree.system.reading import Listed, Section, nearest, read_mapping, validated

__all__ = ["CATALOGUE", "Download", "Entry", "check_dataset", "entry", "open_dataset", "spec_of"]

_FOLDER = Path(__file__).with_name("catalog")
CATALOGUE = tuple(sorted(file.stem for file in _FOLDER.glob("*.yaml")))
"""The names of all data sets that are known by name."""


class Download(Section):
    """What to fetch, where to put it below the root, and the splits (patterns) that need it."""

    what: str
    to: str
    url: str | None = None
    size: str | None = None
    splits: Listed[str] = ("*",)


class Entry(Section):
    """A data set of the catalogue; `common` is part of each of `splits`."""

    title: str
    home: str
    folder: str
    licence: str
    download: Listed[Download]
    layout: str
    common: Mapping[str, Any] = Field(default_factory=dict)
    splits: Mapping[str, Mapping[str, Any]]

    @property
    def root(self) -> Path:
        """Where its files are looked for."""
        return Path("datasets", self.folder)


@cache
def entry(name: str) -> Entry:
    """The data set of that name; an unknown name is a ConfigError that suggests one."""
    if name not in CATALOGUE:
        raise ConfigError(
            f"unknown data set {name!r}{nearest(name, CATALOGUE)} "
            "(or name a .yaml or .json file that describes yours)"
        )
    file = _FOLDER / f"{name}.yaml"
    return validated(Entry, read_mapping(file, "a data set"), file)


def spec_of(name: str, split: str | None = None) -> DatasetSpec:
    """The spec of a split, by default ``val`` or else the first."""
    splits = entry(name).splits
    if split is None:
        split = "val" if "val" in splits else next(iter(splits))
    if split not in splits:
        raise ConfigError(f"{name}: unknown split {split!r}{nearest(split, splits)}")
    given = {"name": name, "split": split, **entry(name).common, **splits[split]}
    return validated(DatasetSpec, given, f"{name}, split {split}")


def open_dataset(
    data: str | Path | DatasetSpec, split: str | None = None, root: str | Path | None = None
) -> Dataset:
    """Open a data set: list its files, pair them, and say what is missing.

    Parameters
    ----------
    data : str, Path or DatasetSpec
        A name in :data:`CATALOGUE`, a YAML or JSON file with a spec, or a spec.
    split : str, optional
        Of the catalogue; by default ``val``, or else its first. A spec is of one split already.
    root : str or Path, optional
        Folder that its files are in; by default ``datasets/`` and its own folder, or for a spec
        its own root.

    Raises
    ------
    ConfigError
        Unknown name, split or key, or a wrong value; the nearest known one is suggested. What
        is missing is no error: see :attr:`~regiontree.datasets.dataset.Dataset.problems`.
    """
    if isinstance(data, DatasetSpec) or Path(data).suffix.lower() in (".yaml", ".yml", ".json"):
        return open_spec(data, split, root)
    name = str(data)
    return list_dataset(spec_of(name, split), entry(name).root if root is None else Path(root))


def check_dataset(
    data: str | Path | DatasetSpec, split: str | None = None, root: str | Path | None = None
) -> list[str]:
    """What a data set lacks, in sentences, and for one of the catalogue what to get from where.

    Nothing lacking is an empty list. No mask is opened.

    Raises
    ------
    ConfigError
        As :func:`open_dataset`.
    """
    dataset = open_dataset(data, split, root)
    told = list(dataset.problems)
    if told and not isinstance(data, DatasetSpec) and str(data) in CATALOGUE:
        for file in entry(str(data)).download:
            if any(fnmatch(dataset.split, pattern) for pattern in file.splits):
                size = f" ({file.size})" if file.size else ""
                source = f" from {file.url}" if file.url else ""
                told.append(f"get {file.what}{size}{source}; it goes to {dataset.root / file.to}")
    return told
