"""Collection: the categories that photographs share, at every granularity.

>>> from regiontree import Collection                             # doctest: +SKIP
>>> collection = Collection.load("collection")                    # doctest: +SKIP
>>> collection.label_map("holiday/dog.jpg", n_categories=27)      # (H, W)  # doctest: +SKIP
>>> collection.like("holiday/dog.jpg", point=(120, 80), k=5)      # doctest: +SKIP
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from regiontree.collection.assigned import AllRegions, Assigned, all_regions, assignments
from regiontree.collection.classes import Classes, heirs, named_classes
from regiontree.collection.edits import Edit, Naming, edit_names
from regiontree.collection.examples import (
    Example,
    check_alike,
    example_nodes,
    example_tree,
    recorded_parser,
)
from regiontree.collection.exported import Exported
from regiontree.collection.files import CollectionFiles
from regiontree.collection.members import Members
from regiontree.collection.model import load_model, settings_of
from regiontree.collection.names import Names, read_names
from regiontree.collection.plane import kept_places
from regiontree.collection.regions import Region, shares_of, viewed_nodes
from regiontree.collection.search import Vectors, vectors_of
from regiontree.collection.shown import Shown, shown_nodes
from regiontree.collection.suggestiontable import SUGGESTIONS, Suggestion, read_suggestions
from regiontree.errors import CollectionError, check_number
from regiontree.forest.forest import Forest
from regiontree.forest.row import Row
from regiontree.images import Photo
from regiontree.parser import RegionParser
from regiontree.system.lazy import lazy
from regiontree.system.registry import load_address
from regiontree.tree import RegionTree, cuts
from regiontree.tree.nodata import no_data_nodes

__all__ = ["Category", "Collection", "Example", "Region"]

Int32 = NDArray[np.int32]


@dataclass(frozen=True, slots=True)
class Category:
    """One category of a cut.

    Attributes
    ----------
    index : int
        Its number in the cut and in label maps, 0 to n - 1.
    node : int
        Its node in the tree of categories: the same at every granularity.
    name : str or None
        Its name, or that of the nearest category above with one. None: nobody named it.
    n_regions : int
        Regions of all photographs that belong to it.
    share : float
        Their share of all photographs' pixels, 0 to 1.
    """

    index: int
    node: int
    name: str | None
    n_regions: int
    share: float


class Collection:
    """The categories of a collection, and the category of every region.

    Parameters
    ----------
    folder
        What ``regiontree discover`` made.
    trees
        The store or folder with the trees. None: where they were when the collection was made.

    Raises
    ------
    CollectionError
        The folder holds no collection, or one that is damaged or not finished.
    """

    def __init__(self, folder: str | Path, trees: str | Path | Forest | None = None) -> None:
        self._files = CollectionFiles(folder)
        about = self._files.read_about()
        self.settings = settings_of(about)
        self._projection, self.prototypes = load_model(self._files)
        self.tree: RegionTree = RegionTree.load(self._files.categories)
        self.members: Members = Members(self._files)
        self._trees = about["source"] if trees is None else trees
        self._parsers: dict[str, RegionParser] = {}
        # Regions that people moved, and what is shown with them.
        self._moved: tuple[list[tuple[int, int, int]], Shown] | None = None

    @classmethod
    def load(cls, folder: str | Path, trees: str | Path | Forest | None = None) -> Collection:
        """The collection in a folder."""
        return cls(folder, trees)

    def __len__(self) -> int:
        """Number of photographs."""
        return len(self.ids)

    def __repr__(self) -> str:
        return (
            f"Collection of {len(self):,} photographs: {self.n_prototypes:,} prototypes, "
            f"{len(self._regions.nodes):,} regions"
        )

    @property
    def folder(self) -> Path:
        """Its folder."""
        return self._files.folder

    @property
    def n_prototypes(self) -> int:
        """Number of prototypes, K."""
        return len(self.prototypes.weight)

    @property
    def ids(self) -> Sequence[str]:
        """Ids of the photographs."""
        return self.members.ids

    @lazy
    def forest(self) -> Forest:
        """The trees of the photographs.

        Raises
        ------
        StoreError
            They are no longer there.
        """
        given = self._trees
        return given if isinstance(given, Forest) else Forest(given)

    # -- categories -------------------------------------------------------------------------------

    @lazy
    def names(self) -> Names:
        """The names, as ``collection.csv`` holds them when they are first asked for."""
        return read_names(self._files.names, self.tree.parents)

    def read_names_again(self) -> None:
        """Read ``collection.csv``, which may have changed.

        Raises
        ------
        CollectionError
            It is damaged. The names stay as they were.
        """
        vars(self)["names"] = read_names(self._files.names, self.tree.parents)

    def edit(self, edits: Sequence[Edit]) -> list[str]:
        """Change names, in ``collection.csv`` and here.

        Returns
        -------
        list of str
            What the user should know: see :func:`regiontree.collection.edits.edit_names`.

        Raises
        ------
        CollectionError
            As there.
        """
        vars(self)["names"], told = edit_names(self._files.names, self.tree.parents, edits)
        return told

    @property
    def can_be_named(self) -> bool:
        """Whether names can be saved."""
        return os.access(self.folder, os.W_OK)

    @property
    def suggestions(self) -> list[Suggestion]:
        """Names that a network suggested; see :mod:`regiontree.collection.suggestiontable`."""
        path = self.folder / SUGGESTIONS
        return read_suggestions(path, self.tree.n_nodes) if path.is_file() else []

    def division(self, n_categories: int) -> Int32:
        """The category of each prototype in the cut into at most n, (K,) int32 in [0, n).

        Cuts are nested: one more category divides one of those before.
        """
        cut: Int32 = self.tree.cut(n_regions=_checked(n_categories))[0]
        return cut

    @lazy
    def heirs(self) -> Int32:
        """The prototype that stands for each category in cuts that divide it, (N,) int32.

        A region that a person moved to a category belongs to it there.
        """
        return heirs(self.tree)

    def categories(self, n_categories: int) -> list[Category]:
        """The categories of the cut into at most n, in the order of their numbers."""
        nodes = self.tree.cut_nodes(n_regions=_checked(n_categories))
        of_prototype = self.division(n_categories)
        regions = self._regions
        of_region = of_prototype[regions.prototype]
        count = np.bincount(of_region, minlength=len(nodes))
        share = np.bincount(of_region, regions.share, minlength=len(nodes))
        total = max(float(share.sum()), 1e-300)
        return [
            Category(i, node, self.names.name(node), int(count[i]), float(share[i]) / total)
            for i, node in enumerate(nodes.tolist())
        ]

    def regions(self, category: Category | int) -> list[Region]:
        """The regions of a category or of its node, the most typical first."""
        node = category.node if isinstance(category, Category) else int(category)
        if not 0 <= node < self.tree.n_nodes:
            raise CollectionError(
                f"there is no category {node}: they are 0 to {self.tree.n_nodes - 1}"
            )
        regions = self._regions
        inside = np.flatnonzero(self.tree.mask(node)[0][regions.prototype])
        order = inside[np.argsort(-regions.likeness[inside], kind="stable")]
        return [self._region(i, float(regions.likeness[i])) for i in order.tolist()]

    def shown_regions(self) -> Shown:
        """The regions of all photographs at any granularity, with those that people moved."""
        moved = [
            (self.members.numbers.get(key), node, to)
            for (key, node), to in self.names.moved.items()
        ]
        known = [(number, node, to) for number, node, to in moved if number is not None]
        if not known:
            return self._shown
        if self._moved is None or self._moved[0] != known:
            photo, node, to = np.array(known, np.int32).T
            leaf = self.tree.labels[0][self.heirs[to]]
            self._moved = known, self._shown.moved(photo, node, leaf)
        return self._moved[1]

    # -- photographs ------------------------------------------------------------------------------

    def named_map(self, photo: str | Path) -> tuple[Int32, list[str]]:
        """The name of each pixel of a photograph, as people gave it; nothing is guessed.

        Returns
        -------
        labels : (H, W) int32
            Place of the name in `names`; -1 for pixels without a name or without data.
        names : list of str
            All names of the collection, sorted. They are the same for every photograph.

        Raises
        ------
        CollectionError
            As :meth:`label_map`.
        """
        key = self.id_of(photo)
        _, tree, prototype = self.opened(key)
        classes = named_classes(self.names)
        nodes = tree.cut_nodes(n_regions=self.settings.regions)
        of_node = self.classes_of(key, nodes, prototype[nodes], classes)
        return _painted(tree, nodes, of_node), classes.names

    def node_names(self, photo: str | Path) -> list[str | None]:
        """The name of each node of a photograph's tree, as :meth:`named_map` names its regions.

        Returns
        -------
        list of str or None
            One for each node; None for a node whose category nobody named.

        Raises
        ------
        CollectionError, StoreError
            As :meth:`label_map`.
        """
        key = self.id_of(photo)
        _, tree, prototype = self.opened(key)
        classes = named_classes(self.names)
        found = self.classes_of(key, np.arange(tree.n_nodes), prototype, classes)
        return [classes.names[one] if one >= 0 else None for one in found.tolist()]

    def classes_of(
        self, key: str, nodes: NDArray[np.integer[Any]], prototype: Int32, classes: Classes
    ) -> Int32:
        """The class of some nodes of a photograph, (n,) int32; -1 for none.

        Parameters
        ----------
        key
            Id of the photograph.
        nodes, prototype
            (n,) the nodes and their prototypes.
        classes
            The classes. A region that a person moved has that of its new category.
        """
        of_prototype = classes.of_category[self.tree.labels[0]]
        return self._chosen(key, nodes, prototype, of_prototype, classes.of_category)

    def _chosen(
        self,
        key: str,
        nodes: NDArray[np.integer[Any]],
        prototype: Int32,
        of_prototype: Int32,
        of_category: Int32,
    ) -> Int32:
        """A number for some nodes of a photograph, (n,) int32; -1 for no data.

        It is that of the node's prototype, or, if a person moved the region, that of the category
        it was moved to.
        """
        found: Int32 = np.append(of_prototype, np.int32(-1))[prototype]
        for i, node in enumerate(nodes.tolist()):
            if (moved := self.names.moved.get((key, node))) is not None:
                found[i] = of_category[moved]
        return found

    def export(self, to: str, out: str | Path, **options: Any) -> Exported:
        """Write all photographs with their names for other programs.

        See :func:`regiontree.collection.exporting.export_collection`.
        """
        export: Any = load_address("regiontree.collection.exporting:export_collection")
        written: Exported = export(self, to, out, **options)
        return written

    def prototype_map(self, photo: str) -> Int32:
        """The prototype of each pixel of a photograph, (H, W) int32 in [0, K); -1 for no data.

        Regions are those of the cut that the collection was made of.
        """
        _, tree, prototype = self.opened(photo)
        nodes = tree.cut_nodes(n_regions=self.settings.regions)
        return _painted(tree, nodes, prototype[nodes])

    def name_at(
        self, photo: str | Path, point: tuple[int, int], name: str, n_categories: int = 27
    ) -> Category:
        """Name the category that a pixel shows, in ``collection.csv`` and here.

        Parameters
        ----------
        photo
            Id of a photograph of the collection, or its path.
        point
            Row and column of the pixel, counted from 0.
        name
            Empty takes the category's own name away.
        n_categories
            Into how many categories the collection is cut, at most.

        Returns
        -------
        Category
            The category with its name. All its regions have it, in every photograph.

        Raises
        ------
        CollectionError
            The collection does not have the photograph, the pixel lies outside or has no data, or
            the name is not possible.
        """
        shown = self.label_map(photo, n_categories)
        row, column = point
        if not (0 <= row < shown.shape[0] and 0 <= column < shown.shape[1]):
            raise CollectionError(
                f"point {row},{column} lies outside {photo}, which has {shown.shape[0]} rows and "
                f"{shown.shape[1]} columns"
            )
        index = int(shown[row, column])
        if index < 0:
            raise CollectionError(f"{photo} has no data at row {row}, column {column}")
        node = self.categories(n_categories)[index].node
        self.edit([Naming(node, name, self.names.own.get(node, ""))])
        return self.categories(n_categories)[index]

    def label_map(self, photo: str | Path, n_categories: int = 27) -> Int32:
        """The category of each pixel, (H, W) int32: 0 to n - 1, or -1 for no data.

        Parameters
        ----------
        photo
            Id of a photograph of the collection, or its path.
        n_categories
            Into how many categories the collection is cut, at most.

        Raises
        ------
        CollectionError
            The collection does not have the photograph, or its tree has changed.
        StoreError
            The trees are no longer where they were.
        """
        key = self.id_of(photo)
        _, tree, prototype = self.opened(key)
        nodes = tree.cut_nodes(n_regions=self.settings.regions)
        division = self.division(n_categories)
        of_node = self._chosen(key, nodes, prototype[nodes], division, division[self.heirs])
        return _painted(tree, nodes, of_node)

    def like(
        self,
        photo: str | Path,
        node: int | None = None,
        *,
        point: tuple[int, int] | None = None,
        k: int = 20,
        exact: bool | None = None,
    ) -> list[Region]:
        """The k regions most like one of a photograph, the most alike first.

        Of regions that are equally alike, the one that joined the collection first is first.

        Parameters
        ----------
        photo
            Id of a photograph of the collection, or its path.
        node
            A node of its tree.
        point
            Instead: row and column of a pixel. The region of the collection's cut that holds it is
            the example.
        k
            How many, >= 1.
        exact
            Whether the example is compared with every region. None: if they are at most a million,
            or the extra ``search`` is not installed. Otherwise an index proposes candidates, which
            is faster and may miss some.

        Raises
        ------
        CollectionError
            As :meth:`label_map`; or neither or both of `node` and `point` are given, or the region
            has no data.
        TreeError, SettingsError
            The point is outside the photograph; there is no such node, or `k` is below 1.
        MissingExtraError
            `exact` is False, and the extra ``search`` is not installed.
        """
        key = self.id_of(photo)
        if (node is None) == (point is None):
            raise CollectionError("give a node or a point, and not both")
        return self.search(key, node, point=point, k=k, exact=exact)[0].like

    def search(
        self,
        photo: Photo | RegionTree,
        node: int | None = None,
        *,
        point: tuple[int, int] | None = None,
        k: int = 20,
        exact: bool | None = None,
        parser: RegionParser | None = None,
        device: str = "auto",
    ) -> list[Example]:
        """The regions most like those of an example, which need not be in the collection.

        A region of the collection is not among those that are like it.

        Parameters
        ----------
        photo
            Id or path of a photograph of the collection; a region tree or its ``.npz`` file; or any
            photograph, as :meth:`regiontree.RegionParser.parse` takes it.
        node, point
            As for :meth:`like`. Neither: all regions of the photograph.
        k, exact
            As for :meth:`like`; k for each region.
        parser
            Makes the tree of a photograph that is not in the collection. None: one with the
            settings that the collection's first tree records. It must have the same network.
        device
            Where the network of that parser runs.

        Returns
        -------
        list of Example
            One for each region that was searched for, in the order of their nodes.

        Raises
        ------
        CollectionError
            The tree was not made as those of the collection, for example by another network; there
            is no such photograph; or as :meth:`like`.
        RegionTreeError
            As :meth:`like`, and as :meth:`regiontree.RegionParser.parse`.
        """
        count = check_number("k", k, 1, float("inf"), whole=True)
        key = self.members.find(photo) if isinstance(photo, str | Path) else None
        if key is not None:
            tree = self.opened(key)[1]
        else:
            tree = example_tree(
                photo, self.members.numbers, lambda: parser or self._parser_on(device)
            )
            check_alike(tree, self._files.read_about()["trees"], self.settings.descriptor)
        nodes = example_nodes(tree, node, point, self.settings.regions)
        values = viewed_nodes(tree, self.settings.regions, self.settings.descriptor)
        number = -1 if key is None else self.members.numbers[key]
        regions, found = self._regions, []
        counts = [count + (key is not None)] * len(nodes)
        best = self._vectors.search(self._projection(values[nodes]), counts, exact=exact)
        for one, share, (places, cosines) in zip(
            nodes.tolist(), shares_of(tree)[nodes].tolist(), best, strict=True
        ):
            other = (regions.photo[places] != number) | (regions.nodes[places] != one)
            pairs = zip(places[other][:count].tolist(), cosines[other].tolist(), strict=False)
            like = [self._region(i, min(max(cosine, -1.0), 1.0)) for i, cosine in pairs]
            found.append(Example(one, share, like))
        return found

    def _parser_on(self, device: str) -> RegionParser:
        """The parser of photographs that are not in the collection. It is kept with its network."""
        if device not in self._parsers:
            self._parsers = {device: recorded_parser(self.opened(self.ids[0])[1], device)}
        return self._parsers[device]

    # -- what is read from the files --------------------------------------------------------------

    @lazy
    def key(self) -> str:
        """Digest of the tree of categories, which tells collections apart."""
        return hashlib.sha256(self._files.categories.read_bytes()).hexdigest()[:16]

    @lazy
    def places(self) -> NDArray[np.float32]:
        """Places of the prototypes on a map, (K, 2) from 0 to 1.

        :func:`~regiontree.collection.plane.plane_of` says how the places are found.

        They are computed once, and then lie in the collection's folder.
        """
        return kept_places(self._files.folder / "map.npy", self.prototypes.centres)

    @lazy
    def _shown(self) -> Shown:
        return shown_nodes(self._files, self.tree)

    @lazy
    def _regions(self) -> AllRegions:
        return all_regions(self._files, self.members.numbers)

    @lazy
    def _vectors(self) -> Vectors:
        """The unit row of each region, in the order of `_regions`."""
        return vectors_of(self._files, self._projection, self.members.numbers)

    def _region(self, i: int, likeness: float) -> Region:
        regions = self._regions
        photo = self.ids[int(regions.photo[i])]
        return Region(photo, int(regions.nodes[i]), float(regions.share[i]), likeness)

    def id_of(self, photo: str | Path) -> str:
        """The id of a photograph, given by its id or its path.

        Raises
        ------
        CollectionError
            The collection does not have it.
        """
        return self.members.id_of(photo)

    def opened(self, photo: str | Path) -> tuple[Row, RegionTree, Int32]:
        """What the trees hold of a photograph, its tree, and the prototype of each node.

        Raises
        ------
        CollectionError, StoreError
            As :meth:`label_map`.
        """
        key = self.id_of(photo)
        prototype = self.members.prototypes(key)
        return *self.row_of(key, prototype), prototype

    def assignments(self) -> Iterator[Assigned]:
        """What the nodes of each photograph were assigned, in the order of :attr:`ids`."""
        return assignments(self._files)

    @property
    def references(self) -> dict[str, str]:
        """The path or URL of each photograph, by its id."""
        return self.members.references

    def row_of(self, key: str, prototype: Int32) -> tuple[Row, RegionTree]:
        """What the trees hold of a photograph.

        Raises
        ------
        CollectionError
            The tree is gone, or is not the one whose nodes got the prototypes.
        StoreError
            The trees are no longer where they were.
        """
        where = self.forest.address
        try:
            row = self.forest.row(key)
        except KeyError as error:
            raise CollectionError(f"{key!r}: its tree is gone from {where}") from error
        tree = row.tree
        if tree is None:
            raise CollectionError(f"{key!r}: its tree is gone from {where} ({row.error})")
        if tree.n_nodes != len(prototype) or (no_data_nodes(tree.stop) & (prototype >= 0)).any():
            raise CollectionError(
                f"{key!r}: its tree has changed since the collection was made; make it again"
            )
        return row, tree


def _painted(tree: RegionTree, nodes: NDArray[np.integer[Any]], of_node: Int32) -> Int32:
    """The number (n,) of each node of a cut, for every pixel of the photograph: (H, W)."""
    shown = cuts.node_of_leaf(tree.parents, nodes, tree.n_leaves)
    found: Int32 = of_node[shown][tree.labels]
    return found


def _checked(n_categories: int) -> int:
    number: int = check_number("n_categories", n_categories, 1, float("inf"), whole=True)
    return number
