"""The catalogue of data sets known by name, and functions that open any data set.

Each file in ``catalog/`` describes one data set. It has a title, a home page, a licence, the
downloads, the layout of the files, and a spec (:class:`~regiontree.datasets.spec.DatasetSpec`) for
each split. The section ``common`` holds the keys that all splits share. The files of a data set are
looked for in ``datasets/FOLDER``, where the catalogue names FOLDER, or in the root that the caller
gives. regiontree never downloads a data set.
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
    """One download of a data set.

    Attributes
    ----------
    what : str
        What to download, usually the name of a file.
    to : str
        Folder to put it in, below the root of the data set.
    url : str, optional
        Where to get it.
    size : str, optional
        Size of the download, such as ``11 GB``.
    splits : tuple of str
        Names or patterns of the splits that need it. Default: all splits.
    """

    what: str
    to: str
    url: str | None = None
    size: str | None = None
    splits: Listed[str] = ("*",)


class Entry(Section):
    """A data set of the catalogue.

    Attributes
    ----------
    title, home, licence : str
        Title, address of the home page, and licence of the data set.
    folder : str
        Folder of its files, below ``datasets/``.
    download : tuple of Download
    layout : str
        Drawing of the files below the root.
    common : mapping
        Keys of the spec that all splits share.
    splits : mapping
        For each split, the other keys of its spec.
    """

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
        """Folder that the files are in, if the caller gives no root."""
        return Path("datasets", self.folder)


@cache
def entry(name: str) -> Entry:
    """The data set of that name in the catalogue.

    Raises
    ------
    ConfigError
        There is no such data set. The message suggests the most similar name.
    """
    if name not in CATALOGUE:
        raise ConfigError(
            f"unknown data set {name!r}{nearest(name, CATALOGUE)} "
            "(or give a .yaml or .json file that describes your data set)"
        )
    file = _FOLDER / f"{name}.yaml"
    return validated(Entry, read_mapping(file, "a data set"), file)


def spec_of(name: str, split: str | None = None) -> DatasetSpec:
    """The spec of a split of a data set in the catalogue.

    Parameters
    ----------
    name : str
        One of :data:`CATALOGUE`.
    split : str, optional
        By default ``val``, or the first split if there is no ``val``.

    Raises
    ------
    ConfigError
        There is no such data set or split. The message suggests the most similar name.
    """
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
    """A data set, with each image paired with its masks.

    Missing files are not an error. They are listed in
    :attr:`~regiontree.datasets.dataset.Dataset.problems`.

    Parameters
    ----------
    data : str, Path or DatasetSpec
        A name in :data:`CATALOGUE`, a YAML or JSON file with a spec, or a spec.
    split : str, optional
        A split of the data set. For the catalogue, the default is ``val``, or the first split if
        there is no ``val``. A spec describes only one split.
    root : str or Path, optional
        Folder of the data set's files. The default is :attr:`Entry.root` for the catalogue, and
        the spec's own root for a spec.

    Raises
    ------
    ConfigError
        A name, split or key is unknown, or a value is wrong. The message suggests the most similar
        name.
    """
    if isinstance(data, DatasetSpec) or Path(data).suffix.lower() in (".yaml", ".yml", ".json"):
        return open_spec(data, split, root)
    name = str(data)
    return list_dataset(spec_of(name, split), entry(name).root if root is None else Path(root))


def check_dataset(
    data: str | Path | DatasetSpec, split: str | None = None, root: str | Path | None = None
) -> list[str]:
    """Sentences that say what a data set lacks. The list is empty if nothing is missing.

    If the data set is in the catalogue, the list also says what to download. No mask is opened.

    Parameters
    ----------
    data, split, root
        As for :func:`open_dataset`.

    Raises
    ------
    ConfigError
        As for :func:`open_dataset`.
    """
    dataset = open_dataset(data, split, root)
    sentences = list(dataset.problems)
    if sentences and not isinstance(data, DatasetSpec) and str(data) in CATALOGUE:
        for file in entry(str(data)).download:
            if any(fnmatch(dataset.split, pattern) for pattern in file.splits):
                size = f" ({file.size})" if file.size else ""
                source = f" from {file.url}" if file.url else ""
                sentences.append(
                    f"get {file.what}{size}{source} and put it in {dataset.root / file.to}"
                )
    return sentences
