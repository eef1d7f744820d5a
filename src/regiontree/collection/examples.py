"""Examples of a search: regions of a tree that may be no photograph of the collection."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from regiontree.collection.model import facts_of, require_alike
from regiontree.collection.regions import Region, described_nodes
from regiontree.engines.parsers import parser_of
from regiontree.errors import CollectionError, check_number, nearest_name
from regiontree.images import MAX_PIXELS, Photo
from regiontree.images.choice import Choice
from regiontree.parser import RegionParser
from regiontree.tree import RegionTree
from regiontree.tree.nodata import no_data_nodes

__all__ = [
    "Example",
    "check_alike",
    "example_nodes",
    "example_tree",
    "recorded_parser",
]


@dataclass(frozen=True, slots=True)
class Example:
    """A region that was searched for, and what was found.

    Attributes
    ----------
    node : int
        Its node in the tree of its photograph.
    share : float
        Its share of its photograph's pixels, 0 to 1.
    like : list of Region
        The regions of the collection most like it, the most alike first.
    """

    node: int
    share: float
    like: list[Region]


def recorded_parser(tree: RegionTree, device: str = "auto") -> RegionParser:
    """A parser with the settings that a tree records, and its choice of bands and page.

    Raises
    ------
    CollectionError
        The tree records no settings.
    SettingsError
        The settings are not those of this program.
    """
    settings = tree.meta.get("settings")
    if not isinstance(settings, Mapping) or not settings:
        raise CollectionError("the trees of the collection record no settings; give a parser")
    choice = Choice.of_meta(tree.meta).as_dict()
    options = {"settings": settings, "max_pixels": MAX_PIXELS, **choice}
    return parser_of(options, device=device)


def example_tree(
    photo: Photo | RegionTree,
    ids: Iterable[str],
    parser: Callable[[], RegionParser],
) -> RegionTree:
    """The tree of an example that is not in the collection.

    Parameters
    ----------
    photo
        A tree, the file of one (``.npz``), or a photograph.
    ids
        Photographs of the collection, for the message about one that is not there.
    parser
        Gives what makes the tree of a photograph.

    Raises
    ------
    CollectionError
        There is no such file.
    RegionTreeError
        The file is no tree, or the photograph cannot be parsed.
    """
    if isinstance(photo, RegionTree):
        return photo
    if isinstance(photo, str | Path):
        if not Path(photo).exists():
            raise CollectionError(
                f"{str(photo)!r} is neither a photograph of the collection nor a file"
                f"{nearest_name(photo, ids)}"
            )
        if Path(photo).suffix.lower() == ".npz":
            return RegionTree.load(photo)
    return parser().parse(photo)


def check_alike(tree: RegionTree, known: Mapping[str, Any], kind: str) -> None:
    """Refuse a tree whose descriptors cannot be compared with those of the collection.

    Parameters
    ----------
    tree
    known
        What ``collection.json`` says of its trees.
    kind
        Kind of the descriptors.

    Raises
    ------
    CollectionError
        Another network made the tree, for example.
    """
    try:
        require_alike(known, facts_of(tree, kind, described_nodes(tree, kind)[1]))
    except CollectionError as error:
        raise CollectionError(f"the example cannot be compared: {error}") from error


def example_nodes(
    tree: RegionTree, node: int | None, point: tuple[int, int] | None, n_regions: int
) -> NDArray[np.int64]:
    """The nodes of a tree that are searched for, ascending.

    Parameters
    ----------
    tree
    node
        A node. It is the only one.
    point
        Row and column of a pixel: the region of the cut that holds it is the only one.
    n_regions
        Into how many regions a photograph is cut at most. Without `node` and `point`, all are
        searched for that have data.

    Raises
    ------
    CollectionError
        Both `node` and `point` are given, `point` is no pair, or the region has no data.
    TreeError
        The pixel is outside the photograph.
    SettingsError
        The tree has no such node.
    """
    if node is not None and point is not None:
        raise CollectionError("give a node or a point, and not both")
    absent = no_data_nodes(tree.stop)
    shown = tree.cut_nodes(n_regions=n_regions).astype(np.int64)
    if node is None and point is None:
        return shown[~absent[shown]]
    if point is not None:
        if len(point) != 2:
            raise CollectionError(f"a point is a row and a column, got {point!r}")
        node = next(one for one in tree.at(*point) if one in set(shown.tolist()))
    chosen = check_number("node", node, 0, tree.n_nodes - 1, whole=True)
    if absent[chosen]:
        where = f"node {chosen}" if point is None else f"the region at {tuple(point)}"
        raise CollectionError(f"{where} has no data; choose another")
    return np.array([chosen])
