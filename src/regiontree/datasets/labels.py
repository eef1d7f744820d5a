"""Label trees: the meaning of each value in a ground-truth mask, and how the labels nest.

A label tree is a list of labels. Each label has a path of names from its coarsest group to itself,
a mask value (id) and a kind: foreground, background or ignored.
:mod:`regiontree.datasets.labelfiles` reads labels from files.
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
ALIASES = {  # names of the published text files, and our names for the same trees
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

    A label can also be a group of other labels. For example, some pixels of ``aeroplane`` belong
    to no part of it.

    Attributes
    ----------
    name : str
    labels : tuple of Label
        At least one label is foreground. No two labels share an id, and no two foreground labels
        share a path.

    Raises
    ------
    DataError
        Labels contradict each other, or none is foreground.

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
            raise DataError(
                f"label tree {self.name!r} has no foreground label; at least one is needed"
            )

    @property
    def _foreground(self) -> list[Label]:
        """The foreground labels, in their order."""
        return [label for label in self.labels if label.kind == Kind.FOREGROUND]

    @property
    def max_depth(self) -> int:
        """Depth of the deepest foreground label. A label without a group has depth 1."""
        return max(len(label.path) for label in self._foreground)

    @property
    def names(self) -> dict[int, str]:
        """The name of each id, with its groups, such as ``animal--dog``."""
        return {label.id: label.name for label in self.labels}

    def classes(self, depth: int | None = None) -> ClassTree:
        """The classes that trees are scored against: the whole hierarchy, or one depth of it.

        All background labels become one class, ``background``. It has number 0 and no parent.

        Parameters
        ----------
        depth : int or None
            None: each foreground label and each of its groups is a class. A class comes before the
            classes inside it. From 1 to `max_depth`: each foreground label counts as its group at
            that depth, or as itself if its own depth is smaller. No class then contains another.

        Raises
        ------
        SettingsError
            `depth` is not in the range 1 to `max_depth`.
        """
        if depth is not None:
            depth = check_number("depth", depth, 1, self.max_depth, whole=True)
        class_path = {label.id: label.path[:depth] for label in self._foreground}
        rank: dict[Names, int] = {}  # nodes in the order of their first label
        for label in self._foreground:
            for node in prefixes(label.path):
                rank.setdefault(node, len(rank))
        nodes = sorted(rank, key=lambda node: [rank[above] for above in prefixes(node)])
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
        """The tree in the published text format, which :meth:`from_text` reads."""
        return written(self.labels)

    @classmethod
    def from_text(cls, path: str | Path) -> LabelTree:
        """The tree of a file in the published text format.

        :func:`regiontree.datasets.labelfiles.read_published` describes the format and the errors.
        """
        return cls._of(Path(path), *read_published(Path(path)))

    @classmethod
    def from_yaml(cls, path: str | Path) -> LabelTree:
        """The tree of a file in the YAML format of regiontree.

        :func:`regiontree.datasets.labelfiles.read_yaml` describes the format and the errors.
        """
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
        """The tree of a table with tabs between its columns.

        :func:`regiontree.datasets.labelfiles.read_table` describes the parameters and the errors.
        """
        file = Path(path)
        found = read_table(
            file, columns=columns, ignore=ignore, background=background, prefix=prefix
        )
        return cls._of(file, *found)

    @classmethod
    def _of(cls, file: Path, name: str, labels: Sequence[Label]) -> LabelTree:
        """The tree of the labels in `file`. Error messages name the file."""
        try:
            return cls(name, tuple(labels))
        except DataError as error:
            raise DataError(f"{file}: {error}") from None


def load_label_tree(name_or_path: str | Path) -> LabelTree:
    """A label tree from its name or from a file.

    Parameters
    ----------
    name_or_path : str or Path
        The name of a tree that comes with regiontree (one of :data:`LABEL_TREES` or
        :data:`ALIASES`), a ``.txt`` file in the published format, or a ``.yaml``, ``.yml`` or
        ``.json`` file in the format of regiontree.

    Raises
    ------
    DataError
        No tree has this name, there is no such file, or the file is not a label tree.

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
            f"unknown label tree {name!r}{hint or '.'} Known: {', '.join(known)}, or a file that "
            "ends in .txt, .yaml, .yml or .json"
        )
    if not os.path.exists(file):  # Path.exists raises an error if the name is too long for a file
        known_tree = hint and f"{hint} That label tree comes with regiontree"
        raise DataError(f"{file}: no such file{known_tree}")
    return LabelTree.from_text(file) if suffix == ".txt" else LabelTree.from_yaml(file)
