"""What is done with each tree of a collection's source: describe its regions, assign its nodes.

Trees are cut into pieces by their places in the order of ids. A piece is done by one process, in
any process: this one, a worker, or a task on Ray (:mod:`regiontree.engines.pieces`). What pieces
give is put together in their order. So the files of a collection do not depend on who did the work.
"""

from __future__ import annotations

import json
from collections.abc import Collection, Generator, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from regiontree.collection.files import CollectionFiles, Part
from regiontree.collection.model import facts_of, load_model, require_alike, settings_of
from regiontree.collection.projection import Projection
from regiontree.collection.prototypes import Prototypes, nearest_prototypes
from regiontree.collection.regions import regions_of, shares_of, viewed_nodes
from regiontree.collection.settings import CollectionSettings
from regiontree.engines.link import Message
from regiontree.engines.pieces import Done, Work, WorkPlan, results
from regiontree.engines.workers import Lost
from regiontree.errors import CollectionError, StoreError, TreeFileError
from regiontree.forest.forest import Forest
from regiontree.forest.row import Row
from regiontree.system.temporary import temporary_folder
from regiontree.tree import RegionTree
from regiontree.tree.cuts import shown_range
from regiontree.tree.kernel import division_order
from regiontree.tree.nodata import no_data_nodes

__all__ = [
    "PART",
    "PIECE",
    "TreeWork",
    "assign_work",
    "first_facts",
    "gather_work",
    "open_assign",
    "open_gather",
    "parts_joined",
]

PIECE = 32
"""Trees of a piece."""
PART = 8
"""Pieces whose results make a file of a collection."""

Arrays = dict[str, NDArray[Any]]
_WITHIN = "within"  # the array of a piece as a whole


@dataclass(frozen=True, slots=True)
class TreeWork:
    """One kind of work on the trees of a source.

    Attributes
    ----------
    target : str
        Address of the function that opens it.
    options : dict
        JSON values for that function.
    here : callable
        The work, opened in this process.
    """

    target: str
    options: Message
    here: Work

    def done(
        self, ids: Sequence[str], skipped: Collection[str], plan: WorkPlan, files: CollectionFiles
    ) -> Generator[tuple[list[tuple[str, str | None]], Part | None, bool], None, None]:
        """What is made of trees, piece by piece in the order of their ids.

        Parameters
        ----------
        ids
            Ids of all trees: the places of these decide which trees make a piece.
        skipped
            Ids that are left out.
        plan
        files
            A scratch folder is made beside their parts.

        Yields
        ------
        The ids of a piece, each with what is wrong with its tree; the part of those that are right;
        and whether the piece is the last of a file.
        """
        places = range(0, len(ids), PIECE)
        pieces = [[key for key in ids[at : at + PIECE] if key not in skipped] for at in places]
        # Ends of files are told by places, also where a piece has nothing left to do.
        ends = [(at // PIECE) % PART == PART - 1 for at in places]
        busy = [piece for piece in pieces if piece]
        with temporary_folder(files.folder / "pieces") as scratch:
            coming = results(self.target, self.options, busy, plan, here=self.here, scratch=scratch)
            with closing(coming):
                for piece, is_end in zip(pieces, ends, strict=True):
                    if not piece:
                        yield [], None, is_end
                        continue
                    found = next(coming)
                    if isinstance(found, Lost):
                        again = self._one_by_one(piece, plan, scratch, found)
                    else:
                        again = [found]
                    said = [(key, text) for some, _ in again for key, text in some["said"]]
                    yield said, _joined(again), is_end

    def _one_by_one(
        self, piece: list[str], plan: WorkPlan, scratch: Path, lost: Lost
    ) -> list[Done]:
        """A piece whose process died, tree by tree: only the tree that is to blame is lost."""
        if len(piece) == 1:
            return [_nothing(piece[0], lost.reason)]
        found: list[Done] = []
        singles = [[key] for key in piece]
        coming = results(self.target, self.options, singles, plan, here=self.here, scratch=scratch)
        with closing(coming):
            for (key,), one in zip(singles, coming, strict=True):
                found.append(_nothing(key, one.reason) if isinstance(one, Lost) else one)
        return found


def _nothing(key: str, reason: str) -> Done:
    return {"said": [[key, reason]], "photographs": []}, {}


def _joined(found: Sequence[Done]) -> Part | None:
    """The part of some results; None if no tree of them could be used."""
    right = [(said, arrays) for said, arrays in found if said["photographs"]]
    if not right:
        return None
    return parts_joined([_part(*one) for one in right])


def _part(said: Message, arrays: Arrays) -> Part:
    own = dict(arrays)
    start = own.pop("start")
    whole = {_WITHIN: own.pop(_WITHIN)} if _WITHIN in own else {}
    return Part(said["photographs"], start, own, whole)


def parts_joined(parts: Sequence[Part]) -> Part:
    """One part of several. Arrays of parts as a whole are added in their order."""
    photographs = [one for part in parts for one in part.photographs]
    lengths = np.concatenate([np.diff(part.start) for part in parts])
    start = np.concatenate([[0], np.cumsum(lengths)]).astype(np.int64)
    arrays = {
        name: np.concatenate([part.arrays[name] for part in parts]) for name in parts[0].arrays
    }
    whole = {}
    for name, first in parts[0].whole.items():
        total = first.copy()
        for part in parts[1:]:
            total += part.whole[name]
        whole[name] = total
    return Part(photographs, start, arrays, whole)


# -- the kinds of work ----------------------------------------------------------------------------


def gather_work(forest: Forest, settings: Mapping[str, Any], trees: Mapping[str, Any]) -> TreeWork:
    """Describe the regions of trees.

    Parameters
    ----------
    forest
    settings
        Of the collection, as it records them.
    trees
        What the trees must have in common.
    """
    options = {"source": forest.address, "settings": dict(settings), "trees": dict(trees)}
    target = "regiontree.collection.treework:open_gather"
    return TreeWork(target, options, _gather(forest, settings, trees))


def open_gather(options: Message) -> Work:
    """The work of :func:`gather_work`, in another process."""
    return _gather(Forest(options["source"]), options["settings"], options["trees"])


def _gather(forest: Forest, settings: Mapping[str, Any], trees: Mapping[str, Any]) -> Work:
    own = settings_of({"settings": settings})

    def described(tree: RegionTree) -> tuple[Arrays, NDArray[np.float32]]:
        regions = regions_of(tree, own.regions, own.descriptor)
        require_alike(trees, facts_of(tree, own.descriptor, regions.blocks))
        with np.errstate(over="ignore"):
            values = regions.values.astype(np.float16)
        arrays: Arrays = {"nodes": regions.nodes, "share": regions.share, "values": values}
        return arrays, regions.within

    def work(ids: list[str]) -> Done:
        within: NDArray[np.float64] | None = None

        def one(tree: RegionTree) -> Arrays:
            nonlocal within
            arrays, scatter = described(tree)
            within = scatter.astype(np.float64) if within is None else within + scatter
            return arrays

        said, arrays = _each(forest, ids, one)
        return said, arrays if within is None else {**arrays, _WITHIN: within}

    return work


def assign_work(forest: Forest, files: CollectionFiles, settings: Mapping[str, Any]) -> TreeWork:
    """Give every node of trees its prototype. Parameters as of :func:`gather_work`."""
    options = {
        "source": forest.address, "settings": dict(settings),
        "collection": str(files.folder.resolve()),
    }  # fmt: skip
    target = "regiontree.collection.treework:open_assign"
    return TreeWork(target, options, _assign(forest, files, settings))


def open_assign(options: Message) -> Work:
    """The work of :func:`assign_work`, in another process."""
    files = CollectionFiles(options["collection"])
    return _assign(Forest(options["source"]), files, options["settings"])


def _assign(forest: Forest, files: CollectionFiles, settings: Mapping[str, Any]) -> Work:
    own = settings_of({"settings": settings})
    projection, prototypes = load_model(files)

    def work(ids: list[str]) -> Done:
        return _each(forest, ids, lambda tree: _assigned(tree, projection, prototypes, own))

    return work


def _assigned(
    tree: RegionTree, projection: Projection, prototypes: Prototypes, settings: CollectionSettings
) -> Arrays:
    """What the collection knows of every node of a tree; its prototype is -1 without data."""
    rows = projection(viewed_nodes(tree, settings.regions, settings.descriptor))
    nearest, likeness = nearest_prototypes(rows, prototypes.centres)
    nearest[no_data_nodes(tree.stop)] = -1
    first, last = shown_range(tree.parents, division_order(tree.parents, tree.height))
    most = np.iinfo(np.uint16).max
    return {
        "prototype": nearest,
        "likeness": likeness.astype(np.float16),
        "share": shares_of(tree).astype(np.float32),
        "first": np.minimum(first, most).astype(np.uint16),
        "last": np.minimum(last, most).astype(np.uint16),
    }


def _each(forest: Forest, ids: list[str], work: Any) -> Done:
    """The arrays of each tree, joined, and what is wrong with those that have none."""
    said: list[list[str | None]] = []
    photographs: list[dict[str, Any]] = []
    found: list[Arrays] = []
    for key in ids:
        row, wrong = _row(forest, key)
        if row is not None and row.tree is not None:
            try:
                found.append(work(row.tree))
                photographs.append(_photograph(row, row.tree))
            except CollectionError as error:
                wrong = str(error)
        said.append([key, wrong])
    message: Message = {"said": said, "photographs": photographs}
    if not found:
        return message, {}
    part = Part.joined(photographs, found)
    return json.loads(json.dumps(message)), {"start": part.start, **part.arrays}


def _row(forest: Forest, key: str) -> tuple[Row | None, str | None]:
    """The row of an id with its tree, or what is wrong with it."""
    try:
        row = forest.row(key)
    except (StoreError, TreeFileError) as error:
        return None, str(error)
    except KeyError:
        return None, f"{key}: is not there any more"
    return (row, None) if row.tree is not None else (None, row.error or f"{key}: has no tree")


def _photograph(row: Row, tree: RegionTree) -> dict[str, Any]:
    return {"id": row.id, "reference": row.reference, "sha256": row.sha256,
            "size": list(tree.shape)}  # fmt: skip


def first_facts(
    forest: Forest, ids: Sequence[str], settings: CollectionSettings
) -> dict[str, Any] | None:
    """What the first tree that can be used has in common with the others; None if none can be."""
    for key in ids:
        row, _ = _row(forest, key)
        if row is None or row.tree is None:
            continue
        try:
            regions = regions_of(row.tree, settings.regions, settings.descriptor)
        except CollectionError:
            continue
        return {**facts_of(row.tree, settings.descriptor, regions.blocks), "first": row.id}
    return None
