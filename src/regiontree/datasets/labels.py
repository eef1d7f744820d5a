"""Label trees: what each value of a ground-truth mask means, from the coarsest group to its name.

A tree is a list of labels; each has the path of names that leads to it, the mask value (id) and a
kind: foreground, background, or ignored. :mod:`regiontree.datasets.labelfiles` reads labels from
files.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from regiontree.datasets.label import Kind, Label, Names, first_clash, prefixes
from regiontree.datasets.labelfiles import read_published, read_table, read_yaml, written
from regiontree.errors import DataError, check_number, nearest_name
from regiontree.metrics.classes import ClassTree

__all__ = ["ALIASES", "LABEL_TREES", "Kind", "Label", "LabelTree", "Names", "load_label_tree"]

_FOLDER = Path(__file__).with_name("label_trees")
LABEL_TREES = tuple(sorted(file.stem for file in _FOLDER.glob("*.yaml")))
"""The names of the label trees that come with the package."""
ALIASES = {  # names of the published text files, where ours differ
    "cocostuff": "coco_stuff",
    "cocostuffthing": "coco_stuffthings",
    "cocothing": "coco_things",
    "kittistep": "kitti_step",
    "mapillaryvistas": "mapillary_vistas",
    "pascalpart1": "pascalpart_grouped",
}
"""Names of the published label files, where ours differ, and our names for them."""


@dataclass(frozen=True)
class LabelTree:
    """The labels of a data set and how they nest.

    A path may lead on from another label's: pixels of ``aeroplane`` may have no part.

    Attributes
    ----------
    name : str
    labels : tuple of Label
        Ids are unique, and so are the paths of foreground labels, of which there is at least one.

    Examples
    --------
    >>> tree = LabelTree("pets", (Label(("none",), 0, Kind.BACKGROUND), Label(("animal", "dog"), 1),
    ...                           Label(("animal",), 3), Label(("unlabeled",), 255, Kind.IGNORE)))
    >>> tree.classes().names
    ('background', 'animal', 'animal--dog')
    >>> tree.classes(depth=1).names
    ('background', 'animal')
    """

    name: str
    labels: tuple[Label, ...]

    def __post_init__(self) -> None:
        object.__setattr__(self, "labels", tuple(self.labels))
        if clash := first_clash(self.labels):
            raise DataError(f"label tree {self.name!r}: {clash[1]}")
        if not self._foreground:
            raise DataError(f"label tree {self.name!r} has no foreground label, so nothing to find")

    @property
    def _foreground(self) -> list[Label]:
        return [label for label in self.labels if label.kind == Kind.FOREGROUND]

    @property
    def max_depth(self) -> int:
        """Depth of the deepest foreground label; those without a group are at 1."""
        return max(len(label.path) for label in self._foreground)

    @property
    def names(self) -> dict[int, str]:
        """Name of each id, its groups before it: ``animal--dog``."""
        return {label.id: label.name for label in self.labels}

    def classes(self, depth: int | None = None) -> ClassTree:
        """Classes to measure against: the whole hierarchy, or a flat list at one depth.

        Every background label is of one class, ``background``, number 0, inside none.

        Parameters
        ----------
        depth : int or None
            None: every foreground label and each of its ancestors is a class, each before those
            inside it. From 1 to `max_depth`: each foreground label counts as its ancestor at that
            depth, or as itself if it lies higher, and no class contains another.

        Raises
        ------
        SettingsError
            `depth` is not in that range.
        """
        if depth is not None:
            check_number("depth", depth, 1, self.max_depth, whole=True)
        class_path = {label.id: label.path[:depth] for label in self._foreground}
        place: dict[Names, int] = {}  # when each node was first met
        for label in self._foreground:
            for node in prefixes(label.path):
                place.setdefault(node, len(place))
        nodes = sorted(place, key=lambda node: [place[above] for above in prefixes(node)])
        if depth is not None:
            kept = set(class_path.values())
            nodes = [node for node in nodes if node in kept]

        background = [label.id for label in self.labels if label.kind == Kind.BACKGROUND]
        first = 1 if background else 0
        number = {node: k for k, node in enumerate(nodes, first)}
        parents = [number.get(node[:-1], -1) if depth is None else -1 for node in nodes]
        return ClassTree(
            names=("background",) * first + tuple("--".join(node) for node in nodes),
            parents=np.array([-1] * first + parents, np.int32),
            class_of_id={
                **dict.fromkeys(background, 0),
                **{id: number[path] for id, path in class_path.items()},
            },
            ignored=frozenset(label.id for label in self.labels if label.kind == Kind.IGNORE),
            background=0 if background else None,
        )

    def to_text(self) -> str:
        """The tree in the published text format; :meth:`from_text` reads the same labels back."""
        return written(self.labels)

    @classmethod
    def from_text(cls, path: str | Path) -> LabelTree:
        """Read the published text format: :func:`regiontree.datasets.labelfiles.read_published`."""
        return cls._of(Path(path), *read_published(Path(path)))

    @classmethod
    def from_yaml(cls, path: str | Path) -> LabelTree:
        """Read our own format: :func:`regiontree.datasets.labelfiles.read_yaml`."""
        return cls._of(Path(path), *read_yaml(Path(path)))

    @classmethod
    def from_table(
        cls,
        path: str | Path,
        *,
        columns: Sequence[int] | None = None,
        ignore: Iterable[int | str] = (),
        background: Iterable[int | str] = (),
        prefix: str | None = None,
    ) -> LabelTree:
        """Read a table: :func:`regiontree.datasets.labelfiles.read_table`."""
        file = Path(path)
        found = read_table(
            file, columns=columns, ignore=ignore, background=background, prefix=prefix
        )
        return cls._of(file, *found)

    @classmethod
    def _of(cls, file: Path, name: str, labels: Sequence[Label]) -> LabelTree:
        """The tree of a file's labels; what is wrong with them is told with the file's name."""
        try:
            return cls(name, tuple(labels))
        except DataError as error:
            raise DataError(f"{file}: {error}") from None


def load_label_tree(name_or_path: str | Path) -> LabelTree:
    """A label tree that is shipped, by name, or one from a file, by its suffix.

    Parameters
    ----------
    name_or_path : str or Path
        One of :data:`LABEL_TREES` or :data:`ALIASES`, a ``.txt`` in the published format, or a
        ``.yaml``, ``.yml`` or ``.json`` in ours.

    Raises
    ------
    DataError
        Nothing has this name, or the file is not a label tree.

    Examples
    --------
    >>> load_label_tree("cityscapes").classes(depth=1).names
    ('flat', 'construction', 'object', 'nature', 'sky', 'human', 'vehicle')
    """
    name = str(name_or_path)
    name = ALIASES.get(name, name)
    if name in LABEL_TREES:
        return LabelTree.from_yaml(_FOLDER / f"{name}.yaml")
    file = Path(name_or_path)
    known = [*LABEL_TREES, *ALIASES]
    hint = nearest_name(file.stem, known)
    suffix = file.suffix.lower()
    if suffix not in (".txt", ".yaml", ".yml", ".json"):
        raise DataError(
            f"unknown label tree {name!r}{hint or '.'} Known: {', '.join(known)}, or a file ending "
            "in .txt, .yaml, .yml or .json"
        )
    if not os.path.exists(file):  # which takes names too long for a file as well
        raise DataError(f"{file}: no such file{hint and hint + ' That one is shipped'}")
    return LabelTree.from_text(file) if suffix == ".txt" else LabelTree.from_yaml(file)
