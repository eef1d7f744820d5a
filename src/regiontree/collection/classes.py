"""Classes: the names of categories, or a cut of them, as numbers for every region.

A class is a name. Two categories with the same name are one class. A category of a cut that nobody
named has the class ``category NODE``, with its node in the tree of categories. So no name is ever
guessed.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from regiontree.collection.names import Names
from regiontree.tree import RegionTree
from regiontree.tree.kernel import children

__all__ = ["Classes", "cut_classes", "heirs", "named_classes"]

Int32 = NDArray[np.int32]
_UNNAMED = "category {}"


@dataclass(frozen=True, slots=True, eq=False)
class Classes:
    """C classes.

    Attributes
    ----------
    names : list of str
        Name of each class: names that people gave, sorted, then those without, by their nodes.
    supercategories : list of str
        The nearest other name above each, or its own name if there is none.
    n_named : int
        How many people named.
    of_category : (N,) int32
        The class of each category, 0 to C - 1; -1 for none.
    """

    names: list[str]
    supercategories: list[str]
    n_named: int
    of_category: Int32

    def records(self) -> list[dict[str, Any]]:
        """The classes as COCO's ``categories``, with ids from 1."""
        return [
            {"id": i, "name": name, "supercategory": above, "named": i <= self.n_named}
            for i, (name, above) in enumerate(zip(self.names, self.supercategories, strict=True), 1)
        ]


def named_classes(names: Names) -> Classes:
    """The classes of the names that people gave. A category without a name has no class."""
    known = sorted(set(names.own.values()))
    number: dict[str | None, int] = {name: i for i, name in enumerate(known)}
    of_category = [number.get(names.name(node), -1) for node in range(len(names.parents))]
    above = [_name_above(names, name) for name in known]
    return Classes(known, above, len(known), np.array(of_category, np.int32))


def cut_classes(tree: RegionTree, names: Names, n_categories: int) -> Classes:
    """The classes of the cut into at most n categories.

    Parameters
    ----------
    tree
        The tree of categories.
    names
        A category has its name, or that of the nearest category above with one.
    n_categories
        As for :meth:`RegionTree.cut`.

    Raises
    ------
    TreeError
        `n_categories` is below 1.
    """
    nodes = tree.cut_nodes(n_regions=n_categories)
    given = [names.name(node) for node in nodes.tolist()]
    known = sorted({name for name in given if name is not None})
    taken = set(names.own.values())
    unnamed: list[str] = []
    labels: list[str] = []
    for node, name in zip(nodes.tolist(), given, strict=True):
        if name is None:
            name = _UNNAMED.format(node)
            name += " (unnamed)" * (name in taken)
            unnamed.append(name)
        labels.append(name)
    number = {name: i for i, name in enumerate([*known, *unnamed])}
    place = tree.cut(n_regions=n_categories)[0][heirs(tree)]
    above = [_name_above(names, name) for name in known] + unnamed
    of_cut = np.array([number[label] for label in labels], np.int32)
    return Classes([*known, *unnamed], above, len(known), of_cut[place])


def heirs(tree: RegionTree) -> Int32:
    """The prototype that stands for each category in cuts that divide it, (N,) int32.

    It lies in the category's largest child, in the largest child of that, and so on. Size is the
    number of prototypes; of equal children the first counts. So what a person moved to a category
    stays in one branch of it, however finely the collection is cut.

    Examples
    --------
    >>> tree = RegionTree(labels=[[0, 1, 2]], parents=[3, 3, 4, 4, 4], height=[0, 0, 0, .5, 1])
    >>> heirs(tree).tolist()
    [0, 1, 2, 0, 0]
    """
    first, below = children(tree.parents, tree.area)
    leaves, prototypes = np.unique(tree.labels[0], return_index=True)
    found = np.zeros(tree.n_nodes, np.int32)
    found[leaves] = prototypes  # of a leaf with several, the first
    for node in range(tree.n_leaves, tree.n_nodes):  # children have lower numbers
        found[node] = found[below[first[node]]]
    return found


def _name_above(names: Names, name: str) -> str:
    """The nearest other name above the coarsest category of a name, or the name itself."""
    node = max(one for one, own in names.own.items() if own == name)
    while (above := int(names.parents[node])) != node:
        node = above
        if names.own.get(node, name) != name:
            return names.own[node]
    return name
